"""The openai package's own client holds a voice conversation with the embedded server: the package as the protocol's referee."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trio

from tests.realtime_server.wire import caller_ulaw
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.server import ModelServerSettings, serve_model
from trio_voice.realtime_server.voice import VoiceSettings

PROGRAM = Path(__file__).with_name("openai_conversation.py")
SCRIPT = parse_script(
    """
    switches = { first_transcript_ms = 50, first_audio_ms = 100, cancel_ms = 50, transcription_most_ms = 100 }
    [[rule]]
    when = { instructions = "long story" }
    say = "Once upon a time there was a telephone, and whoever called it heard a story that did not end for a long time."
    switches = { pace = 1 }
    [[rule]]
    when = { about = "nothing" }
    say = "Good morning."
    [[rule]]
    when = { about = "function_output" }
    say = "We have {output}."
    [[rule]]
    when = { about = "speech", turn = 1 }
    parts = [{ say = "One moment.", phase = "commentary" }, { call = "free_slots", arguments = { day = "Tuesday" } }]
    """,
    "test",
)


async def test_the_official_client_holds_a_conversation(tmp_path: Path) -> None:
    audio = tmp_path / "caller.ulaw"
    audio.write_bytes(caller_ulaw())
    settings = ModelServerSettings(script=SCRIPT, api_key="sk-test", voice=VoiceSettings(engine="tones"))
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve_model, settings)
        with trio.fail_after(30):
            ended = await trio.run_process(
                [sys.executable, str(PROGRAM), url, str(audio)],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        nursery.cancel_scope.cancel()
    assert ended.returncode == 0, ended.stderr.decode()
    seen = json.loads(ended.stdout)
    types = seen.pop("types")
    assert seen.pop("audio_ms") > 1000
    assert seen == {
        "model": "gpt-realtime-2.1",
        "voice": "cedar",
        "greeting": ["completed", "Good morning.", {"which": "greeting"}],
        "call": ["free_slots", {"day": "Tuesday"}],
        "answer": "We have ten and noon.",
        "interrupted": ["cancelled", "turn_detected"],
        "truncated_ms": 100,
        "refused": "Audio content of 100ms is already shorter than 200ms",
        "cancel": "response_cancel_not_active",
    }
    assert "conversation.created" not in types  # what the client makes of an event type that it does not know
    assert "conversation.item.input_audio_transcription.completed" in types
