// The loudspeaker's worklet: mu-law and marks in, sound out; it says which marks have been reached, and how loud it is.

import { decode } from "./g711.js";
import { JitterBuffer } from "./jitter.js";
import { Resampler } from "./resample.js";

const PIECE_SAMPLES = 80; // 10 ms
const LEVEL_EVERY_PIECES = 10;

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.buffer = new JitterBuffer();
    this.resampler = new Resampler(8000, sampleRate);
    this.piece = new Float32Array(PIECE_SAMPLES);
    this.ready = new Float32Array(0);
    this.at = 0;
    this.pieces = 0;
    this.power = 0;
    this.port.onmessage = ({ data }) => {
      if (data.audio) this.buffer.push(decode(data.audio));
      else if (data.mark !== undefined) this.buffer.mark(data.mark);
      else if (data.clear) this.port.postMessage({ cleared: this.buffer.clear() });
    };
  }

  process(_inputs, [channels]) {
    const [out] = channels;
    for (let k = 0; k < out.length; k++) {
      while (this.at === this.ready.length) this.#read();
      out[k] = this.ready[this.at++];
    }
    for (const channel of channels.slice(1)) channel.set(out);
    return true;
  }

  #read() {
    const reached = this.buffer.read(this.piece);
    if (reached.length) this.port.postMessage({ reached });
    for (const sample of this.piece) this.power += sample * sample;
    if (++this.pieces === LEVEL_EVERY_PIECES) {
      const power = this.power / (PIECE_SAMPLES * LEVEL_EVERY_PIECES);
      this.port.postMessage({ dbfs: power ? 10 * Math.log10(power) : null });
      this.pieces = this.power = 0;
    }
    this.ready = this.resampler.process(this.piece);
    this.at = 0;
  }
}

registerProcessor("player", Player);
