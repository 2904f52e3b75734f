// One call: as it goes on (its feed), or as it was (its journal): words, timeline, decisions, recording, replay.

import { clock, el, getJson, meter, moment, plural, setText, stateInWords, words } from "./dom.js";
import { durationOf, hangUpButton, live, nameOf, sayForm } from "./live.js";
import { Story } from "./story.js";
import { drawTimeline } from "./timeline.js";

const LEVELS_EVERY_S = 0.2;
const LATE_S = 2;
const NEAR_PIXELS = 40;
const DRAW_EVERY_MS = 500;
const END_LOOKS = 10;
const END_LOOK_EVERY_MS = 500;
const MOST_ROWS = 400;

/** What is said, so far; { element, show(story, following) }. Only what is new or has changed is touched. */
export function transcriptView() {
  const element = el("ol", { class: "transcript" });
  const box = el("div", { class: "transcript-box", role: "log", "aria-label": "Transcript", tabindex: 0 }, element);
  const rows = new Map();
  const empty = el("p", { class: "quiet" }, "Nothing has been said yet.");
  const unwritten = el("p", { class: "quiet" }, "Nothing writes down the caller's words; model.transcription_model names what shall.");
  const show = (story, following) => {
    empty.hidden = story.said.length > 0;
    const ofCaller = story.said.filter((entry) => entry.who === "caller");
    const isAtEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - NEAR_PIXELS;
    unwritten.hidden = !ofCaller.length || ofCaller.some((entry) => entry.text);
    story.said.slice(-MOST_ROWS).forEach((entry) => {
      let row = rows.get(entry.key);
      if (!row) {
        row = { text: el("p"), note: el("p", { class: "note" }) };
        row.element = el("li", { class: entry.who }, el("p", { class: "who" }, `${entry.who} · ${clock(entry.t)}`), row.text, row.note);
        rows.set(entry.key, row);
        const next = story.said.slice(story.said.indexOf(entry) + 1).map((each) => rows.get(each.key)).find((each) => each);
        element.insertBefore(row.element, next?.element ?? null);
      }
      setText(row.text, entry.text || spokenInWords(story, entry));
      row.text.className = entry.text ? "" : "unheard";
      setText(row.note, entry.cutAt === null ? "" : entry.cutAt ? `cut off: heard to ${moment(entry.cutAt)}` : "not heard: cut off before it began");
    });
    while (rows.size > MOST_ROWS) {
      const [key, row] = rows.entries().next().value;
      row.element.remove();
      rows.delete(key);
    }
    if (following && isAtEnd) box.scrollTop = box.scrollHeight; // but not from under somebody who reads further up
  };
  return { element: el("div", {}, empty, box, unwritten), show };
}

function spokenInWords(story, { key, who }) {
  const turn = story.turns.findLast((each) => each.item === key);
  if (who !== "caller" || !turn) return "…";
  if (turn.stop !== null) return `spoke for ${moment(turn.stop - turn.start)}`;
  return story.endReason === null ? "speaking …" : "spoke to the end of the call";
}

/** A list that grows; { element, show(entries, newestFirst) }. */
function growingList(label, rowOf, nothing) {
  const element = el("ol", { class: "events", "aria-label": label, tabindex: 0 });
  const empty = el("p", { class: "quiet" }, nothing);
  let shown = 0;
  let isReversed = false;
  const show = (entries, newestFirst) => {
    if (entries.length < shown || newestFirst !== isReversed) {
      element.replaceChildren();
      shown = 0;
      isReversed = newestFirst;
    }
    for (const entry of entries.slice(shown)) element[newestFirst ? "prepend" : "append"](rowOf(entry));
    while (element.childElementCount > MOST_ROWS) (newestFirst ? element.lastElementChild : element.firstElementChild).remove();
    shown = entries.length;
    empty.hidden = shown > 0;
  };
  return { element: el("div", {}, empty, element), show };
}

const decisionRow = ({ t, kind, what, why }) => el("li", { class: kind }, el("span", { class: "at" }, clock(t)), el("span", {}, what, why ? el("small", {}, why) : null));
const momentRow = ({ t, text, tone }) => el("li", { class: tone }, el("span", { class: "at" }, clock(t)), el("span", {}, text));

export function callPage(main, signal, callId) {
  new CallPage(main, signal, callId).begin();
}

class CallPage {
  constructor(main, signal, callId) {
    this.callId = callId;
    this.signal = signal;
    this.story = new Story();
    this.levels = [];
    this.pair = [null, null];
    this.everyS = LEVELS_EVERY_S;
    this.source = null;
    this.lay(main);
    signal.addEventListener("abort", () => {
      this.source?.close();
      clearInterval(this.timer);
    });
  }

  lay(main) {
    this.title = el("h1", { tabindex: -1 }, `Call ${this.callId}`);
    this.facts = el("p", { class: "quiet" });
    this.pills = el("p", { class: "pills", role: "status" });
    this.duration = el("span", { class: "duration" });
    this.now = el("div", { class: "card now", hidden: true });
    this.problem = el("p", { class: "error", role: "alert" });
    this.audio = el("audio", { controls: true, preload: "metadata", "aria-label": "Recording of the call" });
    this.recording = el("div", { class: "recording", hidden: true }, this.audio);
    this.canvas = el("div", { class: "timeline-box", tabindex: 0, role: "group", "aria-label": "Timeline; scrolls sideways" });
    this.transcript = transcriptView();
    this.decisions = growingList("Decisions", decisionRow, "Nothing had to be decided.");
    this.moments = growingList("Events", momentRow, "Nothing yet.");
    this.replay = el("section", { class: "card", hidden: true, "aria-label": "Replay" });
    main.append(
      el("p", {}, live.find(this.callId) ? el("a", { href: "#/" }, "‹ calls") : el("a", { href: "#/past" }, "‹ past calls")),
      this.title, this.facts, this.pills, this.problem, this.now,
      el("section", { class: "card", "aria-label": "Timeline" }, el("h2", {}, "Timeline"), this.recording, this.canvas, legend()),
      el("div", { class: "columns" },
        el("section", { class: "card", "aria-label": "Transcript" }, el("h2", {}, "What was said"), this.transcript.element),
        el("div", {},
          el("section", { class: "card", "aria-label": "Decisions of the guards" }, el("h2", {}, "Decisions of the guards"), this.decisions.element),
          this.replay,
          el("section", { class: "card", "aria-label": "Events" }, el("details", {}, el("summary", {}, "Everything that happened"), this.moments.element)))),
    );
  }

  async begin() {
    this.timer = setInterval(() => this.draw(), DRAW_EVERY_MS);
    this.audio.addEventListener("timeupdate", () => this.drawn?.seek(this.audio.currentTime), { signal: this.signal });
    this.canvas.addEventListener("click", (event) => this.seekTo(event), { signal: this.signal });
    window.addEventListener("resize", () => { this.dirty = true; }, { signal: this.signal });
    live.addEventListener("levels", () => this.measure(), { signal: this.signal });
    live.addEventListener("calls", () => this.showState(), { signal: this.signal });
    if (live.find(this.callId)) {
      this.follow();
      return;
    }
    try {
      await this.load();
    } catch (error) {
      setText(this.problem, error.message);
    }
  }

  // --- a call that goes on

  follow() {
    this.fed = [];
    const call = live.find(this.callId);
    const caller = meter("Caller's level", "caller");
    const agent = meter("Agent's level", "agent");
    this.meters = { caller, agent };
    this.now.hidden = false;
    this.now.replaceChildren(
      el("div", { class: "meters" }, el("span", {}, "caller"), caller.element, el("span", {}, "agent"), agent.element),
      el("p", { class: "actions" }, hangUpButton(call.call_id, `Hang up ${nameOf(call)}`), this.duration),
      sayForm(call.call_id),
    );
    setText(this.title, nameOf(call));
    setText(this.facts, [call.called && `to ${call.called}`, call.dialect, call.call_sid].filter(Boolean).join(" · "));
    this.source = new EventSource(`/api/v1/calls/${encodeURIComponent(this.callId)}/events`);
    this.source.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.source.addEventListener("lost", ({ data }) => { this.missing = JSON.parse(data).lost; });
    this.source.onerror = () => this.ended();
    this.showState();
    this.measure();
    if (durationOf(call) > LATE_S) this.fetchMissing();
  }

  take(line) {
    this.fed.push(line);
    if (this.missing && typeof line.t === "number") {
      this.missing = 0;
      this.fetchMissing(line.t);
    }
    this.story.take(line);
    this.dirty = true;
  }

  /** What nobody measured before we looked, and what the feed keeps no more (`before`: from there on it has all), is in the journal. */
  async fetchMissing(before = 0) {
    try {
      const { lines, levels, levels_every_s: everyS } = await getJson(`/console/calls/${encodeURIComponent(this.callId)}`, { signal: this.signal });
      if (before) {
        const story = new Story();
        lines.filter((line) => !(line.t >= before)).forEach((line) => story.take(line));
        this.fed.filter((line) => line.t >= before).forEach((line) => story.take(line));
        this.story = story;
      }
      const last = Math.floor((levels.length * everyS) / LEVELS_EVERY_S);
      for (let place = 0; place < last; place++) this.levels[place] = levels[Math.floor((place * LEVELS_EVERY_S) / everyS)];
      this.dirty = true;
    } catch (error) {
      setText(this.problem, `the beginning of the call is not shown: ${error.message}`);
    }
  }

  measure() {
    const call = this.source && live.find(this.callId);
    if (!call) return;
    const pair = live.levelsOf(call);
    this.meters.caller.show(pair[0]);
    this.meters.agent.show(pair[1]);
    const place = Math.floor(durationOf(call) / LEVELS_EVERY_S);
    while (this.levels.length < place) this.levels.push(this.pair); // no news: they are what they were
    this.levels[place] = this.pair = pair;
  }

  showState() {
    const call = live.find(this.callId);
    if (!call) return;
    this.pills.replaceChildren(
      el("span", { class: `pill state-${call.state}` }, stateInWords(call.state)),
      el("span", { class: "pill quiet-pill" }, `reply: ${call.response}`),
    );
  }

  /** The feed has ended: the call is over, or the line to the server broke. */
  async ended() {
    this.source.close();
    this.source = null;
    if (this.now.contains(document.activeElement)) this.title.focus(); // what is hidden loses the keyboard
    this.now.hidden = true;
    this.pills.replaceChildren(el("span", { class: "pill" }, "over"));
    for (let look = 0; look < END_LOOKS && !this.signal.aborted; look++) {
      await new Promise((resolve) => setTimeout(resolve, END_LOOK_EVERY_MS));
      try {
        if (await this.load({ onlyWhenOver: true })) return;
      } catch (error) {
        setText(this.problem, error.message);
      }
      if (this.story.endReason === null && live.find(this.callId)) {
        this.story = new Story();
        this.follow();
        return;
      }
    }
  }

  // --- a call that is over

  async load({ onlyWhenOver = false } = {}) {
    const found = await getJson(`/console/calls/${encodeURIComponent(this.callId)}`, { signal: this.signal });
    const { digest } = found;
    if (onlyWhenOver && (digest.end_reason === null || digest.in_progress)) return false;
    if (digest.in_progress && live.find(this.callId)) {
      this.follow();
      return true;
    }
    setText(this.problem, "");
    const story = new Story();
    found.lines.forEach((line) => story.take(line));
    Object.assign(this, { story, levels: found.levels, everyS: found.levels_every_s, dirty: true });
    setText(this.title, `Call ${digest.call_id}`);
    const began = new Date(digest.started_at);
    setText(this.facts, [began.toLocaleString(), clock(digest.duration_s), digest.call_sid].join(" · "));
    this.pills.replaceChildren(
      el("span", { class: "pill" }, digest.end_reason === null ? "its end is not known" : `over: ${digest.end_reason}`),
      ...[[digest.turns, "turn"], [digest.barge_ins, "barge-in"], [digest.tools, "tool call"]].map(([count, what]) => el("span", { class: "pill quiet-pill" }, plural(count, what))),
    );
    if (found.left_out) setText(this.problem, `${found.left_out} later lines are not shown`);
    if (digest.has_recording) {
      this.audio.src = `/console/calls/${encodeURIComponent(this.callId)}/recording`;
      this.recording.hidden = false;
    }
    this.offerReplay();
    this.draw();
    return true;
  }

  offerReplay() {
    const verdict = el("div", { role: "status" });
    const button = el("button", { type: "button" }, "Replay");
    button.addEventListener("click", async () => {
      button.disabled = true;
      verdict.replaceChildren(el("p", { class: "quiet" }, "living the call again …"));
      try {
        verdict.replaceChildren(...verdictInWords(await getJson(`/console/calls/${encodeURIComponent(this.callId)}/replay`)));
      } catch (error) {
        verdict.replaceChildren(el("p", { class: "error" }, error.message));
      }
      button.disabled = false;
    });
    this.replay.hidden = false;
    this.replay.replaceChildren(
      el("h2", {}, "Replay"),
      el("p", { class: "quiet" }, "Lives the call again from its journal, and compares every decision with the one of then."),
      el("p", { class: "actions" }, button), verdict,
    );
  }

  // --- both

  seekTo(event) {
    const picture = event.target.closest("svg");
    if (!picture || this.recording.hidden || !this.drawn) return;
    this.audio.currentTime = this.drawn.at(event.clientX - picture.getBoundingClientRect().left);
  }

  draw() {
    const call = this.source && live.find(this.callId);
    if (call) {
      setText(this.duration, clock(durationOf(call)));
      this.story.t = Math.max(this.story.t, durationOf(call));
      this.dirty = true;
    }
    if (!this.dirty) return;
    this.dirty = false;
    const atEnd = this.canvas.scrollLeft + this.canvas.clientWidth >= this.canvas.scrollWidth - 40;
    this.drawn = drawTimeline(this.story, this.levels, this.everyS, this.canvas.clientWidth);
    this.canvas.replaceChildren(this.drawn.picture);
    this.drawn.seek(this.audio.currentTime);
    if (call && atEnd) this.canvas.scrollLeft = this.canvas.scrollWidth;
    this.transcript.show(this.story, this.source !== null);
    this.decisions.show(this.story.decisions, this.source !== null);
    this.moments.show(this.story.moments, this.source !== null);
  }
}

function verdictInWords({ verdict, events, timers, commands, ended, detail, context }) {
  const counts = `${plural(events, "event")}, ${plural(timers, "deadline")}, ${plural(commands, "command")}`;
  const said = {
    same: ["Same", `${counts}: every command came about again${ended ? "" : ", as far as the journal goes"}.`],
    different: ["Different", detail],
    unknown: ["Unknown", `Lines of the journal are missing; up to there it is the same (${counts}).`],
    unreadable: ["Unreadable", detail],
  }[verdict] ?? [words(verdict), detail ?? ""];
  return [
    el("p", {}, el("strong", { class: `verdict ${verdict}` }, said[0]), " ", said[1]),
    context.length ? el("pre", { tabindex: 0 }, context.join("\n")) : "",
  ];
}

function legend() {
  const entry = (kind, text) => el("span", { class: "key" }, el("span", { class: `swatch ${kind}` }), text);
  return el("p", { class: "legend quiet" },
    entry("caller", "caller"), entry("agent", "agent; reply completed"), entry("cancelled", "cut: cancelled, interrupted"),
    entry("waiting", "asked for"), entry("refused", "refused by a guard"));
}
