"""One loudness for all voices, and no clipping."""

from __future__ import annotations

import numpy as np
import pytest

from trio_voice.audio.active_level import active_level_dbfs
from trio_voice.realtime_server.voice_level import ACTIVE_LEVEL_DBFS, Leveller


def tone(dbfs: float, samples: int = 24000) -> bytes:
    amplitude = 32768 * np.sqrt(2) * 10 ** (dbfs / 20)
    return bytes(np.rint(amplitude * np.sin(2 * np.pi * 440 * np.arange(samples) / 24000)).astype("<i2").tobytes())


@pytest.mark.parametrize("dbfs", [-45.0, -20.0, -5.0])
def test_a_voice_is_brought_to_the_level(dbfs: float) -> None:
    leveller = Leveller()
    leveller.learn(tone(dbfs) + bytes(48000), 24000)
    assert active_level_dbfs(leveller.level(tone(dbfs)), 24000) == pytest.approx(ACTIVE_LEVEL_DBFS, abs=0.1)


def test_the_gain_is_the_voice_s_not_the_sentence_s() -> None:
    leveller = Leveller()
    leveller.learn(tone(-30.0), 24000)
    assert active_level_dbfs(leveller.level(tone(-40.0)), 24000) == pytest.approx(-30.0, abs=0.1)


def test_peaks_are_rounded_off_below_full_scale_and_the_rest_is_untouched() -> None:
    leveller = Leveller()
    leveller.learn(tone(-40.0), 24000)  # a gain of 20 dB
    loud = np.frombuffer(leveller.level(np.array([32767, -32768, 100, -100, 1900, 2500], "<i2").tobytes()), "<i2").tolist()
    assert 32000 < loud[0] < 32767
    assert -32768 < loud[1] < -32000
    assert loud[2:5] == pytest.approx([1000, -1000, 19000], rel=0.005)
    assert 19660 < loud[5] < 25000


def test_silence_stays_silent() -> None:
    leveller = Leveller()
    leveller.learn(bytes(48000), 24000)
    assert leveller.level(bytes(100)) == bytes(100)
    assert leveller.level(b"") == b""
