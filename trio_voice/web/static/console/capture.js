// The microphone's worklet: any sample rate in, frames of 20 ms of mu-law at 8000 Hz out, each with its level.

import { encode } from "./g711.js";
import { Resampler } from "./resample.js";

const FRAME_SAMPLES = 160;
const SILENCE_DBFS = -100;

function levelDbfs(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return sum === 0 ? SILENCE_DBFS : 10 * Math.log10(sum / samples.length);
}

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, 8000);
    this.samples = new Float32Array(FRAME_SAMPLES);
    this.filled = 0;
    this.muted = false;
    this.port.onmessage = ({ data }) => { this.muted = data.muted; };
  }

  process([channels]) {
    const heard = channels.length && !this.muted ? channels[0] : new Float32Array(128);
    for (const sample of this.resampler.process(heard)) {
      this.samples[this.filled++] = sample;
      if (this.filled === FRAME_SAMPLES) this.#send();
    }
    return true;
  }

  #send() {
    const frame = encode(this.samples);
    this.port.postMessage({ frame, dbfs: levelDbfs(this.samples) }, [frame.buffer]);
    this.filled = 0;
  }
}

registerProcessor("capture", Capture);
