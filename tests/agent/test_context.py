from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from attrs import define, field

from trio_voice.agent.context import CallContext


@define
class Asked:
    """A control that keeps what it was asked for."""

    asked: list[tuple[object, ...]] = field(factory=list)
    jobs: list[Callable[[], Awaitable[object]]] = field(factory=list)

    def say(self, text: str) -> None:
        self.asked.append(("say", text))

    def hang_up(self, reason: str) -> None:
        self.asked.append(("hang up", reason))

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
    call.hang_up("done")
    assert control.asked == [("say", "Hello."), ("journal", "a remark"), ("hang up", "done")]


def test_there_is_nothing_to_say_in_an_empty_text(call: CallContext, control: Asked) -> None:
    with pytest.raises(ValueError, match="needs a text"):
        call.say(" \n")
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
