// The carrier's end of a call: Twilio's media stream dialect over a WebSocket, as Twilio itself speaks it.

const hex = (count) => Array.from(crypto.getRandomValues(new Uint8Array(count / 2)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));
const fromBase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

export class Line {
  /** `on`: { audio(bytes), mark(name), clear(), open(), end(reason) }. */
  constructor(url, on) {
    this.callSid = `CA${hex(32)}`;
    this.streamSid = `MZ${hex(32)}`;
    this.accountSid = `AC${"0".repeat(32)}`;
    this.sequence = 0;
    this.chunk = 0;
    this.on = on;
    this.socket = new WebSocket(url);
    this.socket.onopen = () => this.#begin();
    this.socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    this.socket.onclose = ({ code, reason }) => this.#ended(code, reason);
  }

  get isOpen() {
    return this.socket.readyState === WebSocket.OPEN && this.sequence > 0;
  }

  /** Send 20 ms of mu-law. */
  audio(frame) {
    this.chunk += 1;
    const media = { track: "inbound", chunk: String(this.chunk), timestamp: String((this.chunk - 1) * 20), payload: toBase64(frame) };
    this.#send("media", { media });
  }

  /** A key was pressed. */
  digit(digit) {
    this.#send("dtmf", { dtmf: { track: "inbound_track", digit } });
  }

  /** What came before the mark has been heard, or was cleared. */
  echo(name) {
    this.#send("mark", { mark: { name } });
  }

  /** Hang up. */
  stop() {
    this.#send("stop", { stop: { accountSid: this.accountSid, callSid: this.callSid } });
    this.socket.close(1000);
  }

  #begin() {
    this.socket.send(JSON.stringify({ event: "connected", protocol: "Call", version: "1.0.0" }));
    this.sequence = 1;
    const start = {
      accountSid: this.accountSid,
      streamSid: this.streamSid,
      callSid: this.callSid,
      tracks: ["inbound"],
      mediaFormat: { encoding: "audio/x-mulaw", sampleRate: 8000, channels: 1 },
      customParameters: {},
    };
    this.socket.send(JSON.stringify({ event: "start", sequenceNumber: "1", streamSid: this.streamSid, start }));
    this.on.open();
  }

  #send(event, facts) {
    if (!this.isOpen) return;
    this.sequence += 1;
    this.socket.send(JSON.stringify({ event, sequenceNumber: String(this.sequence), streamSid: this.streamSid, ...facts }));
  }

  #hear(message) {
    if (message.event === "media") this.on.audio(fromBase64(message.media.payload));
    else if (message.event === "mark") this.on.mark(message.mark.name);
    else if (message.event === "clear") this.on.clear();
  }

  #ended(code, reason) {
    const why = this.sequence === 0 ? "the server did not take the call" : code === 1000 ? "the call is over" : `the line broke (${code})`;
    this.on.end(reason ? `${why}: ${reason}` : why);
  }
}
