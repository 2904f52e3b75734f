"""A call that is longer than a session may be: nobody notices."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.server.embedded import embedded_server
from tests.server.rig import QUIET, assert_complete, journals, rig
from trio_voice.agent.agent import Agent
from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.core.settings import CallSettings
from trio_voice.phone.synthetic import synthetic_speech
from trio_voice.realtime_server.script import parse_script

SCRIPT = """
[[heard]]
transcript = "words of the caller"
[[rule]]
when = { about = "nothing" }
say = "Hello."
[[rule]]
say = "I hear you."
"""
SPEECH = pcm16_to_ulaw(synthetic_speech(1, 1.5))


@pytest.mark.prove
async def test_r26_a_call_of_seventy_minutes_crosses_the_limit_of_a_session_unnoticed(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    await live_long(tmp_path, minutes=70, renewed_after_s=3300.0, longest_session_s=3600.0)


async def test_r26_a_call_crosses_the_limit_of_a_session_unnoticed(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    await live_long(tmp_path, minutes=10, renewed_after_s=420.0, longest_session_s=480.0)


async def live_long(folder: Path, minutes: int, renewed_after_s: float, longest_session_s: float) -> None:
    """The caller says something every five minutes; the line's noise comes in frames of a second, or this would take minutes."""
    settings = CallSettings(idle_s=0, longest_call_s=7200, session_age_limit_s=renewed_after_s)
    options: dict[str, Any] = {"transcription_model": "gpt-4o-mini-transcribe", "comfort": b"\x30" * 1600}
    async with (
        embedded_server(parse_script(SCRIPT, "test")) as server,
        rig(folder, settings=settings, agent=Agent(voice="marin"), model=server.handle, **options) as world,
        world.call() as phone,
    ):
        server.switch(longest_session_s=longest_session_s)
        heard = []
        for _ in range(minutes // 5):
            for _ in range(296):
                await phone.socket.send(phone.carrier.speak(QUIET * 50))
                await trio.sleep(1)
            await phone.speak(SPEECH)
            await phone.say(125)
            heard.append(len(phone.heard))
        await phone.hang_up()
        await phone.end()
        assert server.connections == 2
    (path,) = journals(folder)
    assert_complete(path)
    answers = {later - earlier for earlier, later in pairwise(heard)}
    assert len(answers) == 1  # each turn was answered, with the same words
    journal = world.journal()
    assert [line["purpose"] for line in journal if line.get("command") == "CreateResponse"] == [
        "greeting",
        *["turn"] * (minutes // 5),
    ]
    assert [line.get("event") for line in journal if line.get("event") in ("SessionLost", "ModelErred")] == []
    (taken_over,) = [line["t"] for line in journal if line.get("command") == "CloseSession"]
    assert renewed_after_s <= taken_over < renewed_after_s + 1
    seeded = [line["text"] for line in journal if line.get("command") == "AddText"]
    assert seeded == ["Hello.", *["words of the caller", "I hear you."] * int(renewed_after_s / 300)]
    assert "comfort" not in {line.get("response_id") for line in journal}
