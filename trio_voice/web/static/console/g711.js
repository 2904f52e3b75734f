// G.711 mu-law (ITU-T G.711): 8 bits a sample, 8000 samples a second.

const BIAS = 33; // of 14-bit samples, which is what mu-law is defined on
const LARGEST = 8191; // with the bias in it

/** One signed 16-bit sample to a mu-law byte. */
export function encodeSample(sample) {
  const value = sample >> 2;
  const magnitude = Math.min(Math.abs(value) + BIAS, LARGEST);
  const segment = 26 - Math.clz32(magnitude);
  return ((segment << 4) | ((magnitude >> (segment + 1)) & 0x0f)) ^ (value < 0 ? 0x7f : 0xff);
}

/** One mu-law byte to a signed 16-bit sample. */
export function decodeSample(byte) {
  const bits = ~byte & 0xff;
  const exponent = (bits >> 4) & 7;
  const magnitude = ((((bits & 0x0f) << 1) + BIAS << exponent) - BIAS) << 2;
  return bits & 0x80 ? -magnitude : magnitude;
}

const DECODED = Float32Array.from({ length: 256 }, (_, byte) => decodeSample(byte) / 32768);

/** Samples between -1 and 1 to mu-law. */
export function encode(samples) {
  return Uint8Array.from(samples, (sample) => encodeSample(Math.round(Math.max(-1, Math.min(1, sample)) * 32767)));
}

/** Mu-law to samples between -1 and 1. */
export function decode(bytes) {
  return Float32Array.from(bytes, (byte) => DECODED[byte]);
}
