"""The recogniser in its process: phrases of a list, spoken by the best voice of this machine."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
import trio

from trio_voice.audio import g711
from trio_voice.audio.resample import Downsampler24To8
from trio_voice.errors import UserError
from trio_voice.realtime_server.recogniser import recognising
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.server import ModelServerSettings, serve_model
from trio_voice.realtime_server.voice import VoicePool

PHRASES = ["I would like a table for two.", "What are your opening hours?", "No, thank you."]
needs_recogniser = pytest.mark.skipif(find_spec("pocketsphinx") is None, reason="the extra [recogniser] is not installed")


async def spoken(voice: VoicePool, text: str) -> bytes:
    """A text as a caller's telephone brings it: 8 kHz PCM16 that was mu-law."""
    audio = bytearray()
    async with voice.speech(text, voice="cedar") as pieces:
        async for piece in pieces:
            audio += piece
    return g711.ulaw_to_pcm16(g711.pcm16_to_ulaw(Downsampler24To8().convert(bytes(audio))))


def children() -> set[int]:
    """The processes that this one has started."""
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


@needs_recogniser
async def test_phrases_are_understood_and_a_lost_process_is_replaced() -> None:
    with trio.fail_after(60):
        async with VoicePool() as voice:
            if voice.engine != "flite":
                pytest.skip("the phrases want an intelligible voice: apt install flite")
            others = children()
            async with recognising(PHRASES) as recogniser:
                for phrase in PHRASES:
                    assert await recogniser.recognise(await spoken(voice, phrase)) == phrase
                assert await recogniser.recognise(b"") == ""
                assert await recogniser.recognise(bytes(16000)) == ""
                (worker,) = children() - others
                os.kill(worker, signal.SIGKILL)
                assert await recogniser.recognise(await spoken(voice, PHRASES[0])) == ""  # the turn it was lost at
                assert await recogniser.recognise(await spoken(voice, PHRASES[1])) == PHRASES[1]
            assert children() == others


@needs_recogniser
async def test_a_word_that_nobody_knows_is_one_clear_sentence() -> None:
    script = parse_script("phrases = ['the xyzzyq please']\n[[rule]]\nsay = 'x'", "test")
    with pytest.raises(UserError, match="does not know the word 'xyzzyq'"), trio.fail_after(30):
        await serve_model(ModelServerSettings(script=script))
