"""How loud speech is where there is any. Apart from `levels`, because it wants numpy, which a call on G.711 does without."""

from __future__ import annotations

import math

import numpy as np

from trio_voice.audio.levels import SILENCE_DBFS

_FULL_SCALE = 32768.0


def active_level_dbfs(pcm16: bytes, rate_hz: int = 8000) -> float:
    """Level of the speech in a recording, its pauses left out; `SILENCE_DBFS` when there is none.

    The mean power of those 20 ms frames that are at most 15.9 dB below it (the margin of ITU-T P.56), found by iteration.
    """
    frame_samples = rate_hz // 50
    samples = np.frombuffer(pcm16, "<i2").astype(np.float64) / _FULL_SCALE
    whole = len(samples) // frame_samples * frame_samples
    powers = np.square(samples[:whole]).reshape(-1, frame_samples).mean(axis=1)
    active = float(powers.mean()) if len(powers) else 0.0
    for _ in range(8):
        if active <= 0.0:
            return SILENCE_DBFS
        active = float(powers[powers >= active * 10**-1.59].mean())
    return max(SILENCE_DBFS, 10.0 * math.log10(active))
