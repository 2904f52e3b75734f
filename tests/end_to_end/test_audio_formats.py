"""Calls with a model that speaks mu-law, A-law or PCM: the caller hears the same, and what was heard is known as exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.end_to_end.world import named, sentence, world
from trio_voice.audio.g711 import ulaw_to_pcm16
from trio_voice.audio.levels import active_level_dbfs
from trio_voice.phone.carrier import Happening
from trio_voice.phone.scenario import AfterAgent, DuringAgent, HangUp, Say, Step
from trio_voice.realtime.settings import AudioFormat


@pytest.fixture
def fast_clock() -> MockClock:
    return MockClock(rate=4.0)


@pytest.mark.parametrize("audio_format", list(AudioFormat))
async def test_a_conversation_with_a_barge_in_in_each_audio_format(
    audio_format: AudioFormat, fast_clock: MockClock, tmp_path: Path
) -> None:
    steps: list[Step] = [Say(sentence()), Say(sentence(), DuringAgent(2.0)), HangUp(AfterAgent())]
    async with world(tmp_path, audio_format=audio_format) as everything:
        call, _ = await everything.call(steps)
        lines = everything.journal()
    assert [line["purpose"] for line in named(lines, "CreateResponse")] == ["greeting", "turn", "turn"]
    assert len(named(lines, "TurnCommitted")) == 2  # the caller is heard
    assert not named(lines, "ModelErred")  # the model took the truncation, and every append
    assert call.carrier.warnings == []

    level_dbfs = active_level_dbfs(ulaw_to_pcm16(bytes(call.carrier.heard)))
    assert -30 < level_dbfs < -12  # speech, not noise at full scale and not silence

    (clear,) = named(lines, "ClearPlayback")
    (truncate,) = named(lines, "TruncateItem")
    assert truncate["t"] == clear["t"]
    (cleared,) = [event.at_s for event in call.carrier.events if event.what is Happening.CLEARED]
    began = [event.at_s for event in call.carrier.events if event.what is Happening.AGENT_HEARD and event.at_s < cleared][-1]
    assert abs(truncate["heard_ms"] - (cleared - began) * 1000) <= 40
    assert len(named(lines, "ItemTruncated")) == 1  # the model has as much of the item
