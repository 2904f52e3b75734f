"""Every voice equally loud, and none ever clipped."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from attrs import define, field

from trio_voice.audio.active_level import active_level_dbfs

ACTIVE_LEVEL_DBFS = -20.0
_KNEE = 0.6 * 32768
_ROOM = 0.38 * 32768  # the knee and this stay 2 % below full scale


@define
class Leveller:
    """A fixed gain, measured once on a sample of the voice, then a soft limit for its peaks.

    One gain for all sentences: levelling each by itself would make a single word as loud as a speech.
    """

    _gain: float = field(default=1.0, init=False)

    def learn(self, sample: bytes, rate_hz: int) -> None:
        """Set the gain from some seconds of the voice's own signed 16-bit PCM."""
        self._gain = float(10 ** ((ACTIVE_LEVEL_DBFS - active_level_dbfs(sample, rate_hz)) / 20))

    def level(self, pcm16: bytes) -> bytes:
        """Return the audio (signed 16-bit PCM) at the right level."""
        samples = np.frombuffer(pcm16, "<i2") * self._gain
        loud = np.abs(samples) > _KNEE
        if loud.any():
            samples[loud] = _limited(samples[loud])
        return np.rint(samples).astype("<i2").tobytes()


def _limited(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.sign(samples) * (_KNEE + _ROOM * np.tanh((np.abs(samples) - _KNEE) / _ROOM))
