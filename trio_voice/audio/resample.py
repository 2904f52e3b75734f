"""Streaming conversion between 8000 Hz and 24000 Hz (the telephone's rate and the model's), signed 16-bit PCM.

A 48-tap polyphase FIR on numpy: even output (160 samples in, exactly 480 out, and back), 1 ms of delay, aliases at -54 dB.
Block resamplers such as soxr's stream give bursts (nothing, nothing, 1468 bytes), which a telephone hears as jitter; linear
ones alias. `resample_pcm16` does whole recordings at any rates.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from attrs import define, field

FACTOR = 3
_TAPS = 48
_CUTOFF = 3800 / 24000


def _lowpass() -> npt.NDArray[np.float64]:
    n = np.arange(_TAPS) - (_TAPS - 1) / 2
    taps = 2 * _CUTOFF * np.sinc(2 * _CUTOFF * n) * np.kaiser(_TAPS, 5.0)
    return np.asarray(taps / taps.sum(), dtype=np.float64)


_FIR = _lowpass()
_PHASES = np.stack([_FIR[phase::FACTOR] * FACTOR for phase in range(FACTOR)], axis=1)[::-1]  # (taps a phase, phases)


def _to_pcm16(samples: npt.NDArray[np.float64]) -> bytes:
    return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()


@define
class Upsampler8To24:
    """8000 Hz in, 24000 Hz out; state is kept between calls, so that frames join without a click."""

    _tail: npt.NDArray[np.float64] = field(factory=lambda: np.zeros(_TAPS // FACTOR - 1), init=False)

    def convert(self, pcm16: bytes) -> bytes:
        """Return exactly three times the samples that went in."""
        joined = np.concatenate([self._tail, np.frombuffer(pcm16, "<i2").astype(np.float64)])
        self._tail = joined[-(_TAPS // FACTOR - 1) :]
        windows = np.lib.stride_tricks.sliding_window_view(joined, _TAPS // FACTOR)
        return _to_pcm16((windows @ _PHASES).reshape(-1))


@define
class Downsampler24To8:
    """24000 Hz in, 8000 Hz out; keeps up to two samples back until a whole output sample is there."""

    _tail: npt.NDArray[np.float64] = field(factory=lambda: np.zeros(_TAPS - FACTOR), init=False)

    def convert(self, pcm16: bytes) -> bytes:
        """Return one sample for every three that have come in so far."""
        joined = np.concatenate([self._tail, np.frombuffer(pcm16, "<i2").astype(np.float64)])
        count = max(0, (len(joined) - _TAPS) // FACTOR + 1)
        if not count:
            self._tail = joined
            return b""
        windows = np.lib.stride_tricks.sliding_window_view(joined, _TAPS)[::FACTOR][:count]
        self._tail = joined[count * FACTOR :]
        return _to_pcm16(windows @ _FIR[::-1])


def resample_pcm16(pcm16: bytes, from_hz: int, to_hz: int) -> bytes:
    """Convert a whole recording between any two rates with a windowed-sinc interpolation (not for streaming)."""
    if from_hz == to_hz:
        return pcm16
    source = np.frombuffer(pcm16, "<i2").astype(np.float64)
    if not len(source):
        return b""
    scale = min(1.0, to_hz / from_hz) * 0.95
    half = math.ceil(16 / scale)
    padded = np.concatenate([np.zeros(half), source, np.zeros(half + 1)])
    offsets = np.arange(-half + 1, half + 1)
    result = np.empty(len(source) * to_hz // from_hz)
    for begin in range(0, len(result), 16384):  # in blocks, so that a long recording needs little memory
        at = np.arange(begin, min(begin + 16384, len(result))) * (from_hz / to_hz)
        base = np.floor(at).astype(np.int64)
        distance = (at - base)[:, None] - offsets[None, :]
        kernel = scale * np.sinc(scale * distance) * np.cos(np.pi * distance / (2 * half)).clip(0) ** 2
        result[begin : begin + len(at)] = (padded[base[:, None] + half + offsets[None, :]] * kernel).sum(axis=1)
    return _to_pcm16(result)
