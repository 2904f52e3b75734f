from __future__ import annotations

from tests.realtime_server.wire import caller_ulaw
from trio_voice.audio import g711
from trio_voice.realtime_server.hearing import Hearing, HearingSettings, SpeechBegan, SpeechEnded
from trio_voice.realtime_server.level_judge import LevelJudge


def test_loud_is_voiced_and_the_threshold_raises_it() -> None:
    judge = LevelJudge()
    loud, quiet = bytes([0, 8]) * 160, bytes(320)  # -24 dBFS, and nothing
    assert judge.is_voiced(loud, 0.5)
    assert not judge.is_voiced(quiet, 0.5)
    assert judge.is_voiced(bytes([0, 2]) * 160, 0.0)  # -36 dBFS
    assert not judge.is_voiced(bytes([0, 2]) * 160, 1.0)


def test_it_finds_a_clean_callers_turn() -> None:
    hearing = Hearing(HearingSettings(), judge=LevelJudge())
    audio = g711.ulaw_silence(1000) + caller_ulaw() + g711.ulaw_silence(1000)
    events = hearing.hear(g711.ulaw_to_pcm16(audio))
    assert [type(event) for event in events] == [SpeechBegan, SpeechEnded]
