// What can be checked of any page by looking at it: each function returns a list of what is wrong, in words.
// They are evaluated in the page again and again, hence `var`.

var parseColour = (text) => {
  const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
  return { r, g, b, a };
};

/** Relative luminance (WCAG 2.2). */
var luminance = ({ r, g, b }) => {
  const linear = [r, g, b].map((each) => each / 255).map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};

var groundOf = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = parseColour(getComputedStyle(at).backgroundColor);
    if (colour.a === 1) return colour;
  }
  return parseColour("rgb(255, 255, 255)");
};

/** Texts whose contrast to what is under them is below 4.5 to 1. */
var unreadable = () => {
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    if (!hasText || !element.checkVisibility() || element.closest(":disabled, svg, .skip")) continue;
    const [brighter, darker] = [luminance(parseColour(getComputedStyle(element).color)), luminance(groundOf(element))].sort((a, b) => b - a);
    const ratio = (brighter + 0.05) / (darker + 0.05);
    if (ratio < 4.5) found.push(`${element.tagName}.${element.className} "${element.textContent.trim().slice(0, 30)}" ${ratio.toFixed(2)}`);
  }
  return found;
};

/** What a screen reader could not tell, or would tell in a wrong order. */
var unnamed = () => {
  const nameOf = (element) => element.getAttribute("aria-label") || element.textContent.trim() || element.labels?.[0]?.textContent.trim() || element.alt;
  const named = "a, button, input, audio, [role=meter], [role=img], [role=region], [role=group], [role=log], section, nav, aside";
  const found = [...document.querySelectorAll(named)]
    .filter((element) => element.checkVisibility() && !nameOf(element))
    .map((element) => `no name: ${element.outerHTML.slice(0, 80)}`);
  if ([...document.querySelectorAll("[tabindex]")].some((element) => element.tabIndex > 0)) found.push("a tabindex above 0");
  if (document.querySelector("img:not([alt])")) found.push("an image without alt");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size !== ids.length) found.push("an id twice");
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
  if (document.querySelectorAll("main").length !== 1 || !document.documentElement.lang) found.push("no main, or no lang");
  const levels = [...document.querySelectorAll("h1, h2, h3")].filter((element) => element.checkVisibility()).map((element) => Number(element.tagName[1]));
  if (levels.some((level, number) => number && level > levels[number - 1] + 1)) found.push(`headings jump: ${levels}`);
  return found;
};

/** What scrolls, and no key gets to. */
var unreachable = () => [...document.querySelectorAll("main *")]
  .filter((element) => element.checkVisibility() && ["auto", "scroll"].includes(getComputedStyle(element).overflowY))
  .filter((element) => element.tabIndex < 0)
  .map((element) => element.outerHTML.slice(0, 80));

/** Buttons that a finger misses. */
var smallTargets = () => [...document.querySelectorAll("button, nav a")]
  .filter((element) => element.checkVisibility())
  .filter((element) => Math.min(element.getBoundingClientRect().height, element.getBoundingClientRect().width) < 40)
  .map((element) => element.textContent);
