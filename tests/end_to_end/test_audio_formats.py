"""Calls with a model that speaks mu-law, A-law or PCM: the caller hears the same, and what was heard is known as exactly."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.end_to_end.world import heard_of_the_cut_item_ms, named, sentence, world
from trio_voice.audio.active_level import active_level_dbfs
from trio_voice.audio.g711 import ULAW_SILENCE, ulaw_to_pcm16
from trio_voice.audio.resample import Downsampler24To8
from trio_voice.phone.carrier import Happening
from trio_voice.phone.scenario import AfterAgent, DuringAgent, HangUp, Say, Step
from trio_voice.phone.voice import Speech, prepare_speech
from trio_voice.realtime.settings import AudioFormat
from trio_voice.realtime_server.recogniser import recognising
from trio_voice.realtime_server.voice import VoicePool

ASKED, GREETING, ANSWER = "What are your opening hours?", "I would like a table for two.", "No, thank you."
SCRIPT = f"""
name = "heard and understood"
phrases = ["{ASKED}", "{GREETING}", "{ANSWER}"]
[[rule]]
when = {{ about = "nothing" }}
say = "{GREETING}"
[[rule]]
when = {{ text = "opening hours" }}
say = "{ANSWER}"
[[rule]]
say = "Hello."
"""
needs_recogniser = pytest.mark.skipif(find_spec("pocketsphinx") is None, reason="the extra [recogniser] is not installed")


@pytest.fixture
def fast_clock() -> MockClock:
    return MockClock(rate=4.0)


@pytest.mark.parametrize("audio_format", [AudioFormat.PCMA, AudioFormat.PCM])  # mu-law's is in test_calls.py
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
    believed_ms, heard_ms = heard_of_the_cut_item_ms(lines, call)
    assert truncate["heard_ms"] == believed_ms <= heard_ms
    assert len(named(lines, "ItemTruncated")) == 1  # the model has as much of the item


async def spoken_by_a_caller(text: str) -> Speech:
    """A caller who says this, in the best voice of this machine."""
    audio = bytearray()
    async with VoicePool() as voice:
        if voice.engine != "flite":
            pytest.skip("the phrases want an intelligible voice: apt install flite")
        async with voice.speech(text, voice="cedar") as pieces:
            async for piece in pieces:
                audio += piece
    return prepare_speech(Downsampler24To8().convert(bytes(audio)), text)


@needs_recogniser
@pytest.mark.parametrize("audio_format", list(AudioFormat))
async def test_both_sides_are_understood_word_for_word_in_each_audio_format(
    audio_format: AudioFormat, fast_clock: MockClock, tmp_path: Path
) -> None:
    """The model's recogniser hears the caller's words, and a recogniser at the caller's ear the model's."""
    with trio.fail_after(240):
        steps: list[Step] = [Say(await spoken_by_a_caller(ASKED), AfterAgent()), HangUp(AfterAgent())]
        async with world(tmp_path, audio_format=audio_format, script=SCRIPT) as everything:
            call, _ = await everything.call(steps)
        spoken_at = [event.at_s for event in call.carrier.events if event.what is Happening.CALLER_SPEAKS]
        border = round(spoken_at[0] * 8000)
        heard = bytes(call.carrier.heard)
        async with recognising([ASKED, GREETING, ANSWER, "Hello."]) as recogniser:
            for said, part in ((GREETING, heard[:border]), (ANSWER, heard[border:])):
                assert await recogniser.recognise(ulaw_to_pcm16(part.strip(bytes([ULAW_SILENCE])))) == said
