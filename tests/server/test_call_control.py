"""What tools and jobs ask of their call, from async functions and from threads."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from trio_voice.agent.agent import Agent
from trio_voice.agent.change import Change
from trio_voice.agent.context import CallContext, ModelApi, NotSupported
from trio_voice.agent.tool import tool
from trio_voice.core.commands import ReportChange
from trio_voice.core.events import (
    ChangeAsked,
    DigitsAsked,
    Event,
    FillerAsked,
    HangUpAsked,
    JobEnded,
    JobStarted,
    TextInjected,
    ToolFinished,
    ToolStarted,
)
from trio_voice.dialects.base import StreamStarted
from trio_voice.realtime.settings import SessionSettings
from trio_voice.server.call_control import tools_of_call
from trio_voice.server.setups import CallSetups, Setup
from trio_voice.server.tool_threads import ToolThreads
from trio_voice.server.tools import ToolRunner

STARTED = StreamStarted(
    stream_id="MZ1", call_sid="CA1", account_sid="AC1", parameters={"ticket": "7"}, caller="+4930123", called="+4930456"
)

SESSION = SessionSettings(instructions="", model="test", voice="marin")


@define
class Shell:
    """What a call's shell offers; what it was told is kept."""

    nursery: trio.Nursery
    tools: ToolRunner = field(init=False)
    fed: list[Event] = field(factory=list)
    noted: list[str] = field(factory=list)
    over: bool = False
    setups: CallSetups = field(factory=lambda: CallSetups(Setup(agent_name="one", session=SESSION, toolbox={})))

    @property
    def context(self) -> CallContext:
        return self.tools.context

    def feed(self, event: Event) -> None:
        trio.lowlevel.current_trio_token()  # it raises in any other thread than the call's
        self.fed.append(event)


@asynccontextmanager
async def a_call(no_digits: str | None = None) -> AsyncIterator[Shell]:
    async with trio.open_nursery() as nursery:
        shell = Shell(nursery)
        shell.tools = tools_of_call(
            feed=shell.feed,
            note=shell.noted.append,
            is_over=lambda: shell.over,
            nursery=nursery,
            threads=ToolThreads(),
            call_id="c1",
            started=STARTED,
            setups=shell.setups,
            said=lambda: [("user", "hello")],
            no_digits=no_digits,
            api=ModelApi(base_url="https://host/v1"),
            limit_s=20.0,
        )
        yield shell


def ask(call: CallContext) -> None:
    call.say("Hello.")
    call.fill("One moment.")
    call.journal("a remark")
    call.send_dtmf("12#")
    call.hang_up("done")


Way = Callable[[Callable[[], None]], Awaitable[None]]


async def from_here(function: Callable[[], None]) -> None:
    function()


async def from_a_thread(function: Callable[[], None]) -> None:
    await trio.to_thread.run_sync(function)


WAYS = pytest.mark.parametrize("way", [from_here, from_a_thread])


@WAYS
async def test_what_is_asked_becomes_events_and_remarks_in_order(way: Way) -> None:
    async with a_call() as shell:
        await way(lambda: ask(shell.context))
    assert shell.fed == [TextInjected("Hello."), FillerAsked("One moment."), DigitsAsked("12#"), HangUpAsked("done")]
    assert shell.noted == ["a remark"]


@WAYS
async def test_a_call_that_is_over_ignores_what_is_asked(way: Way) -> None:
    async with a_call() as shell:
        shell.over = True
        await way(lambda: ask(shell.context))
        await way(lambda: shell.context.start_job(job))
    assert (shell.fed, shell.noted) == ([], [])


async def job(call: CallContext) -> None:
    call.say(f"about {call.data['subject']}")


@WAYS
async def test_a_job_runs_in_the_calls_nursery_with_the_calls_context(way: Way) -> None:
    async with a_call() as shell:
        shell.context.data["subject"] = "tea"
        await way(lambda: shell.context.start_job(job))
    assert shell.fed == [JobStarted(1, 60.0), TextInjected("about tea"), JobEnded(1)]
    assert shell.noted == ["job job started", "job job ended"]


async def forever(call: CallContext) -> None:
    await trio.sleep_forever()


async def test_an_error_of_ours_reaches_the_thread_that_asked() -> None:
    def too_many(context: CallContext) -> None:
        for _ in range(9):
            context.start_job(forever)

    async with a_call() as shell:
        with pytest.raises(RuntimeError, match="8 jobs already"):
            await trio.to_thread.run_sync(too_many, shell.context)
        assert shell.noted == ["job forever started"] * 8
        shell.nursery.cancel_scope.cancel()


def test_a_context_says_whose_call_it_is_and_outlives_it_harmlessly() -> None:
    kept: list[Shell] = []

    async def look() -> None:
        async with a_call() as shell:
            kept.append(shell)

    program = threading.Thread(target=trio.run, args=(look,))
    program.start()
    program.join()
    (shell,) = kept
    context = shell.context
    assert context.api == ModelApi(base_url="https://host/v1")
    assert (context.call_id, context.call_sid, context.caller, context.called) == ("c1", "CA1", "+4930123", "+4930456")
    assert context.parameters == {"ticket": "7"}
    ask(context)  # the whole program is over: there is nobody to ask
    assert (shell.fed, shell.noted) == ([], [])


async def test_r35_what_comes_of_a_tool_and_its_filler_are_events(autojump_clock: MockClock) -> None:
    @tool(filler="One moment.")
    async def look_up(call: CallContext, day: str) -> str:
        """Look up."""
        await trio.sleep(2)
        return f"{call.caller}: {day}"

    async with a_call() as shell:
        toolbox = Agent(tools=[look_up]).toolbox
        shell.tools.run(toolbox, "t1", "look_up", '{"day":"Monday"}')
        shell.tools.run(toolbox, "t2", "hang_up", "{}")
    assert shell.fed == [
        ToolStarted("t1", 20.0),
        ToolStarted("t2", 20.0),
        HangUpAsked("the agent ended the call"),
        ToolFinished("t2", '{"ok":"the call ends when what was said has been heard"}'),
        FillerAsked("One moment."),
        ToolFinished("t1", "+4930123: Monday"),
    ]


@WAYS
async def test_r32_a_change_is_an_event_and_its_end_is_told(way: Way) -> None:
    made: list[Change] = []
    async with a_call() as shell:
        await way(lambda: made.append(shell.context.switch_voice("cedar")))
        await way(lambda: made.append(shell.context.hand_off(Agent(name="two"))))
        shell.setups.report(ReportChange(1))
        shell.setups.report(ReportChange(2, "refused"))
    first, second = made
    assert [await first.wait(), await second.wait(), second.failure] == [True, False, "refused"]
    note = "one has handed this call over to you, two. Say so to the caller in one short sentence and go on."
    assert shell.fed == [ChangeAsked(1, True), ChangeAsked(2, False, note, reply=True)]


@WAYS
async def test_a_change_of_a_call_that_is_over_is_over_too(way: Way) -> None:
    made: list[Change] = []
    async with a_call() as shell:
        shell.over = True
        await way(lambda: made.append(shell.context.switch_voice("cedar")))
        await way(lambda: made.append(shell.context.hand_off(Agent(name="two"))))
    assert [(each.is_over, each.failure) for each in made] == [(True, "the call is over")] * 2
    assert shell.fed == []


async def test_only_agents_take_calls_over() -> None:
    async with a_call() as shell:
        with pytest.raises(TypeError, match=r"hand_off\(\) takes a trio_voice.Agent, not 'billing'"):
            shell.context.hand_off("billing")  # type: ignore[arg-type] # - that is the mistake


async def test_r44_keys_are_refused_where_the_carrier_cannot_press_them() -> None:
    async with a_call("twilio cannot press keys over a media stream") as shell:
        with pytest.raises(NotSupported, match="twilio cannot press keys"):
            shell.context.send_dtmf("1")
    assert shell.fed == []


@WAYS
async def test_what_was_said_can_be_read(way: Way) -> None:
    said: list[object] = []
    async with a_call() as shell:
        await way(lambda: said.append(shell.context.conversation()))
    assert said == [[("user", "hello")]]
