"""Pure audio: G.711, levels, noise floor, resampling, WAV files. No I/O but for `wav`, no clock, no Trio."""
