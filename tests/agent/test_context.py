from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest
import trio
from attrs import define, field

from trio_voice.agent.agent import Agent
from trio_voice.agent.change import Change
from trio_voice.agent.context import CallContext


@define
class Asked:
    """A control that keeps what it was asked for."""

    asked: list[tuple[object, ...]] = field(factory=list)
    jobs: list[Callable[[], Awaitable[object]]] = field(factory=list)

    def say(self, text: str) -> None:
        self.asked.append(("say", text))

    def fill(self, text: str) -> None:
        self.asked.append(("fill", text))

    def hang_up(self, reason: str) -> None:
        self.asked.append(("hang up", reason))

    def switch_voice(self, voice: str) -> Change:
        self.asked.append(("voice", voice))
        return Change()

    def hand_off(self, agent: Agent) -> Change:
        self.asked.append(("hand off", agent.name))
        return Change()

    def send_dtmf(self, digits: str) -> None:
        self.asked.append(("keys", digits))

    def conversation(self) -> Sequence[tuple[str, str]]:
        return [("user", "hello")]

    def journal(self, text: str) -> None:
        self.asked.append(("journal", text))

    def start_job(self, job: Callable[[], Awaitable[object]], name: str, limit_s: float) -> None:
        self.asked.append(("job", name, limit_s))
        self.jobs.append(job)


@pytest.fixture
def control() -> Asked:
    return Asked()


@pytest.fixture
def call(control: Asked) -> CallContext:
    return CallContext(call_id="c1", call_sid="CA1", caller="+4930123", control=control)


def test_what_is_asked_of_a_call_goes_to_its_control_in_order(call: CallContext, control: Asked) -> None:
    call.say("Hello.")
    call.journal("a remark")
    assert not call.switch_voice("cedar").is_over
    assert not call.hand_off(Agent(name="billing")).is_over
    call.send_dtmf("12#")
    call.fill("One moment.")
    call.hang_up("done")
    assert control.asked == [
        ("say", "Hello."), ("journal", "a remark"), ("voice", "cedar"), ("hand off", "billing"), ("keys", "12#"),
        ("fill", "One moment."), ("hang up", "done"),
    ]  # fmt: skip
    assert call.conversation() == [("user", "hello")]


def test_there_is_nothing_to_say_in_an_empty_text(call: CallContext, control: Asked) -> None:
    with pytest.raises(ValueError, match="needs a text"):
        call.say(" \n")
    with pytest.raises(ValueError, match="needs a text"):
        call.fill("")
    with pytest.raises(ValueError, match="needs the name of a voice"):
        call.switch_voice(" ")
    assert control.asked == []


async def test_a_job_gets_the_context_and_its_own_arguments(call: CallContext, control: Asked) -> None:
    seen: list[Any] = []

    async def assess(context: CallContext, level: int, *, text: str) -> None:
        seen.append((context, level, text))

    call.start_job(partial(assess, level=3, text="words"), limit_s=5)
    await control.jobs[0]()
    assert control.asked == [("job", "assess", 5)]
    assert seen == [(call, 3, "words")]


async def nothing(context: CallContext) -> None: ...


def test_a_job_has_a_minute_if_nothing_else_is_said(call: CallContext, control: Asked) -> None:
    call.start_job(nothing)
    assert control.asked == [("job", "nothing", 60.0)]


def test_a_job_that_cannot_run_is_refused_at_once(call: CallContext, control: Asked) -> None:
    with pytest.raises(TypeError, match="a job must be an async function, not <function"):
        call.start_job(lambda context: None)  # type: ignore[arg-type, return-value] # - that is the mistake
    with pytest.raises(ValueError, match="limit_s must be a number of seconds above 0, not 0"):
        call.start_job(nothing, limit_s=0)
    assert control.asked == []


def test_each_call_has_data_of_its_own_and_its_control_is_not_shown(control: Asked) -> None:
    one, two = (CallContext(call_id=name, call_sid=name, control=control) for name in "ab")
    one.data["name"] = "Ada"
    assert (one.data, two.data) == ({"name": "Ada"}, {})
    assert "control" not in repr(one)


@pytest.mark.parametrize("digits", ["", "12a", "+4", "1 2"])
def test_only_keys_can_be_pressed(call: CallContext, control: Asked, digits: str) -> None:
    with pytest.raises(ValueError, match="takes keys out of"):
        call.send_dtmf(digits)
    assert control.asked == []


async def test_r29_a_keepalive_acts_every_three_seconds_and_is_over_when_its_block_is(
    call: CallContext, control: Asked, autojump_clock: trio.testing.MockClock
) -> None:
    async with call.keepalive("One moment."):
        await trio.sleep(2.999)
        assert control.asked == []
        await trio.sleep(6.5)
    assert control.asked == [("fill", "One moment.")] * 3
    await trio.sleep(60)
    assert len(control.asked) == 3


async def test_r29_a_keepalive_has_a_pace_and_ends_with_an_error(
    call: CallContext, control: Asked, autojump_clock: trio.testing.MockClock
) -> None:
    async def fails() -> None:
        async with call.keepalive("One moment.", every_s=1):
            await trio.sleep(2.5)
            raise KeyError

    with pytest.RaisesGroup(KeyError):
        await fails()
    assert len(control.asked) == 2
    with pytest.raises(ValueError, match="every_s must be"):
        async with call.keepalive("One moment.", every_s=0):
            pass
