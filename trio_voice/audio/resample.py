"""Streaming conversion between the telephone's 8000 Hz and the rates of models and voices, signed 16-bit PCM.

Between 8000 Hz and 24000 or 16000 Hz: a polyphase FIR of 16 taps a phase on numpy. Even output (160 samples in, exactly 480 out,
and back), 1 ms of delay, -1.3 dB at 3400 Hz, aliases of 5000 Hz and more below -50 dB. Block resamplers such as soxr's stream
give bursts (nothing, nothing, 1468 bytes), which a telephone hears as jitter; linear ones alias. `Resampler` is for any other
pair of rates, `resample_pcm16` for recordings.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from attrs import define, field

FACTOR = 3
_PHASE_TAPS = 16
_TAPS = FACTOR * _PHASE_TAPS
_CUTOFF_HZ = 3800

Samples = npt.NDArray[np.float64]


def _lowpass(factor: int) -> Samples:
    """Return the filter of `factor` times 8000 Hz; its taps add up to 1."""
    taps = factor * _PHASE_TAPS
    n = np.arange(taps) - (taps - 1) / 2
    cutoff = _CUTOFF_HZ / (8000 * factor)
    fir = 2 * cutoff * np.sinc(2 * cutoff * n) * np.kaiser(taps, 5.0)
    return np.asarray(fir / fir.sum(), dtype=np.float64)


def _phases(factor: int) -> Samples:
    """Return the filter as (taps a phase, phases); each phase passes a constant (almost) unchanged."""
    return np.stack([_lowpass(factor)[phase::factor] * factor for phase in range(factor)], axis=1)[::-1]


_FIR = _lowpass(FACTOR)


def _to_pcm16(samples: Samples) -> bytes:
    return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()


@define
class _Upsampler:
    """State is kept between calls, so that frames join without a click."""

    _PHASES: ClassVar[Samples]
    _tail: Samples = field(factory=lambda: np.zeros(_PHASE_TAPS - 1), init=False)

    def convert(self, pcm16: bytes) -> bytes:
        """Return exactly two or three times the samples that went in."""
        joined = np.concatenate([self._tail, np.frombuffer(pcm16, "<i2").astype(np.float64)])
        self._tail = joined[len(joined) - (_PHASE_TAPS - 1) :]
        windows = np.lib.stride_tricks.sliding_window_view(joined, _PHASE_TAPS) if pcm16 else np.zeros((0, _PHASE_TAPS))
        return _to_pcm16((windows @ self._PHASES).reshape(-1))


@define
class Upsampler8To24(_Upsampler):
    """8000 Hz in, 24000 Hz out: exactly three times the samples."""

    _PHASES: ClassVar[Samples] = _phases(FACTOR)


@define
class Upsampler8To16(_Upsampler):
    """8000 Hz in, 16000 Hz out: exactly twice the samples."""

    _PHASES: ClassVar[Samples] = _phases(2)


@define
class Downsampler24To8:
    """24000 Hz in, 8000 Hz out; keeps up to two samples back until a whole output sample is there."""

    _tail: Samples = field(factory=lambda: np.zeros(_TAPS - FACTOR), init=False)

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


@define
class Resampler:
    """Any rate in, any rate out, as a stream: a windowed sinc over 16 zero crossings either side, in exact fractions.

    It keeps about 16 samples of the lower rate back (`flush` gives them), which is 2 ms at 8000 Hz: for recordings and local
    voices; a call's own audio goes through the two above.
    """

    from_hz: int
    to_hz: int
    _up: int = field(init=False)
    _down: int = field(init=False)
    _half: int = field(init=False)
    _kernel: Samples = field(init=False)  # (phases, taps)
    _held: Samples = field(init=False)  # input from sample `_held_from` on
    _held_from: int = field(init=False)
    _given: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        common = math.gcd(self.from_hz, self.to_hz)
        self._up, self._down = self.to_hz // common, self.from_hz // common
        self._kernel = _sinc_kernel(self._up, self._down)
        self._half = self._kernel.shape[1] // 2
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._held = np.zeros(self._half - 1)
        self._held_from = 1 - self._half
        self._given = 0

    def convert(self, pcm16: bytes) -> bytes:
        """Take samples in and return those that are settled by now."""
        self._held = np.concatenate([self._held, np.frombuffer(pcm16, "<i2").astype(np.float64)])
        settled = self._held_from + len(self._held) - self._half  # inputs up to here (excluded) have all their neighbours
        end = max(self._given, -(-settled * self._up // self._down))
        at = np.arange(self._given, end) * self._down
        first = at // self._up - self._half + 1 - self._held_from
        windows = self._held[first[:, None] + np.arange(2 * self._half)[None, :]]
        converted = _to_pcm16(np.einsum("ij,ij->i", windows, self._kernel[at % self._up]))
        self._given = end
        done = min(len(self._held), max(0, end * self._down // self._up - self._half + 1 - self._held_from))
        self._held = self._held[done:]
        self._held_from += done
        return converted

    def flush(self) -> bytes:
        """Return what is left of the stream, and be ready for the next one."""
        rest = self.convert(bytes(2 * self._half))
        self._start_afresh()
        return rest


@lru_cache(maxsize=32)
def _sinc_kernel(up: int, down: int) -> Samples:
    """One row of taps for each of the `up` positions between two input samples; each row passes a constant unchanged."""
    scale = min(1.0, up / down) * 0.95
    half = math.ceil(16 / scale)
    distance = np.arange(up)[:, None] / up - np.arange(-half + 1, half + 1)[None, :]
    kernel = np.sinc(scale * distance) * np.cos(np.pi * distance / (2 * half)).clip(0) ** 2
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True), dtype=np.float64)


def resample_pcm16(pcm16: bytes, from_hz: int, to_hz: int) -> bytes:
    """Convert a whole recording between any two rates; the length is that of the recording, rounded down to a sample."""
    if from_hz == to_hz:
        return pcm16
    resampler = Resampler(from_hz, to_hz)
    block = 2 * max(1, from_hz)  # a second at a time, so that a long recording needs little memory
    parts = [resampler.convert(pcm16[begin : begin + block]) for begin in range(0, len(pcm16), block)]
    whole = b"".join(parts) + resampler.flush()
    return whole[: len(pcm16) // 2 * to_hz // from_hz * 2]
