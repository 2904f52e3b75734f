// Changes the sample rate of a stream, piece by piece: a windowed sinc, kept as one table of taps for each phase.
// Sample rates are whole numbers, so that the phases repeat: 48000 to 8000 has one, 44100 to 8000 has 80.

const ZERO_CROSSINGS = 12;
const PASSED = 0.9; // of the lower of the two bandwidths

const gcd = (a, b) => (b ? gcd(b, a % b) : a);

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

export class Resampler {
  constructor(fromHz, toHz) {
    const divisor = gcd(fromHz, toHz);
    this.step = fromHz / divisor; // in phases, from one sample out to the next
    this.phases = toHz / divisor;
    const cutoff = PASSED * Math.min(1, toHz / fromHz);
    this.half = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.taps = Array.from({ length: this.phases }, (_, phase) => this.#tapsOf(phase / this.phases, cutoff));
    this.input = new Float32Array(2 * this.half - 1); // silence before the beginning: the filter's delay
    this.phase = 0;
  }

  #tapsOf(fraction, cutoff) {
    const taps = new Float32Array(2 * this.half);
    let sum = 0;
    for (let k = 0; k < taps.length; k++) {
      const x = k - (this.half - 1) - fraction;
      const window = Math.abs(x) >= this.half ? 0 : 0.5 + 0.5 * Math.cos((Math.PI * x) / this.half);
      taps[k] = cutoff * sinc(cutoff * x) * window;
      sum += taps[k];
    }
    return taps.map((tap) => tap / sum);
  }

  /** Take samples in, and return those that can be told by now. */
  process(samples) {
    const input = new Float32Array(this.input.length + samples.length);
    input.set(this.input);
    input.set(samples, this.input.length);
    const width = 2 * this.half;
    const out = [];
    let at = 0;
    while (at + width <= input.length) {
      const taps = this.taps[this.phase];
      let sum = 0;
      for (let k = 0; k < width; k++) sum += taps[k] * input[at + k];
      out.push(sum);
      this.phase += this.step;
      at += Math.floor(this.phase / this.phases);
      this.phase %= this.phases;
    }
    this.input = input.slice(at);
    return Float32Array.from(out);
  }
}
