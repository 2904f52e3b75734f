"""Calls whose agent has tools, through the whole shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.server.rig import VOICE, assert_complete, journals, rig
from trio_voice.agent.agent import Agent
from trio_voice.agent.context import CallContext
from trio_voice.agent.tool import tool


@tool
async def look_up(call: CallContext, day: str) -> str:
    """Look up who comes."""
    call.data.setdefault("days", []).append(day)
    await trio.sleep(2)
    return f"{day}: {len(call.data['days'])} of {call.call_sid[:2]}"


@tool
def book(call: CallContext, day: str) -> dict[str, Any]:
    """Book."""
    call.journal(f"booked {day}")
    call.say("It is booked.")
    return {"booked": day}


@tool(on_barge_in="cancel")
async def browse() -> str:
    """Look for something that nobody may want any more."""
    await trio.sleep(10)
    return "found"


@tool
async def assess(call: CallContext) -> str:
    """Assess the caller, beside the conversation."""
    call.start_job(assessment)
    return "begun"


async def assessment(call: CallContext) -> None:
    await trio.sleep(3)
    call.hang_up("assessed")


AGENT = Agent(tools=[look_up, book, browse, assess])


async def ask_for(model: Any, *calls: tuple[str, str]) -> None:
    """The model answers a turn with speech, then calls tools in the same response."""
    await model.hear()
    await model.expect("response.create")
    await model.begin()
    await model.speak(3000)
    for index, (name, arguments) in enumerate(calls, 1):
        item = {"id": f"f{index}", "type": "function_call", "call_id": f"c{index}", "name": name, "arguments": arguments}
        place = {"response_id": "r1", "output_index": index}
        await model.send(type="response.output_item.done", event_id="e", item=item | {"status": "completed"}, **place)


async def told(model: Any) -> dict[str, Any]:
    message = await model.expect("conversation.item.create")
    item: dict[str, Any] = message["item"]
    return item


def output(call_id: str, text: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


async def test_r35_tools_answer_each_and_then_one_reply_is_asked_for(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with rig(tmp_path, agent=AGENT) as world, world.call() as phone:
        model = await world.session()
        await ask_for(model, ("look_up", '{"day":"Monday"}'), ("look_up", '{"day":"Tuesday"}'), ("nothing", "{}"))
        began = trio.current_time()
        await model.finish()
        assert await told(model) == output("c3", '{"error":"there is no tool nothing"}')
        answers = [await told(model), await told(model)]
        assert trio.current_time() - began == pytest.approx(2.0, abs=1e-6)
        assert sorted(answers, key=str) == [output("c1", "Monday: 2 of CA"), output("c2", "Tuesday: 2 of CA")]
        await model.expect("response.create")
        assert model.kinds().count("response.create") == 2  # the turn's, and one for the three answers
        await phone.hang_up()
        await phone.end()
    assert_complete(*journals(tmp_path))


async def test_r35_a_barge_in_while_tools_run_is_not_kept_waiting(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig(tmp_path, agent=AGENT) as world, world.call() as phone:
        model = await world.session()
        await phone.say(20)  # calibrated
        await ask_for(model, ("look_up", '{"day":"Monday"}'), ("look_up", '{"day":"Tuesday"}'))
        await phone.say(50, VOICE)
        began = trio.current_time()
        await model.send(type="input_audio_buffer.speech_started", event_id="e", item_id="u2", audio_start_ms=1000)
        await phone.expect("clear")
        assert trio.current_time() == began
        await phone.hang_up()
        await phone.end()
    assert_complete(*journals(tmp_path))


async def test_r35_a_barge_in_cancels_the_tools_that_say_so_and_no_others(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with rig(tmp_path, agent=AGENT) as world, world.call() as phone:
        model: Any = await world.session()
        await phone.say(20)  # calibrated
        await ask_for(model, ("look_up", '{"day":"Monday"}'), ("browse", "{}"))
        await phone.say(50, VOICE)
        began = trio.current_time()
        await model.send(type="input_audio_buffer.speech_started", event_id="e", item_id="u2", audio_start_ms=1000)
        assert await told(model) == output("c2", '{"error":"cancelled, because the caller interrupted"}')
        assert trio.current_time() == began
        assert await told(model) == output("c1", "Monday: 1 of CA")
        await phone.hang_up()
        await phone.end()
    assert_complete(*journals(tmp_path))


async def test_r35_a_tool_speaks_writes_and_a_job_ends_the_call(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig(tmp_path, agent=AGENT) as world, world.call() as phone:
        model = await world.session()
        await ask_for(model, ("book", '{"day":"Monday"}'), ("assess", "{}"))
        await model.finish()
        assert sorted([(await told(model))["output"] for _ in range(2)]) == ["begun", '{"booked":"Monday"}']
        assert (await phone.end()).code == 1000
    assert_complete(*journals(tmp_path))
    (ended,) = world.logged("call ended")
    assert ended["reason"] == "assessed"
    assert {"# booked Monday", "# job assessment started", "# job assessment ended", "> TextInjected"} <= set(world.said())


async def test_tools_end_with_their_call(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig(tmp_path, agent=AGENT) as world, world.call() as phone:
        model: Any = await world.session()
        await ask_for(model, ("look_up", '{"day":"Monday"}'), ("assess", "{}"))
        began = trio.current_time()
        await trio.testing.wait_all_tasks_blocked()
        await phone.hang_up()
        await phone.end()
        assert trio.current_time() == began
    assert_complete(*journals(tmp_path))
