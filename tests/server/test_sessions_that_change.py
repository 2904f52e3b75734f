"""Sessions that are lost, renewed, given another voice or another agent: the whole shell against the embedded server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.server.embedded import Embedded, embedded_server
from tests.server.rig import Rig, Telephone, assert_complete, journals, rig
from trio_voice.agent.agent import Agent
from trio_voice.agent.context import CallContext
from trio_voice.agent.tool import tool
from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.core.settings import CallSettings
from trio_voice.phone.synthetic import synthetic_speech
from trio_voice.realtime_server.script import parse_script

SCRIPT = """
[[heard]]
transcript = "words of the caller"
[[rule]]
when = { instructions = "Say exactly|Say only" }
say = "One two three."
[[rule]]
when = { tool = "bill", about = "function_output", function = "bill" }
say = "You owe nothing."
[[rule]]
when = { tool = "bill", note = "handed this call over" }
parts = [{ call = "bill" }]
[[rule]]
when = { about = "function_output" }
say = "Done."
[[rule]]
when = { about = "nothing", response = 1 }
say = "Hello."
[[rule]]
when = { about = "speech", turn = 1, tool = "transfer" }
parts = [{ say = "One moment." }, { call = "transfer" }]
[[rule]]
when = { about = "speech", turn = 1, tool = "assess" }
parts = [{ say = "One moment." }, { call = "assess" }]
[[rule]]
when = { about = "speech", turn = 1, tool = "cedar" }
parts = [{ call = "cedar" }]
[[rule]]
say = "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve."
"""
SPEECH = pcm16_to_ulaw(synthetic_speech(1, 1.5))


@tool
async def bill() -> str:
    """Look up the bill."""
    return "nothing is owed"


BILLING = Agent(name="billing", instructions="Bill.", voice="cedar", tools=[bill])


@tool
async def transfer(call: CallContext) -> str:
    """Hand over."""
    call.data["asked"] = "a bill"
    call.hand_off(BILLING)
    return "your colleague takes over"


@tool
async def cedar(call: CallContext, voice: str = "cedar") -> str:
    """Speak with another voice."""
    change = call.switch_voice(voice)
    made = await change.wait()
    call.journal(f"the voice was {'changed' if made else f'not changed: {change.failure}'}")
    return "changed" if made else "not changed"


@tool
async def assess(call: CallContext) -> str:
    """Assess the caller."""
    call.start_job(assessment)
    return "it takes a while"


async def assessment(call: CallContext) -> None:
    async with call.keepalive("I am still thinking."):
        await trio.sleep(8)
    call.switch_voice("cedar")
    call.say(f"I heard {len([role for role, _ in call.conversation() if role == 'user'])} turns.")


def front(*tools: Any) -> Agent:
    return Agent(name="front", instructions="Front.", voice="marin", tools=tools)


@asynccontextmanager
async def a_call(folder: Path, agent: Agent, **settings: Any) -> AsyncIterator[tuple[Rig, Embedded, Telephone]]:
    """A call that has been greeted; it is hung up after the block, and its journal is looked at."""
    options: dict[str, Any] = {"transcription_model": "gpt-4o-mini-transcribe", "comfort": b"\x30" * 1600}
    async with (
        embedded_server(parse_script(SCRIPT, "test")) as server,
        rig(folder, settings=CallSettings(**settings), model=server.handle, agent=agent, **options) as world,
        world.call() as phone,
    ):
        await phone.say(150)
        yield world, server, phone
        await phone.hang_up()
        await phone.end()
    assert_complete(*journals(folder))


def commands(world: Rig, *kinds: str) -> list[dict[str, Any]]:
    return [line for line in world.journal() if line.get("command") in kinds]


def purposes(world: Rig) -> list[str]:
    return [f"{line['session']} {line['purpose']}" for line in commands(world, "CreateResponse")]


def seeds(world: Rig, session: int) -> list[tuple[str, str]]:
    return [(line["role"], line["text"]) for line in commands(world, "AddText") if line["session"] == session]


async def test_r32_a_tool_hands_the_call_over_to_another_agent(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with a_call(tmp_path, front(transfer)) as (world, server, phone):
        await phone.speak(SPEECH)
        await phone.say(400)
        (session,) = server.server.sessions.values()
        assert session.session.object["audio"]["output"]["voice"] == "cedar"
        assert session.session.object["instructions"] == "Bill."
        assert [each["name"] for each in session.session.object["tools"]] == ["hang_up", "bill"]
    assert purposes(world) == ["1 greeting", "1 turn", "2 hand_off", "2 tool_result"]
    note = "front has handed this call over to you, billing. Say so to the caller in one short sentence and go on."
    assert seeds(world, 2) == [
        ("assistant", "Hello."),
        ("user", "words of the caller"),
        ("assistant", "One moment."),
        ("system", "Result of transfer: your colleague takes over"),
        ("system", note),
    ]
    assert [line["name"] for line in commands(world, "RunTool")] == ["transfer", "bill"]
    assert errors(world) == []


def errors(world: Rig) -> list[str]:
    return [line["message"] for line in world.journal() if line.get("event") == "ModelErred"]


async def test_r30_another_voice_is_heard_from_the_next_reply_on(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with a_call(tmp_path, front(cedar)) as (world, server, phone):
        await phone.speak(SPEECH)
        await phone.say(200)
        (session,) = server.server.sessions.values()
        assert session.session.object["audio"]["output"]["voice"] == "cedar"
    assert "# the voice was changed" in world.said()
    assert purposes(world) == ["1 greeting", "1 turn", "2 tool_result"]
    assert seeds(world, 2)[:2] == [("assistant", "Hello."), ("user", "words of the caller")]
    assert errors(world) == []


async def test_r32_an_agent_with_the_same_voice_takes_over_in_the_same_session(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    @tool(name="transfer")
    async def stay(call: CallContext) -> str:
        """Hand over."""
        call.hand_off(Agent(name="billing", instructions="Bill.", tools=[bill]))
        return "your colleague takes over"

    async with a_call(tmp_path, front(stay)) as (world, server, phone):
        await phone.speak(SPEECH)
        await phone.say(400)
        (session,) = server.server.sessions.values()
        assert session.session.object["audio"]["output"]["voice"] == "marin"
        assert session.session.object["instructions"] == "Bill."
    assert purposes(world) == ["1 greeting", "1 turn", "1 hand_off", "1 tool_result"]
    assert [line["change"] for line in commands(world, "UpdateSession", "ReportChange")] == [1, 1]
    assert [line["name"] for line in commands(world, "RunTool")] == ["transfer", "bill"]
    assert errors(world) == []


async def test_r30_a_voice_that_the_model_refuses_leaves_the_old_one_speaking(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with a_call(tmp_path, front(cedar)) as (world, server, phone):
        server.switch(reject_updates=1)
        await phone.speak(SPEECH)
        await phone.say(200)
        (session,) = server.server.sessions.values()
        assert session.session.object["audio"]["output"]["voice"] == "marin"
    (told,) = [each for each in world.said() if each.startswith("# the voice was not changed: the model refused our settings")]
    assert told
    assert purposes(world) == ["1 greeting", "1 turn", "1 tool_result"]


async def test_r31_an_assessment_runs_beside_the_call_and_its_summary_is_said_in_another_voice(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with a_call(tmp_path, front(assess)) as (world, _server, phone):
        await phone.speak(SPEECH)
        await phone.say(850)
    assert purposes(world) == ["1 greeting", "1 turn", "1 tool_result", "1 filler", "1 filler", "2 injected_text"]
    summary = commands(world, "CreateResponse")[-1]["instructions"]
    assert summary == 'Say exactly this to the caller, and nothing else: "I heard 1 turns."'
    assert {"> JobStarted", "> JobEnded", "# job assessment ended"} <= set(world.said())
    assert errors(world) == []


async def test_r26_a_model_that_is_killed_for_two_seconds_in_a_reply_leaves_the_call_alive_and_answering(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with a_call(tmp_path, front()) as (world, server, phone):
        await phone.speak(SPEECH)
        await phone.say(70)
        server.kill()
        await phone.say(100)
        server.dead = False
        await phone.say(250)
        heard = len(phone.heard)
        await phone.speak(SPEECH)
        await phone.say(150)
        assert len(phone.heard) > heard + 4000
    losses = [line for line in world.journal() if line.get("event") == "SessionLost"]
    assert len(losses) > 1
    last = world.journal()[-1]
    assert last["reason"] == "the carrier sent stop"
    assert commands(world, "HangUp") == []


async def test_r26_a_caller_who_waits_for_a_model_hears_that_the_line_lives(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with a_call(tmp_path, front()) as (world, server, phone):
        await phone.say(50)
        server.kill()
        lost = trio.current_time()
        await phone.say(74)
        before = len(phone.heard)
        await phone.say(100)
        assert len(phone.heard) == before + 2 * 1600
        server.dead = False
        await phone.say(100)
    began = [line["t"] for line in commands(world, "PlayAudio") if line["response_id"] == "comfort"]
    assert began[0] == pytest.approx(lost + 1.5, abs=0.001)
    assert [later - earlier for earlier, later in pairwise(began)] == [pytest.approx(1.7)] * (len(began) - 1)


async def test_r32_an_operator_hands_the_call_over_to_another_agent(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with a_call(tmp_path, front()) as (world, server, phone):
        (call,) = world.directory
        assert call.hand_off(BILLING)
        await phone.say(400)
        (session,) = server.server.sessions.values()
        assert session.session.object["instructions"] == "Bill."
    assert purposes(world)[:2] == ["1 greeting", "2 hand_off"]
