"""A voice detector is the judge of whether the synthetic caller speaks."""

from __future__ import annotations

import pytest
import webrtcvad

from trio_voice.audio.g711 import ulaw_to_pcm16
from trio_voice.phone.synthetic import synthetic_speech
from trio_voice.phone.voice import ACTIVE_LEVEL_DBFS, frame_levels_dbfs, prepare_speech


@pytest.mark.parametrize("seed", range(6))
def test_a_strict_voice_detector_takes_it_for_speech(seed: int) -> None:
    heard = ulaw_to_pcm16(prepare_speech(synthetic_speech(seed, 3.0)).ulaw)
    detector = webrtcvad.Vad(3)
    speech = [detector.is_speech(heard[begin : begin + 320], 8000) for begin in range(0, len(heard), 320)]
    assert len(speech) == 150
    assert sum(speech) > 0.8 * len(speech)
    assert speech[:10].count(True) > 5


def test_it_lasts_as_long_as_asked_and_has_pauses_and_a_telephone_level() -> None:
    import numpy as np

    pcm16 = synthetic_speech(3, 4.2)
    assert len(pcm16) == round(4.2 * 8000) * 2
    levels = frame_levels_dbfs(np.frombuffer(pcm16, "<i2").astype(float))
    assert levels.max() < ACTIVE_LEVEL_DBFS + 10
    assert levels.min() == -100.0


def test_the_same_seed_speaks_the_same() -> None:
    assert synthetic_speech(1, 1.0) == synthetic_speech(1, 1.0)
    assert synthetic_speech(1, 1.0) != synthetic_speech(2, 1.0)
