"""R25: an unexpected error, wherever it is raised, ends its own call cleanly, and no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import frozen

from tests.server.rig import APOLOGY, ModelTalker, Rig, Telephone, assert_complete, in_short, journals, rig_with_another_call
from trio_voice.core import call as core_call
from trio_voice.core import caller
from trio_voice.core import commands as c
from trio_voice.core import events as e
from trio_voice.core.deadlines import Timer
from trio_voice.core.parts import Parts
from trio_voice.dialects.twilio import TwilioDialect
from trio_voice.realtime import codec
from trio_voice.realtime.codec import RealtimeDecoder
from trio_voice.server import call_runner, model
from trio_voice.server.directory import LiveCall
from trio_voice.storage.journal import JournalWriter


class BugError(Exception):
    """What nobody expected."""


def fail(*args: object) -> Any:
    raise BugError("this is a bug")


Patch = pytest.MonkeyPatch


def without(table: Mapping[Any, Any], *keys: object) -> dict[Any, Any]:
    """A dispatch table in which these entries are broken."""
    return {**table, **dict.fromkeys(keys, fail)}


# --- where it can break: each is set off by the caller who presses a key, or by a word ---------------------------------


def the_state_machine(patch: Patch) -> None:
    patch.setattr(core_call, "_HANDLERS", without(core_call._HANDLERS, e.DigitPressed))


def a_frame(patch: Patch) -> None:
    """The next frame of a caller goes wrong, which is told of on the shortest way; those behind it do not."""
    on_caller_audio = caller.on_caller_audio
    failures = [fail]

    def hear(parts: Parts, event: e.CallerAudio, now: float) -> bool:
        hear_it = failures.pop() if failures else on_caller_audio
        return hear_it(parts, event, now)

    patch.setattr(caller, "on_caller_audio", hear)


def a_deadline(patch: Patch) -> None:
    patch.setattr(core_call, "_TIMERS", without(core_call._TIMERS, Timer.DIGITS))


def the_journal(patch: Patch) -> None:
    write = JournalWriter.event
    patch.setattr(
        JournalWriter, "event", lambda self, now, event: (fail if type(event) is e.DigitPressed else write)(self, now, event)
    )


def the_codec_of_the_model(patch: Patch) -> None:
    """What the pressed key brings about, after a while, cannot be encoded."""
    encode = codec.encode
    patch.setattr(model, "encode", lambda command: (fail if type(command) is c.AddText else encode)(command))


def the_callers_reader(patch: Patch) -> None:
    decode = TwilioDialect.decode
    patch.setattr(TwilioDialect, "decode", lambda self, message: (fail if '"dtmf"' in message else decode)(self, message))


def the_models_reader(patch: Patch) -> None:
    decode = RealtimeDecoder.decode
    patch.setattr(RealtimeDecoder, "decode", lambda self, message: (fail if '"boom"' in message else decode)(self, message))


def a_tool(patch: Patch) -> None:
    patch.setattr(call_runner, "_PERFORM", without(call_runner._PERFORM, c.RunTool))


def the_models_writer(patch: Patch) -> None:
    """A message that is none is refused by the socket, in the task that writes."""
    encode = codec.encode
    patch.setattr(model, "encode", lambda command: [0] if type(command) is c.AddText else encode(command))


@frozen
class Failure:
    break_it: Callable[[Patch], None]
    task: str
    error: str = "BugError"


FAILURES = [
    Failure(the_state_machine, "state machine"),
    Failure(a_frame, "state machine"),
    Failure(a_deadline, "state machine"),
    Failure(the_journal, "state machine"),
    Failure(the_codec_of_the_model, "state machine"),
    Failure(a_tool, "state machine"),
    Failure(the_callers_reader, "caller's reader"),
    Failure(the_models_reader, "model session"),
    Failure(the_models_writer, "model session", "TypeError"),
]


async def set_off(failure: Failure, phone: Telephone, talker: ModelTalker) -> None:
    if failure.break_it is the_models_reader:
        await talker.send(type="boom")  # read by what was there before it was broken
        await talker.send(type="boom")
    elif failure.break_it is the_callers_reader:
        await phone.press("7")
        await phone.press("7")
    elif failure.break_it is a_frame:
        await phone.say(2)
    elif failure.break_it is a_tool:
        await talker.begin("r9", "i9")
        item = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "hang_up", "arguments": "{}", "status": "completed"}
        await talker.send(type="response.output_item.done", event_id="e", response_id="r9", output_index=0, item=item)
    else:
        await phone.press("7")


@pytest.mark.parametrize("greeting", [False, True], ids=["conversing", "greeting"])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.break_it.__name__)
async def test_r25_an_error_ends_one_call_with_an_apology_and_one_log_line(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: Patch, failure: Failure, greeting: bool
) -> None:
    async with rig_with_another_call(tmp_path, greeting=greeting) as world, world.call() as phone:
        talker = await world.session(2)
        if greeting and failure.break_it is not a_tool:  # it is being spoken, and the lock holds
            await talker.expect("response.create")
            await talker.begin("r9", "i9")
            await talker.speak(5_000, "r9", "i9")
            await trio.testing.wait_all_tasks_blocked()
        failure.break_it(monkeypatch)
        began = trio.current_time()
        await set_off(failure, phone, talker)
        await phone.end()
        await talker.end()
        await trio.testing.wait_all_tasks_blocked()
        monkeypatch.undo()
        assert phone.heard.endswith(APOLOGY)
        assert trio.current_time() - began < 10.0
        assert_clean_end(world, phone, failure)
        if failure.task != "state machine":  # that one would have to fail again
            assert_complete(
                next(path for path in journals(tmp_path) if phone.carrier.identity.call_sid in path.read_text("utf-8"))
            )
        if failure.break_it is the_models_reader and greeting:  # there is no session any more that could take the cancel
            unsent = [line["event_id"] for line in world.journal_of(phone) if line.get("event") == "SendFailed"]
            assert unsent == ["cancel-r9", "truncate-i9"]


def assert_clean_end(world: Rig, phone: Telephone, failure: Failure) -> None:
    """Logged once, with the traceback and the call's ids; in the journal; gone from the directory."""
    (line,) = world.logged("REALTIME_FATAL")
    assert (line["task"], line["log_level"], line["call_sid"]) == (failure.task, "error", phone.carrier.identity.call_sid)
    assert line["exc_info"]
    assert [each for each in world.logs if each["log_level"] == "error"] == [line]
    journal = world.journal_of(phone)
    assert journal[0]["call_id"] == line["call_id"]
    assert in_short(journal[-1]) == "< Close"
    told = [in_short(each) for each in journal[1:]]
    assert told.count("> FatalErrorRaised") == 1
    assert f"{failure.task}: {failure.error}" in [each["reason"] for each in journal if each.get("event") == "FatalErrorRaised"]
    assert world.directory.find(phone.carrier.identity.call_sid) is None


async def test_r25_a_line_that_cannot_be_written_to_is_closed_without_an_apology(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: Patch
) -> None:
    async with rig_with_another_call(tmp_path) as world, world.call() as phone:
        talker = await world.session(2)
        sid = phone.carrier.identity.stream_sid
        encode = TwilioDialect.encode
        monkeypatch.setattr(
            TwilioDialect, "encode", lambda self, command: ([0],) if self._stream_sid == sid else encode(self, command)
        )
        began = trio.current_time()
        await talker.answer(100)
        assert (await phone.end()).code == 1000
        await talker.end()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == began
        assert phone.heard == b""
        (line,) = world.logged("REALTIME_FATAL")
        assert line["task"] == "caller's writer"
        assert in_short(world.journal_of(phone)[-1]) == "< Close"


@pytest.mark.parametrize("again", [e.FatalErrorRaised, e.PlaybackMarked])
async def test_r25_a_state_machine_that_fails_again_is_closed_hard(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: Patch, again: type[e.Event]
) -> None:
    """At once when it cannot even take the failure in; else when the apology's mark breaks it."""
    async with rig_with_another_call(tmp_path) as world, world.call() as phone:
        talker = await world.session(2)
        monkeypatch.setattr(core_call, "_HANDLERS", without(core_call._HANDLERS, e.DigitPressed, again))
        began = trio.current_time()
        await phone.press("7")
        await phone.end()
        await talker.end()
        await trio.testing.wait_all_tasks_blocked()
        monkeypatch.undo()
        assert trio.current_time() - began == (0.0 if again is e.FatalErrorRaised else pytest.approx(0.4))  # the first mark
        assert [each["event"] for each in world.logs if each["log_level"] == "error"] == [
            "REALTIME_FATAL",
            "the state machine failed again: the call is closed",
        ]
        assert in_short(world.journal_of(phone)[-1]) == "< Close"


async def test_r25_a_call_that_cannot_be_recorded_any_more_is_closed_hard(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: Patch
) -> None:
    async with rig_with_another_call(tmp_path) as world, world.call() as phone:
        await world.session(2)
        sid, publish = phone.carrier.identity.call_sid, LiveCall.publish
        monkeypatch.setattr(LiveCall, "publish", lambda self, line: (fail if self.call_sid == sid else publish)(self, line))
        began = trio.current_time()
        await phone.press("7")
        await phone.end()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == began
        assert len(world.directory) == 1


async def test_deadlines_that_do_not_come_to_rest_end_their_call_and_stop_nothing_else(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: Patch
) -> None:
    def again(parts: Any, now: float) -> None:
        parts.deadlines.set(Timer.DIGITS, now)

    async with rig_with_another_call(tmp_path) as world, world.call() as phone:
        await world.session(2)
        monkeypatch.setattr(core_call, "_TIMERS", {**core_call._TIMERS, Timer.DIGITS: again})
        await phone.press("7")
        await phone.end()
        await trio.testing.wait_all_tasks_blocked()
        monkeypatch.undo()
        assert phone.heard == APOLOGY
        assert [each["task"] for each in world.logged("REALTIME_FATAL")] == ["state machine"]
