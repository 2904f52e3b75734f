// The console's frame: which page is shown, the state of the server, the call of the softphone that goes on behind other pages.

import { callPage } from "./call.js";
import { el, getJson, setText } from "./dom.js";
import { live, livePage } from "./live.js";
import { pastPage } from "./past.js";
import { phone, phonePage } from "./phone.js";
import { serverPage } from "./server.js";

const PAGES = {
  "": ["Calls", livePage],
  past: ["Past calls", pastPage],
  phone: ["Softphone", phonePage],
  server: ["Server", serverPage],
  call: ["Call", callPage],
};

const main = document.querySelector("main");
const state = document.getElementById("state");
let leave = new AbortController();
let agent = "trio-voice";

function route({ focus = true } = {}) {
  const [name, argument] = location.hash.replace(/^#\/?/, "").split("/");
  const [title, page] = PAGES[name] ?? PAGES[""];
  leave.abort(); // listeners, timers and feeds of the page that is left
  leave = new AbortController();
  main.replaceChildren();
  document.title = `${title} · ${agent}`;
  for (const link of document.querySelectorAll("nav a")) {
    const listed = live.find(argument) ? "" : "past"; // where a call's page is found
    const isHere = link.getAttribute("href") === `#/${name === "call" ? listed : name}`;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  page(main, leave.signal, argument ?? "");
  showPhone();
  window.scrollTo(0, 0);
  if (focus) main.querySelector("h1")?.focus();
}

function showState() {
  setText(state, live.state.text);
  state.className = `state ${live.state.kind}`;
}

function showPhone() {
  const strip = document.getElementById("phone-strip");
  strip.hidden = !phone.busy || location.hash === "#/phone";
}

window.addEventListener("hashchange", () => route());
live.addEventListener("state", showState);
phone.addEventListener("state", showPhone);
document.getElementById("strip-hang-up").addEventListener("click", () => phone.hangUp());
window.addEventListener("pagehide", () => phone.busy && phone.hangUp());

getJson("/console/facts").then((facts) => {
  agent = facts.agent;
  live.tellWorkers(facts.settings.server?.workers?.value ?? 1);
  setText(document.getElementById("agent"), facts.agent);
  setText(document.getElementById("version"), `trio-voice ${facts.version}`);
  document.title = `${document.title.split(" · ")[0]} · ${agent}`;
}).catch((error) => main.prepend(el("p", { class: "error", role: "alert" }, error.message)));
live.open();
route({ focus: false });
