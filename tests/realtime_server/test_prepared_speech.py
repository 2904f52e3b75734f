from __future__ import annotations

import pytest

from trio_voice.audio.levels import rms_dbfs
from trio_voice.realtime_server.audio_formats import PCM, PCMA, PCMU, AudioFormat, to_hearing
from trio_voice.realtime_server.prepared_speech import LONGEST_MS, PreparedSpeech


@pytest.mark.parametrize("target", [PCM, PCMU, PCMA])
def test_a_text_gets_as_much_as_it_would_take_to_say(target: AudioFormat) -> None:
    speech = PreparedSpeech()
    audio = speech.audio("x" * 40, target)
    assert len(audio) == 2600 * target.bytes_per_ms
    assert -30 < rms_dbfs(to_hearing(target).convert(audio)) < -10
    assert len(speech.audio("", target)) == 50 * target.bytes_per_ms
    assert len(speech.audio("x" * 10_000, target)) == LONGEST_MS * target.bytes_per_ms
