// The buffer between the network and the ear: waits a little before it begins, so that late pieces come in time, and knows when
// a mark has been reached. Plain samples in and out, no audio interface: the worklet around it is `player.js`.

const RATE_HZ = 8000;
const START_MS = 60;
const LONGEST_START_MS = 240;
const STEP_MS = 20;
const LATE_MS = 300; // audio that comes so soon after the buffer ran dry was late: wait longer before the next beginning
const FADE_SAMPLES = 40;

const samplesOf = (ms) => (ms * RATE_HZ) / 1000;

export class JitterBuffer {
  constructor() {
    this.startMs = START_MS;
    this.queue = []; // pieces of audio (Float32Array), and names of marks between them
    this.at = 0; // where in the first piece
    this.queued = 0; // samples that wait
    this.waiting = true;
    this.waited = 0; // samples of silence since audio began to wait
    this.silent = Infinity; // samples of silence since the last that was heard
    this.last = 0;
    this.fade = 0;
  }

  /** Take audio. */
  push(samples) {
    if (!samples.length) return;
    if (this.queued === 0 && this.waiting) {
      this.waited = 0;
      if (this.silent > 0 && this.silent < samplesOf(LATE_MS)) this.startMs = Math.min(this.startMs + STEP_MS, LONGEST_START_MS);
    }
    this.queue.push(samples);
    this.queued += samples.length;
  }

  /** Take a mark: it is reached when all audio before it has been heard. */
  mark(name) {
    this.queue.push(name);
  }

  /** Drop what waits, and return the names of the marks in it. What sounds fades out within 5 ms. */
  clear() {
    const names = this.queue.filter((entry) => typeof entry === "string");
    if (!this.waiting) this.fade = FADE_SAMPLES;
    this.queue = [];
    this.at = this.queued = 0;
    this.waiting = true;
    this.silent = Infinity;
    return names;
  }

  /** Fill `out` with what is heard next, and return the names of the marks that are reached. */
  read(out) {
    const reached = [];
    let filled = 0;
    this.#takeMarks(reached);
    if (this.waiting && this.queued > 0) {
      this.waited += out.length;
      if (this.queued >= samplesOf(this.startMs) || this.waited > samplesOf(this.startMs)) this.waiting = false;
    }
    while (!this.waiting && filled < out.length && this.queued > 0) {
      const piece = this.queue[0];
      const count = Math.min(out.length - filled, piece.length - this.at);
      out.set(piece.subarray(this.at, this.at + count), filled);
      filled += count;
      this.at += count;
      this.queued -= count;
      if (this.at === piece.length) {
        this.queue.shift();
        this.at = 0;
      }
      this.#takeMarks(reached);
    }
    this.#silence(out, filled);
    return reached;
  }

  #takeMarks(reached) {
    while (this.queue.length && typeof this.queue[0] === "string") reached.push(this.queue.shift());
  }

  #silence(out, from) {
    if (from > 0) {
      this.last = out[from - 1];
      this.silent = 0;
      this.fade = from < out.length ? FADE_SAMPLES : 0;
    }
    for (let k = from; k < out.length; k++) {
      out[k] = this.fade > 0 ? (this.last * --this.fade) / FADE_SAMPLES : 0;
      this.silent += 1;
    }
    if (from < out.length && this.queued === 0) this.waiting = true;
  }
}
