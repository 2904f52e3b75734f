// Small helpers for the page. Whatever comes from outside goes in as text (`textContent`), never as HTML.

/** Make an element: el("p", { class: "quiet", onclick: f }, "text", child, ...). Nothing (null, false) is left out. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Make an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** Set an element's text if it is another: a screen reader announces every change, so only real ones are made. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Seconds as 1:23, or 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** A moment of a call: 12.3 s. */
export const moment = (seconds) => `${seconds.toFixed(1)} s`;

/** An identifier as words: below_level becomes below level. */
export const words = (name) => String(name).replaceAll("_", " ");

export const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** Fetch JSON. It throws an Error whose message is a sentence for people. */
export async function getJson(path, options = {}) {
  const answer = await fetch(path, { cache: "no-store", ...options });
  if (!answer.ok) {
    let detail = "";
    try {
      const text = await answer.text();
      detail = text.startsWith("{") ? JSON.parse(text).detail : text;
    } catch { /* the status says enough */ }
    if (answer.status === 401) detail = "this server was started anew: open the address that it printed";
    throw new Error((detail || `the server answered ${answer.status}`).trim());
  }
  return answer.status === 204 ? null : answer.json();
}

export const QUIETEST_DBFS = -60;

/** A level meter: { element, show(dBFS or null) }. */
export function meter(label, kind) {
  const bar = el("div", { class: "meter-bar" });
  const element = el(
    "div",
    { class: `meter ${kind}`, role: "meter", "aria-label": label, "aria-valuemin": QUIETEST_DBFS, "aria-valuemax": 0 },
    bar,
  );
  const show = (dbfs) => {
    const level = Math.max(QUIETEST_DBFS, Math.min(0, dbfs ?? QUIETEST_DBFS));
    bar.style.transform = `scaleX(${(1 - level / QUIETEST_DBFS).toFixed(3)})`;
    element.setAttribute("aria-valuenow", Math.round(level));
    element.setAttribute("aria-valuetext", dbfs === null || dbfs === undefined ? "silent" : `${Math.round(level)} dBFS`);
  };
  show(null);
  return { element, show };
}

const EXPLAINED = {
  connecting: "waiting for the model",
  greeting: "the agent greets; the caller cannot interrupt yet",
  conversing: "in conversation",
  goodbye: "ends when what is being said has been heard",
  leaving: "an apology is heard, then the call ends",
  hanging_up: "hanging up",
  closed: "over",
};

/** What a call's state means. */
export const stateInWords = (state) => EXPLAINED[state] ?? words(state);
