"""How loud a frame is, in dBFS (0 dBFS: a full-scale square wave; digital silence: `SILENCE_DBFS`).

Two measures. `rms_dbfs` is the plain level, one call into C. `band_level_dbfs` looks only above 250 Hz, because mains hum
would otherwise pass for speech. It is taken of every second frame of every caller, between two sleeps of the processor: it must
need little memory, and not only little time. So there is no FFT. The power above is the power of the frame less that of its slow
part, and what is slow in 20 ms is spanned by eleven waves: the constant, and the sine and cosine of 40, 80, ... 200 Hz. Made
orthogonal to each other, each takes one scalar product, which `audioop` does in C. 4 us, with 4 KB of waves. A numpy product
takes 3 us in a loop, and more than these 4 where its code and its matrix are not in the cache.

What is left of a hum, in dB, at the worst phase: 50 Hz -41, 60 Hz -38, 100 Hz -35, 120 Hz nothing, 150 Hz -33, 180 Hz -24, 200 Hz
nothing, 240 Hz -3. From 260 Hz on the measure is flat within 0.8 dB.
"""

from __future__ import annotations

import math
import warnings
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from trio_voice.audio.g711 import ulaw_to_pcm16

with warnings.catch_warnings():  # see audio/g711.py
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

SILENCE_DBFS = -100.0
_FULL_SCALE = 32768.0
_FRAME_SAMPLES = 160
_SLOW_HZ = (40, 80, 120, 160, 200)


def _orthogonal(waves: Sequence[Sequence[float]]) -> Iterator[list[float]]:
    """What is new in each wave beside those before it, with a length of one."""
    done: list[list[float]] = []
    for wave in waves:
        rest = list(wave)
        for other in done:
            share = math.fsum(a * b for a, b in zip(rest, other, strict=True))
            rest = [a - share * b for a, b in zip(rest, other, strict=True)]
        length = math.sqrt(math.fsum(a * a for a in rest))
        done.append([a / length for a in rest])
        yield done[-1]


def _slow_waves() -> Iterator[tuple[bytes, float]]:
    """Each as signed 16-bit samples, with the sum of their squares."""
    middle = (_FRAME_SAMPLES - 1) / 2
    turns = [[2 * math.pi * hz * (at - middle) / 8000 for at in range(_FRAME_SAMPLES)] for hz in _SLOW_HZ]
    even = _orthogonal([[1.0] * _FRAME_SAMPLES, *([math.cos(turn) for turn in each] for each in turns)])
    odd = _orthogonal([[math.sin(turn) for turn in each] for each in turns])
    for wave in (*even, *odd):
        scale = 32767 / max(map(abs, wave))
        samples = array("h", (round(sample * scale) for sample in wave))
        yield samples.tobytes(), float(sum(sample * sample for sample in samples))


_SLOW_WAVES = tuple(_slow_waves())


def python_energy_above(pcm16: bytes, slow_waves: tuple[tuple[bytes, float], ...], /) -> float:
    """Energy of one frame of 160 samples less that of its slow part; it may be a little less than nothing."""
    scalar_product = audioop.findfactor  # of the frame and a wave, by the wave's energy
    rms = audioop.rms(audioop.lin2lin(pcm16, 2, 4), 4) / 65536  # it is a whole number: coarse in 16 bits
    energy = rms * rms * _FRAME_SAMPLES
    for wave, wave_energy in slow_waves:
        share = scalar_product(pcm16, wave)
        energy -= share * share * wave_energy
    return energy


def python_ulaw_level_dbfs(slow_waves: tuple[tuple[bytes, float], ...], ulaw: bytes, /) -> float:
    """Level of one frame of 160 bytes of mu-law without its slow part, to a tenth of a dB."""
    return round(_level_dbfs(python_energy_above(ulaw_to_pcm16(ulaw), slow_waves)), 1)


def _level_dbfs(energy: float) -> float:
    return 10.0 * math.log10(max(energy, 0.0) / (_FRAME_SAMPLES * _FULL_SCALE**2) + 1e-10)


try:
    from trio_voice._speedups import energy_above as compiled_energy_above
    from trio_voice._speedups import ulaw_level_dbfs as compiled_ulaw_level_dbfs
except ImportError:  # it was installed where nothing could compile it
    energy_above, ulaw_level_dbfs = python_energy_above, python_ulaw_level_dbfs
else:
    energy_above, ulaw_level_dbfs = compiled_energy_above, compiled_ulaw_level_dbfs

ulaw_frame_level_dbfs: Callable[[bytes], float] = partial(ulaw_level_dbfs, _SLOW_WAVES)
"""`band_level_dbfs` of one 20 ms frame of mu-law (exactly 160 bytes), to a tenth of a dB."""


def rms_dbfs(pcm16: bytes) -> float:
    """Level of signed 16-bit PCM, any length; `SILENCE_DBFS` for nothing or digital silence."""
    rms = audioop.rms(pcm16, 2)
    return 20.0 * math.log10(rms / _FULL_SCALE) if rms else SILENCE_DBFS


def band_level_dbfs(pcm16: bytes) -> float:
    """Level above 250 Hz of one 20 ms frame at 8000 Hz (exactly 320 bytes of signed 16-bit PCM).

    Raises ValueError for any other length.
    """
    if len(pcm16) != 2 * _FRAME_SAMPLES:
        raise ValueError(f"band_level_dbfs wants {_FRAME_SAMPLES} samples, got {len(pcm16) / 2:g}")
    return _level_dbfs(energy_above(pcm16, _SLOW_WAVES))
