"""Whole calls through the shell: what the caller hears, what the model is told, and what the journal keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define
from trio._core import _run as trio_run

from tests.server.embedded import embedded_model
from tests.server.rig import APOLOGY, QUIET, VOICE, Rig, assert_complete, audio_of, in_short, journals, rig
from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.core.events import CallerAudio, DigitPressed, Event
from trio_voice.core.settings import CallSettings
from trio_voice.phone.synthetic import synthetic_speech
from trio_voice.realtime_server.script import parse_script
from trio_voice.server import answering
from trio_voice.server.call_runner import CallRunner


async def talking(world: Rig, model: Any, ms: int = 2000) -> None:
    """The caller has said something and is being answered, for longer than the test lasts."""
    await model.hear()
    await model.expect("response.create")
    await model.begin()
    await model.speak(ms)
    await trio.testing.wait_all_tasks_blocked()


# --- a call ------------------------------------------------------------------------------------------------------------


async def test_a_turn(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        async with world.call() as phone:
            model = await world.session()
            await phone.say(10, VOICE)
            stopped = trio.current_time()
            await model.hear()
            create = await model.expect("response.create")
            assert trio.current_time() - stopped == pytest.approx(0.15, abs=1e-6)  # turn_end_s
            assert create["response"]["metadata"] == {"request": "1", "purpose": "turn"}
            await model.answer(1000)
            await phone.say(60)
            assert phone.heard == b"\x20" * 8000
            assert phone.carrier.warnings == []
            await phone.hang_up()
            assert (await phone.end()).code == 1000
        appended = [audio_of(each) for each in model.received if each["type"] == "input_audio_buffer.append"]
        assert b"".join(appended) == VOICE * 10 + QUIET * 60
    assert_complete(*journals(tmp_path))
    assert world.said() == [
        "> CallStarted",
        "< OpenSession",
        "> SessionReady",
        "> SpeechStarted",
        "> SpeechStopped",
        "> TurnCommitted",
        "@ turn_end",
        "< CreateResponse",
        "> ResponseCreated",
        "> ItemAdded",
        *["< SendMark"] * 3,
        "> ModelAudioEnded",
        "> ResponseDone",
        *["> PlaybackMarked"] * 3,
        "> CallerHungUp",
        "< Close",
    ]


async def test_a_barge_in_clears_first_and_no_late_audio_is_heard(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig(tmp_path) as world, world.call() as phone:
        model = await world.session()
        await phone.say(20)  # calibrated
        await talking(world, model, 3000)
        await phone.say(40)
        await phone.say(10, VOICE)
        before = len(phone.received)
        await model.send(type="input_audio_buffer.speech_started", event_id="e", item_id="u2", audio_start_ms=1000)
        cancel = await model.expect("response.cancel")
        truncate = await model.expect("conversation.item.truncate")
        assert cancel["response_id"] == "r1"
        assert truncate["item_id"] == "i1"
        assert truncate["audio_end_ms"] == len(phone.heard) // 8 == 1000
        await model.speak(500)  # it was on its way
        await model.finish(status="cancelled")
        await phone.say(50)
        assert [each["event"] for each in phone.received[before:]] == ["clear"]
        assert phone.heard == b"\x20" * 8000
        await phone.hang_up()
        await phone.end()
    assert_complete(*journals(tmp_path))
    assert [each for each in model.kinds() if each.startswith("response.cancel")] == ["response.cancel"]


async def test_the_caller_who_hangs_up_ends_the_call_at_once(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig(tmp_path) as world, world.call() as phone:
        model = await world.session()
        await talking(world, model)
        began = trio.current_time()
        await phone.hang_up()
        assert (await phone.end()).code == 1000
        assert (await model.end()).code == 1000
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == began
        assert_complete(*journals(tmp_path))
        assert world.said()[-2:] == ["> CallerHungUp", "< Close"]
        assert world.logged("call ended")[0]["reason"] == "the carrier sent stop"


async def test_a_line_that_is_cut_ends_the_call_at_once(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig(tmp_path) as world, world.call() as phone:
        model = await world.session()
        await talking(world, model)
        await phone.socket.close(1001)
        began = trio.current_time()
        await model.end()
        assert trio.current_time() == began
    assert_complete(*journals(tmp_path))
    assert world.logged("call ended")[0]["reason"] == "the caller's line was closed (1001)"
    assert world.logged("the caller's line broke") == []


async def test_the_agent_hangs_up_after_its_goodbye_was_heard(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig(tmp_path) as world, world.call() as phone:
        model = await world.session()
        await talking(world, model, 500)
        item = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "hang_up", "arguments": "{}", "status": "completed"}
        await model.send(type="response.output_item.done", event_id="e", response_id="r1", output_index=1, item=item)
        began = trio.current_time()
        await model.finish()
        assert (await phone.end()).code == 1000
        assert trio.current_time() - began == pytest.approx(0.5, abs=1e-6)
        assert phone.heard == b"\x20" * 4000
        await model.end()
        await trio.testing.wait_all_tasks_blocked()
        assert_complete(*journals(tmp_path))
        assert "< HangUp" in world.said()


async def test_the_agent_is_told_of_a_tool_that_is_none(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig(tmp_path) as world, world.call() as phone:
        model = await world.session()
        await talking(world, model, 500)
        item = {"id": "f1", "type": "function_call", "call_id": "c1", "name": 'a "quoted" one', "arguments": "{}"}
        await model.send(
            type="response.output_item.done", event_id="e", response_id="r1", output_index=1, item=item | {"status": "completed"}
        )
        told = await model.expect("conversation.item.create")
        assert told["item"] == {
            "type": "function_call_output",
            "call_id": "c1",
            "output": '{"error":"there is no tool a \\"quoted\\" one"}',
        }
        await phone.hang_up()


async def test_a_model_that_refuses_ends_the_call_with_an_apology(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    async with rig(tmp_path, settings=CallSettings()) as world:
        world.refusals += ["connection refused"] * 100
        async with world.call() as phone, trio.open_nursery() as nursery:
            nursery.start_soon(phone.keep_quiet)
            began = trio.current_time()
            await phone.end()
            assert trio.current_time() - began == 3.5 + len(APOLOGY) / 8000  # first_session_limit_s, and the apology
            assert phone.heard == APOLOGY
            nursery.cancel_scope.cancel()
    assert_complete(*journals(tmp_path))
    (ended,) = world.logged("call ended")
    assert ended["reason"] == "no model session within the limit"
    lost = world.logged("model session lost")
    assert [(each["reason"], each["call_id"] == ended["call_id"]) for each in lost] == [("connection refused", True)] * len(lost)
    assert 3 <= len(lost) <= 5  # it was tried again, with pauses that grow
    assert [each["log_level"] for each in lost] == ["warning", *["info"] * (len(lost) - 1)]  # one line is news


# --- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [DigitPressed("2"), CallerAudio(b"\xff" * 160)])
@pytest.mark.parametrize("seed", range(8))
def test_r15_what_is_due_acts_before_what_happens_at_the_same_moment_on_every_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, event: Event
) -> None:
    calls: list[CallRunner] = []

    @define(eq=False)
    class Seen(CallRunner):
        async def run(self) -> None:
            calls.append(self)
            await super().run()

    async def two_keys_and_a_pause() -> list[str]:
        async with rig(tmp_path) as world, world.call() as phone:
            await world.session()
            await phone.press("1")
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(1.5)  # digits_pause_s: this task and the alarm wake at the same moment, in any order
            calls[0].feed(event)
            await phone.hang_up()
        return [in_short(line) for line in world.journal()[1:]]

    monkeypatch.setattr(answering, "CallRunner", Seen)
    monkeypatch.setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    trio_run._r.seed(seed)
    said = trio.run(two_keys_and_a_pause, clock=trio.testing.MockClock(autojump_threshold=0))
    told = [line for line in said if "Digit" in line or "@" in line or "AddText" in line or "CallerAudio" in line]
    assert told == ["> DigitPressed", "@ digits", "< AddText", f"> {type(event).__name__}"]


# --- with the embedded Realtime server ---------------------------------------------------------------------------------

SCRIPT = """
name = "a long answer"
[[rule]]
when = { about = "nothing" }
say = "Hello."
[[rule]]
say = "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen."
"""


async def test_a_call_with_the_embedded_model_a_turn_and_a_barge_in(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Its voice detector hears real (synthesised) speech over the line's noise; its events come in its own order and time."""
    speech = pcm16_to_ulaw(synthetic_speech(1, 1.5))
    async with (
        embedded_model(parse_script(SCRIPT, "test")) as answer,
        rig(tmp_path, settings=CallSettings(), model=answer) as world,
        world.call() as phone,
    ):
        await phone.say(100)
        assert len(phone.heard) > 0  # the greeting
        await phone.speak(speech)
        await phone.say(150)
        greeted_and_answered = len(phone.heard)
        await phone.speak(speech)
        await phone.hang_up()
        await phone.end()
    assert_complete(*journals(tmp_path))
    journal = world.journal()
    assert [line["purpose"] for line in journal if line.get("command") == "CreateResponse"] == ["greeting", "turn"]
    assert phone.kinds().count("clear") == 1
    (cut,) = [line["heard_ms"] for line in journal if line.get("command") == "TruncateItem"]
    (cleared_at,) = [line["t"] for line in journal if line.get("command") == "ClearPlayback"]
    began_at = next(line["t"] for line in journal if line.get("command") == "PlayAudio" and line["t"] > 3)
    assert cut == pytest.approx((cleared_at - began_at) * 1000, abs=1)
    assert greeted_and_answered < len(phone.heard)
