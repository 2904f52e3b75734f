// The softphone: this browser as a telephone. One call at a time; it goes on while other pages of the console are looked at.

import { transcriptView } from "./call.js";
import { clock, el, getJson, meter, setText } from "./dom.js";
import { Line } from "./line.js";
import { live } from "./live.js";
import { Story } from "./story.js";

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];

class Phone extends EventTarget {
  constructor() {
    super();
    this.state = "idle"; // idle, calling, talking
    this.note = "";
    this.muted = false;
    this.levels = { mine: null, theirs: null };
    this.callSid = null;
    this.began = 0;
    this.digits = "";
    this.story = new Story();
  }

  get busy() {
    return this.state !== "idle";
  }

  async call() {
    if (this.busy) return;
    this.story = new Story();
    this.digits = "";
    this.#become("calling", "asking for the microphone …");
    try {
      await this.#openAudio();
      this.#become("calling", "calling …");
      await this.#dial();
    } catch (error) {
      this.#letGo(inWords(error));
    }
  }

  hangUp() {
    this.line?.stop();
    this.#letGo("you hung up");
  }

  mute(muted) {
    this.muted = muted;
    this.capture?.port.postMessage({ muted });
    this.#become(this.state, this.note);
  }

  press(digit) {
    if (this.state !== "talking") return;
    this.digits += digit;
    this.line.digit(digit);
    this.#become(this.state, this.note);
  }

  // --- sound

  async #openAudio() {
    if (!navigator.mediaDevices) throw new Error("a browser gives the microphone only to pages from https:// or from this machine (localhost)");
    this.microphone = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
    this.context = new AudioContext({ latencyHint: "interactive" });
    await this.context.resume();
    await Promise.all(["capture.js", "player.js"].map((name) => this.context.audioWorklet.addModule(`/console/files/${name}`)));
    this.capture = new AudioWorkletNode(this.context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.player = new AudioWorkletNode(this.context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
    this.capture.port.postMessage({ muted: this.muted });
    this.capture.port.onmessage = ({ data }) => {
      this.levels.mine = data.dbfs;
      this.line?.audio(data.frame);
    };
    this.player.port.onmessage = ({ data }) => this.#played(data);
    this.context.createMediaStreamSource(this.microphone).connect(this.capture);
    this.player.connect(this.context.destination);
  }

  /** A mark is echoed when its sound has left the loudspeaker, or at once when it was cleared. */
  #played({ reached, cleared, dbfs }) {
    if (dbfs !== undefined) this.levels.theirs = dbfs;
    for (const name of reached ?? []) {
      const delayMs = 1000 * ((this.context?.outputLatency || 0) + (this.context?.baseLatency || 0));
      const timer = setTimeout(() => {
        this.due.delete(name);
        this.line?.echo(name);
      }, delayMs);
      this.due.set(name, timer);
    }
    for (const name of cleared ?? []) this.line?.echo(name);
  }

  #clear() {
    for (const [name, timer] of this.due) {
      clearTimeout(timer);
      this.line?.echo(name);
    }
    this.due.clear();
    this.player?.port.postMessage({ clear: true });
  }

  // --- the line

  async #dial() {
    const url = await mediaAddress();
    this.due = new Map();
    this.line = new Line(url, {
      open: () => {
        this.began = performance.now();
        this.#become("talking", "");
        this.#follow();
      },
      audio: (bytes) => this.player?.port.postMessage({ audio: bytes }, [bytes.buffer]),
      mark: (name) => this.player?.port.postMessage({ mark: name }),
      clear: () => this.#clear(),
      end: (reason) => this.#letGo(reason),
    });
    this.callSid = live.own = this.line.callSid;
  }

  #follow() {
    const story = this.story;
    this.source = new EventSource(`/api/v1/calls/${this.callSid}/events`);
    this.source.onmessage = ({ data }) => {
      story.take(JSON.parse(data));
      this.dispatchEvent(new Event("story"));
    };
    this.source.onerror = () => this.source?.close();
  }

  #letGo(note) {
    const { line, source, microphone, context, due } = this;
    Object.assign(this, { line: null, microphone: null, context: null, capture: null, player: null });
    if (line) line.on = { audio() {}, mark() {}, clear() {}, open() {}, end() {} };
    if (line?.socket.readyState === WebSocket.OPEN) line.socket.close(1000);
    for (const timer of due?.values() ?? []) clearTimeout(timer);
    setTimeout(() => source?.close(), 2000); // the feed's last lines are still on their way
    microphone?.getTracks().forEach((track) => track.stop());
    context?.close();
    this.levels = { mine: null, theirs: null };
    if (this.busy) this.#become("idle", note);
  }

  #become(state, note) {
    this.state = state;
    this.note = note;
    this.dispatchEvent(new Event("state"));
  }
}

function inWords(error) {
  if (error.name === "NotAllowedError") return "the browser does not give the microphone to this page: allow it, and call again";
  if (error.name === "NotFoundError") return "there is no microphone: connect one, and call again";
  return error.message;
}

/** Where to call: the server's media stream, with a token of this call's own. */
async function mediaAddress() {
  const { paths } = await getJson("/api/v1/call-tokens", { method: "POST" });
  return `${location.origin.replace(/^http/, "ws")}${paths.twilio}`;
}

export const phone = new Phone();

export function phonePage(main, signal) {
  const status = el("p", { class: "phone-status", role: "status" });
  const duration = el("p", { class: "duration big", "aria-hidden": true });
  const call = el("button", { type: "button", class: "primary round", onclick: () => phone.call() }, "Call");
  const end = el("button", { type: "button", class: "danger round", onclick: () => phone.hangUp() }, "Hang up");
  const mute = el("button", { type: "button", class: "round", "aria-pressed": false, onclick: () => phone.mute(!phone.muted) }, "Mute");
  const mine = meter("Your level", "caller");
  const theirs = meter("Agent's level", "agent");
  const digits = el("output", { class: "digits", "aria-label": "Keys pressed" });
  const keys = KEYS.map((key) => el("button", { type: "button", class: "key-button", onclick: () => phone.press(key) }, key));
  const transcript = transcriptView();
  const details = el("a", {}, "Everything about this call");
  main.append(
    el("h1", { tabindex: -1 }, "Softphone"),
    el("p", { class: "quiet" }, "Calls the agent with this browser's microphone and loudspeaker. Speak while the agent speaks, and it falls silent."),
    el("div", { class: "columns" },
      el("section", { class: "card phone", "aria-label": "Telephone" },
        status, duration,
        el("p", { class: "actions centered" }, call, mute, end),
        el("div", { class: "meters" }, el("span", {}, "you"), mine.element, el("span", {}, "agent"), theirs.element),
        el("div", { class: "keypad", role: "group", "aria-label": "Keypad" }, keys), digits),
      el("section", { class: "card", "aria-label": "Transcript" }, el("h2", {}, "What is said"), transcript.element, el("p", {}, details))),
  );
  const show = () => {
    const talking = phone.state === "talking";
    const focused = document.activeElement;
    setText(status, talking ? "in a call" : phone.note || "ready");
    call.hidden = phone.busy;
    end.hidden = !phone.busy;
    mute.hidden = !phone.busy;
    if (focused?.hidden && [call, end, mute].includes(focused)) (phone.busy ? end : call).focus(); // from the keys' user nothing is taken
    mute.setAttribute("aria-pressed", phone.muted);
    setText(mute, phone.muted ? "Unmute" : "Mute");
    setText(digits, phone.digits);
    keys.forEach((key) => { key.disabled = !talking; });
    details.hidden = !phone.story.header;
    if (phone.story.header) details.href = `#/call/${phone.story.header.call_id}`;
    duration.hidden = !talking;
    tick();
  };
  const tick = () => {
    mine.show(phone.levels.mine);
    theirs.show(phone.levels.theirs);
    if (phone.state === "talking") setText(duration, clock((performance.now() - phone.began) / 1000));
  };
  const timer = setInterval(tick, 100);
  signal.addEventListener("abort", () => clearInterval(timer));
  phone.addEventListener("state", show, { signal });
  phone.addEventListener("story", () => {
    transcript.show(phone.story, true);
    show();
  }, { signal });
  document.addEventListener("keydown", ({ key, target, ctrlKey, metaKey, altKey }) => {
    if (KEYS.includes(key) && !ctrlKey && !metaKey && !altKey && target.tagName !== "INPUT") phone.press(key);
  }, { signal });
  transcript.show(phone.story, true);
  show();
}
