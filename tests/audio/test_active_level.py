"""The level of speech, its pauses left out."""

from __future__ import annotations

import pytest

from tests.audio.test_levels import sine
from trio_voice.audio.active_level import active_level_dbfs
from trio_voice.audio.levels import SILENCE_DBFS, rms_dbfs


def test_the_active_level_leaves_pauses_out() -> None:
    talk = sine(1000, -20.0, 8000)
    assert active_level_dbfs(talk) == pytest.approx(-20.0, abs=0.01)
    assert active_level_dbfs(talk + bytes(16000 * 9)) == pytest.approx(-20.0, abs=0.01)
    assert active_level_dbfs(talk + sine(300, -50.0, 80000)) == pytest.approx(-20.0, abs=0.01)
    assert rms_dbfs(talk + bytes(16000 * 9)) == pytest.approx(-30.0, abs=0.01)


def test_the_active_level_at_another_rate() -> None:
    assert active_level_dbfs(sine(1000, -12.0, 24000, 24000) + bytes(48000), 24000) == pytest.approx(-12.0, abs=0.01)


@pytest.mark.parametrize("recording", [b"", bytes(100), bytes(16000)])
def test_nothing_has_no_active_level(recording: bytes) -> None:
    assert active_level_dbfs(recording) == SILENCE_DBFS
