// G.711 mu-law (ITU-T G.711): 8 bits a sample, 8000 samples a second.

const BIAS = 132;
const CLIP = 32635;

/** One signed 16-bit sample to a mu-law byte. */
export function encodeSample(sample) {
  const sign = sample < 0 ? 0x80 : 0;
  const magnitude = Math.min(Math.abs(sample), CLIP) + BIAS;
  const exponent = 31 - Math.clz32(magnitude >> 7);
  return ~(sign | (exponent << 4) | ((magnitude >> (exponent + 3)) & 0x0f)) & 0xff;
}

/** One mu-law byte to a signed 16-bit sample. */
export function decodeSample(byte) {
  const bits = ~byte & 0xff;
  const exponent = (bits >> 4) & 7;
  const magnitude = (((bits & 0x0f) << 3) + BIAS << exponent) - BIAS;
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
