// The calls in progress: one feed for the whole page (calls and levels), shared by all who show something of it.

import { clock, el, getJson, median, meter, moment, setText, stateInWords } from "./dom.js";

const RETRY_MS = 2000;
const AGAIN_MS = 500;

class Live extends EventTarget {
  constructor() {
    super();
    this.calls = [];
    this.workers = 1;
    this.levels = {};
    this.state = { text: "connecting", kind: "waiting" };
    this.source = null;
    this.own = null; // the call_sid of this browser's softphone
    // A page that nobody looks at holds no connection: browsers allow six to one server, over all their tabs.
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.open()));
  }

  open() {
    if (this.source) return;
    const source = new EventSource("/console/feed");
    this.source = source;
    source.addEventListener("calls", ({ data }) => this.#hear(JSON.parse(data)));
    source.addEventListener("levels", ({ data }) => {
      this.levels = JSON.parse(data);
      this.dispatchEvent(new Event("levels"));
    });
    source.onerror = () => this.#failed(source);
  }

  /** How many processes the server has; a page's feed has the calls of all. */
  tellWorkers(workers) {
    this.workers = workers;
    this.dispatchEvent(new Event("calls"));
  }

  find(name) {
    return this.calls.find((call) => call.call_id === name || call.call_sid === name);
  }

  levelsOf(call) {
    return this.levels[call.call_id] ?? [null, null];
  }

  #hear({ calls, why_not: whyNot }) {
    const now = performance.now() / 1000;
    this.calls = calls.map((call) => ({ ...call, began: now - call.duration_s }));
    this.#say(whyNot === null ? "ready for calls" : `takes no new calls (${whyNot})`, whyNot === null ? "ready" : "waiting");
    this.dispatchEvent(new Event("calls"));
  }

  #close() {
    this.source?.close();
    this.source = null;
  }

  #failed(source) {
    if (source !== this.source) return;
    this.#close();
    this.#say("the server does not answer", "fault");
    setTimeout(() => document.hidden || this.#again(), RETRY_MS);
  }

  async #again() {
    try {
      await getJson("/console/facts");
      this.open();
    } catch (error) {
      this.#say(error instanceof TypeError ? "the server does not answer" : error.message, "fault");
      setTimeout(() => document.hidden || this.source || this.#again(), RETRY_MS);
    }
  }

  #say(text, kind) {
    this.state = { text, kind };
    this.dispatchEvent(new Event("state"));
  }
}

export const live = new Live();

export const durationOf = (call) => performance.now() / 1000 - call.began;

/** Ask the server for something in a call: "hang-up" or "say". */
async function ask(callId, what, wish) {
  const headers = { "Content-Type": "application/json" };
  await getJson(`/api/v1/calls/${encodeURIComponent(callId)}/${what}`, { method: "POST", headers, body: JSON.stringify(wish) });
}

/** A button that ends a call; it asks nothing, as the agent says goodbye first. */
export function hangUpButton(callId, label) {
  const button = el("button", { type: "button", class: "danger", "aria-label": label }, "Hang up");
  const complain = el("span", { class: "error", role: "alert" });
  button.addEventListener("click", async () => {
    button.disabled = true;
    setText(button, "Hanging up …");
    button.removeAttribute("aria-label"); // its words and its name are one
    try {
      await ask(callId, "hang-up", { reason: "hung up in the console" });
    } catch (error) {
      button.disabled = false;
      setText(button, "Hang up");
      button.setAttribute("aria-label", label);
      setText(complain, error.message);
    }
  });
  return [button, complain];
}

/** A field for what the agent shall say. */
export function sayForm(callId) {
  const text = el("input", { id: "say", maxlength: 2000, autocomplete: "off", required: true });
  const outcome = el("span", { class: "quiet", role: "status" });
  const send = async (event) => {
    event.preventDefault();
    try {
      await ask(callId, "say", { text: text.value });
      setText(outcome, "passed on");
      text.value = "";
    } catch (error) {
      setText(outcome, error.message);
    }
  };
  return el("form", { class: "say", onsubmit: send }, el("label", { for: "say" }, "Have the agent say"), text, el("button", { type: "submit" }, "Say"), outcome);
}

/** What a call is called: the caller's number where it is known. */
export function nameOf(call) {
  if (call.call_sid === live.own) return "This browser's softphone";
  return call.caller ? `Call from ${call.caller}` : `Call ${call.call_id}`;
}

/** One call's card; { element, update(call), levels(call), tick(call) }. */
function card(call) {
  const caller = meter("Caller's level", "caller");
  const agent = meter("Agent's level", "agent");
  const state = el("span", { class: "pill" });
  const response = el("span", { class: "pill quiet-pill" });
  const duration = el("span", { class: "duration" });
  const element = el(
    "li",
    { class: "card call-card" },
    el("div", { class: "card-head" }, el("h2", {}, el("a", { href: `#/call/${call.call_id}` }, nameOf(call))), duration),
    el("p", { class: "pills" }, state, response),
    el("div", { class: "meters" }, el("span", {}, "caller"), caller.element, el("span", {}, "agent"), agent.element),
    el("p", { class: "actions" }, el("a", { class: "button", href: `#/call/${call.call_id}`, "aria-label": `Watch ${nameOf(call)}` }, "Watch"), hangUpButton(call.call_id, `Hang up ${nameOf(call)}`)),
  );
  return {
    element,
    update(now) {
      setText(state, stateInWords(now.state));
      state.className = `pill state-${now.state}`;
      setText(response, `reply: ${now.response}`);
    },
    levels(now) {
      const [callerDbfs, agentDbfs] = live.levelsOf(now);
      caller.show(callerDbfs);
      agent.show(agentDbfs);
    },
    tick(now) { setText(duration, clock(durationOf(now))); },
  };
}

function tile(label, value, note) {
  return el("div", { class: "tile" }, el("dt", {}, label), el("dd", {}, value, note ? el("small", {}, note) : null));
}

async function summary(into, signal) {
  const { calls, unread } = await getJson("/console/calls", { signal });
  if (unread) setTimeout(() => signal.aborted || summary(into, signal).catch(() => {}), AGAIN_MS);
  const today = new Date().toDateString(); // by the clock of who looks
  const replies = calls.flatMap((call) => call.reply_ms);
  const sum = (of) => calls.reduce((total, call) => total + of(call), 0);
  into.replaceChildren(
    tile("calls today", calls.filter((call) => new Date(call.started_at).toDateString() === today).length, `of ${calls.length} kept`),
    tile("reply, median", replies.length ? moment(median(replies) / 1000) : "–", replies.length ? `of ${replies.length}` : ""),
    tile("barge-ins", sum((call) => call.barge_ins)),
    tile("refused by guards", sum((call) => Object.values(call.refusals).reduce((a, b) => a + b, 0))),
    tile("faults", sum((call) => call.faults)),
  );
}

/** The page of the calls in progress. */
export function livePage(main, signal) {
  const list = el("ul", { class: "cards" });
  const count = el("p", { class: "quiet", role: "status" });
  const tiles = el("dl", { class: "tiles" });
  const empty = el("p", { class: "card empty" }, "Nobody is calling. ", el("a", { href: "#/phone" }, "Call the agent with the softphone"), ", or with make call in a terminal.");
  main.append(el("h1", { tabindex: -1 }, "Calls"), count, empty, list, el("h2", {}, "So far"), tiles);
  const cards = new Map();
  const show = () => {
    const share = live.workers > 1 ? `, in all ${live.workers} processes of this server` : "";
    setText(count, `${live.calls.length} in progress${share}`);
    empty.hidden = live.calls.length > 0;
    for (const [id, { element }] of cards) {
      if (!live.find(id)) {
        element.remove();
        cards.delete(id);
        summary(tiles, signal).catch(() => {});
      }
    }
    for (const call of live.calls) {
      if (!cards.has(call.call_id)) {
        cards.set(call.call_id, card(call));
        list.append(cards.get(call.call_id).element);
      }
      cards.get(call.call_id).update(call);
    }
    tick();
  };
  const tick = () => live.calls.forEach((call) => cards.get(call.call_id)?.tick(call));
  live.addEventListener("calls", show, { signal });
  live.addEventListener("levels", () => live.calls.forEach((call) => cards.get(call.call_id)?.levels(call)), { signal });
  const timer = setInterval(tick, 1000);
  signal.addEventListener("abort", () => clearInterval(timer));
  show();
  summary(tiles, signal).catch((error) => signal.aborted || tiles.replaceChildren(el("p", { class: "error" }, error.message)));
}
