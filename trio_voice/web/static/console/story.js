// A call's journal as a story: line by line in, turns, replies, words, decisions and moments out. Nothing of it touches the page.

import { words } from "./dom.js";

/** What the guards' reasons mean. */
export const REASONS = {
  closing: "the call is ending",
  hang_up_pending: "a hang-up is on its way",
  greeting_lock: "the greeting is not to be interrupted",
  response_active: "the model is replying already",
  not_calibrated: "the line's noise is not known yet",
  cooldown: "too soon after the last interruption",
  caller_speaking: "the caller is speaking",
  not_spoken_yet: "the agent has not been heard yet",
  below_level: "too quiet to be the caller's voice",
  echo: "probably the agent's own voice, heard back",
  no_session: "the model is not connected",
  stale_session: "from a session that serves no more",
  cancelled_response: "from a reply that was cancelled",
  unknown_response: "from a reply that is not known",
  stale_mark: "about audio that is not waited for",
  past_return: "too late to be kept",
  duplicate: "told before",
  too_short: "too short to be a turn",
  not_committed: "the model has not taken the turn yet",
  model_decides: "the model decides about turns",
  too_late: "too late",
  changing: "the agent or its voice is being changed",
};

/** The events whose refusal is a decision; what is late or stale of the others is only put aside. */
const REFUSED = {
  SpeechStarted: "no barge-in",
  SpeechStopped: "no end of a turn",
  TextInjected: "nothing is said",
  DigitPressed: "the key has no effect",
  HangUpAsked: "no hang-up",
  ToolFinished: "the tool's answer is not used",
};

const CUTS = {
  CancelResponse: () => "reply cancelled",
  TruncateItem: (line) => `the model forgets what came after ${(line.heard_ms / 1000).toFixed(1)} s`,
  DeleteItem: () => "the model forgets what was not heard at all",
};

const MOMENTS = {
  CallStarted: () => ["the call began"],
  SessionReady: () => ["the model is ready"],
  SessionLost: (line) => [`the model's session was lost: ${line.reason}`, "fault"],
  FatalErrorRaised: (line) => [`an error of the server's own: ${line.reason}`, "fault"],
  OutboxOverran: (line) => [`the ${line.leg} does not take what is sent`, "fault"],
  ModelErred: (line) => [`the model reports an error: ${line.message || line.code}`, "fault"],
  DigitPressed: (line) => [`key ${line.digit}`],
  ToolCalled: (line) => [`tool ${line.name} ${line.arguments}`],
  ToolFinished: (line) => [`tool answered: ${line.output}`],
  JobStarted: (line) => [`background job ${line.job} began`],
  JobEnded: (line) => [`background job ${line.job} ended`],
  ChangeAsked: (line) => [line.voice_changes ? "another agent or voice is asked for" : "another agent is asked for"],
  ChangeApplied: () => ["the agent or its voice was changed"],
  ChangeRefused: (line) => [`the agent or its voice could not be changed: ${line.reason}`, "fault"],
  SendFailed: (line) => [`could not be sent to the model: ${line.event_id}`, "fault"],
  DigitsAsked: (line) => [`keys to press: ${line.digits}`],
  FillerAsked: (line) => [`a few words, if nobody speaks: ${line.text}`],
  InterruptTools: () => ["tools that an interruption cancels are cancelled"],
  Note: (line) => [line.text],
  TextInjected: (line) => [`to be said: ${line.text}`],
  HangUpAsked: (line) => [`hang-up asked: ${line.reason}`],
  CallerHungUp: (line) => [`the caller is gone: ${line.reason}`],
  HangUp: (line) => [`hang up: ${line.reason}`],
  Close: (line) => [`the end: ${line.reason}`],
};

const shorten = (text, length = 300) => (text.length > length ? `${text.slice(0, length)} …` : text);

export class Story {
  constructor() {
    this.header = null;
    this.t = 0; // of the latest line
    this.turns = []; // { item, start, stop, committed }
    this.replies = []; // { id, request, purpose, requested, created, done, status }
    this.said = []; // { key, who, t, text, cutAt }
    this.decisions = []; // { t, kind: "refused" | "cut", what, why }
    this.moments = []; // { t, text, tone: "plain" | "fault" | "timer" }
    this.bargeIns = [];
    this.lost = 0; // lines that are missing
    this.endReason = null;
    this.event = "";
    this.eventT = -1;
  }

  /** Take one line of the journal, parsed. Lines that are not known are passed over. */
  take(line) {
    if ("journal" in line) {
      this.header = line;
      return;
    }
    if (line.lost_lines) this.lost += line.lost_lines;
    if (typeof line.t !== "number") return;
    this.t = Math.max(this.t, line.t);
    if (line.timer) this.#moment(line.t, `deadline: ${words(line.timer)}`, "timer");
    if (line.remark) this.#moment(line.t, line.remark);
    const name = line.event ?? line.command;
    if (line.event) [this.event, this.eventT] = [name, line.t];
    if (MOMENTS[name]) this.#moment(line.t, ...MOMENTS[name](line));
    if (CUTS[name]) this.decisions.push({ t: line.t, kind: "cut", what: CUTS[name](line), why: "" });
    const take = TAKERS[name];
    if (take) take(this, line);
  }

  #moment(t, text, tone = "plain") {
    this.moments.push({ t, text: shorten(text), tone });
  }

  /** The words of one item; made when it is first heard of, at its place in time. */
  words(key, who, t) {
    let entry = this.said.findLast((each) => each.key === key);
    if (!entry) {
      entry = { key, who, t, text: "", whole: false, cutAt: null };
      const after = this.said.findLastIndex((each) => each.t <= t);
      this.said.splice(after + 1, 0, entry);
    }
    return entry;
  }

  refuse(t, what, reason, tail = "") {
    this.decisions.push({ t, kind: "refused", what, why: `${REASONS[reason] ?? words(reason)}${tail}`, reason });
  }
}

const TAKERS = {
  SpeechStarted(story, line) {
    story.turns.push({ item: line.item_id, start: line.t, stop: null, committed: null });
    story.words(line.item_id, "caller", line.t);
  },
  SpeechStopped(story, line) {
    const turn = story.turns.findLast((each) => each.item === line.item_id && each.stop === null);
    if (turn) turn.stop = line.t;
  },
  TurnCommitted(story, line) {
    const turn = story.turns.findLast((each) => each.item === line.item_id);
    if (turn) turn.committed = line.t;
  },
  CallerTranscribed(story, line) {
    story.words(line.item_id, "caller", line.t).text = line.text;
  },
  ModelTranscript(story, line) {
    const entry = story.words(line.item_id, "agent", line.t);
    if (line.final) Object.assign(entry, { text: line.text, whole: true });
    else if (!entry.whole) entry.text += line.text;
  },
  CreateResponse(story, line) {
    const reply = { id: null, request: line.request, purpose: line.purpose, requested: line.t, created: null, done: null, status: null };
    story.replies.push(reply);
  },
  ResponseCreated(story, line) {
    let reply = story.replies.find((each) => each.id === null && each.done === null && (line.request === null || each.request === line.request));
    if (!reply) {
      reply = { request: null, purpose: "the model's own", requested: null, done: null, status: null };
      story.replies.push(reply);
    }
    Object.assign(reply, { id: line.response_id, created: line.t });
  },
  ResponseDone(story, line) {
    const reply = story.replies.find((each) => each.id === line.response_id);
    if (reply) Object.assign(reply, { done: line.t, status: line.status });
    if (line.error_code || line.error_message) {
      story.moments.push({ t: line.t, text: `the reply failed: ${line.error_message || line.error_code}`, tone: "fault" });
    }
  },
  ClearPlayback(story, line) {
    const turn = story.turns.at(-1);
    if (turn && turn.stop === null) {
      story.bargeIns.push(line.t);
      story.decisions.push({ t: line.t, kind: "cut", what: "barge-in: the agent falls silent", why: "the caller speaks" });
    } else {
      story.decisions.push({ t: line.t, kind: "cut", what: "what was queued for the caller is dropped", why: "" });
    }
  },
  TruncateItem(story, line) {
    const entry = story.said.findLast((each) => each.key === line.item_id);
    if (entry) entry.cutAt = line.heard_ms / 1000;
  },
  DeleteItem(story, line) {
    const entry = story.said.findLast((each) => each.key === line.item_id);
    if (entry) entry.cutAt = 0;
  },
  Discard(story, line) {
    // A discard of another moment answers a frame of audio, whose line is not among these.
    const what = line.t === story.eventT && REFUSED[story.event];
    if (what) story.refuse(line.t, what, line.reason);
  },
  Refuse(story, line) {
    story.refuse(line.t, `no reply now (${words(line.purpose)})`, line.reason, line.waits ? "; it is made later" : "");
  },
  Close(story, line) {
    story.endReason = line.reason;
  },
};
