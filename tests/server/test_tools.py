"""The tools of one call, in virtual time: what the model is told, when, and that nothing else waits for them.

Where a thread is held on purpose, the test moves the clock itself: one that jumps while all tasks wait does not wait for threads.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
import trio
import trio.testing
from attrs import define, field
from trio.testing import MockClock

from tests.agent.test_context import Asked
from trio_voice.agent.context import CallContext, NotSupported
from trio_voice.agent.tool import Tool, ToolError, tool
from trio_voice.core.call import Call
from trio_voice.core.commands import ClearPlayback, Command, PlayAudio, RunTool
from trio_voice.core.events import (
    CallStarted,
    Event,
    ItemAdded,
    ModelAudio,
    ResponseCreated,
    SessionReady,
    SpeechStarted,
    ToolCalled,
    ToolFinished,
    ToolStarted,
)
from trio_voice.core.settings import CallSettings
from trio_voice.server.message_socket import ALL, Sent
from trio_voice.server.outbox import Outbox
from trio_voice.server.tool_threads import ToolThreads
from trio_voice.server.tools import ToolRunner
from trio_voice.server.websocket import MessageSocket


@define
class Bench:
    """A runner, and what it reported: at what time, about which call, with which text."""

    nursery: trio.Nursery
    toolbox: dict[str, Tool]
    threads: ToolThreads = field(factory=ToolThreads)
    most_at_once: int = 8
    control: Asked = field(factory=Asked)
    answers: list[tuple[float, str, str]] = field(factory=list)
    limits: list[tuple[str, float]] = field(factory=list)
    fillers: list[tuple[float, str]] = field(factory=list)
    runner: ToolRunner = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.runner = ToolRunner(
            nursery=self.nursery,
            context=CallContext(call_id="c1", call_sid="CA1", control=self.control),
            threads=self.threads,
            started=lambda tool_call_id, limit_s: self.limits.append((tool_call_id, limit_s)),
            finished=lambda tool_call_id, output: self.answers.append((trio.current_time(), tool_call_id, output)),
            say_filler=lambda text: self.fillers.append((trio.current_time(), text)),
            limit_s=20.0,
            most_at_once=self.most_at_once,
        )

    def run(self, name: str, arguments: str = "{}", tool_call_id: str = "t1") -> None:
        self.runner.run(self.toolbox, tool_call_id, name, arguments)


@asynccontextmanager
async def bench(*tools: Tool, **options: Any) -> AsyncIterator[Bench]:
    """A bench for the time of the block, and until all of its tools have answered."""
    async with trio.open_nursery() as nursery:
        yield Bench(nursery, {each.name: each for each in tools}, **options)


async def answer(made: Tool, arguments: str = "{}") -> str:
    """What the model is told by a tool that is called alone."""
    async with bench(made) as alone:
        alone.run(made.name, arguments)
    ((_, _, output),) = alone.answers
    return output


def sleeper(seconds: float, name: str = "sleep", **options: Any) -> Tool:
    @tool(name=name, **options)
    async def sleep() -> str:
        """Take a while."""
        await trio.sleep(seconds)
        return f"slept {seconds:g} s"

    return sleep


@define
class Held:
    """A sync tool that hangs until it is let go, with the end of the test at the latest."""

    begun: threading.Event = field(factory=threading.Event)
    go: threading.Event = field(factory=threading.Event)

    def tool(self, name: str = "hold") -> Tool:
        @tool(name=name)
        def wait() -> str:
            """Wait in a thread."""
            self.begun.set()
            assert self.go.wait(10)
            return "held"

        return wait

    async def has_begun(self) -> None:
        assert await trio.to_thread.run_sync(self.begun.wait, 10)


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.go.set()


# --- answers -----------------------------------------------------------------------------------------------------------


@tool
async def add(one: int, two: int = 2) -> int:
    """Add."""
    return one + two


@tool
def add_in_thread(one: int, two: int = 2) -> dict[str, Any]:
    """Add."""
    return {"sum": one + two, "in the main thread": threading.current_thread() is threading.main_thread()}


async def test_r35_a_tool_gets_the_models_arguments_and_its_answer_is_text() -> None:
    assert await answer(add, '{"one":1}') == "3"
    assert await answer(add, '{"one":1,"two":5}') == "6"
    assert await answer(add_in_thread, '{"one":1}') == '{"sum":3,"in the main thread":false}'


@dataclass
class Booking:
    number: int
    day: str


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ("as it is", "as it is"),
        ("", ""),
        (None, "null"),
        ([1, {"a": 2.5}], '[1,{"a":2.5}]'),
        (Booking(3, "Monday"), '{"number":3,"day":"Monday"}'),
    ],
)
async def test_an_answer_is_a_text_or_json(value: object, output: str) -> None:
    @tool
    async def give() -> object:
        """Give."""
        return value

    assert await answer(give) == output


def endless() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    "value",
    [object(), {1j: 2}, "\ud800", endless(), lambda: 1],
    ids=["object", "complex key", "surrogate", "endless", "function"],
)
async def test_what_is_no_json_is_an_error_that_the_model_is_told(value: object) -> None:
    @tool
    async def give() -> object:
        """Give."""
        return value

    with structlog.testing.capture_logs() as logs:
        assert await answer(give) == '{"error":"the tool\'s answer cannot be written as JSON"}'
    assert [(line["event"], line["tool"]) for line in logs] == [("a tool's answer cannot be written as JSON", "give")]


async def test_an_answer_has_a_bound() -> None:
    @tool
    async def tell(characters: int) -> str:
        """Tell."""
        return "x" * characters

    assert await answer(tell, '{"characters":50000}') == "x" * 50_000
    assert await answer(tell, '{"characters":50001}') == '{"error":"the tool\'s answer is too long: 50001 characters"}'


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("add", '{"two":1}', "wrong arguments: Object missing required field `one`"),
        ("add", '{"one":"1"}', "wrong arguments: Expected `int`, got `str` - at `one`"),
        ("add", '{"one":1', "wrong arguments: the arguments are not valid JSON: Input data was truncated"),
        ("subtract", "{}", "there is no tool subtract"),
    ],
)
async def test_a_mistake_of_the_models_is_told_to_it(name: str, arguments: str, says: str) -> None:
    async with bench(add) as world:
        world.run(name, arguments)
    assert world.answers == [(world.answers[0][0], "t1", f'{{"error":"{says}"}}')]


class Panic(BaseException):
    """No Exception, and nobody's cancellation."""


async def test_a_tool_that_raises_is_logged_and_the_model_learns_only_that_it_failed() -> None:
    @tool
    async def fail() -> None:
        """Fail."""
        raise ValueError("postgres://user:secret@host")

    @tool
    def fail_in_thread() -> None:
        """Fail."""
        raise ValueError("postgres://user:secret@host")

    @tool
    async def fail_twice() -> None:
        """Fail."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail.function)
            nursery.start_soon(fail.function)

    @tool
    def leave() -> None:
        """Leave."""
        raise SystemExit(3)

    @tool
    async def panic() -> None:
        """Raise what is no Exception: an asyncio.CancelledError, an extension's panic."""
        raise Panic

    @tool
    def panic_in_thread() -> None:
        """Likewise."""
        raise Panic

    for each in (fail, fail_in_thread, fail_twice, leave, panic, panic_in_thread):
        with structlog.testing.capture_logs() as logs:
            assert await answer(each) == '{"error":"the tool failed"}'
        assert [(line["event"], line["log_level"], line["tool"], line["exc_info"]) for line in logs] == [
            ("a tool failed", "error", each.name, True)
        ]


async def test_a_tool_can_choose_its_words_for_the_model() -> None:
    @tool
    async def find() -> None:
        """Find."""
        raise ToolError('there is no "Ada"')

    @tool
    def find_in_thread() -> None:
        """Find."""
        raise ToolError('there is no "Ada"')

    @tool
    async def find_in_nursery() -> None:
        """Find."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(find.function)

    for each in (find, find_in_thread, find_in_nursery):
        with structlog.testing.capture_logs() as logs:
            assert await answer(each) == '{"error":"there is no \\"Ada\\""}'
        assert [line["log_level"] for line in logs] == ["info"]


async def test_what_the_carrier_cannot_do_is_told_to_the_model() -> None:
    @tool
    async def press(keys: str) -> None:
        """Press keys."""
        raise NotSupported(f"twilio cannot press {keys} over a media stream")

    with structlog.testing.capture_logs() as logs:
        assert await answer(press, '{"keys": "1"}') == '{"error":"twilio cannot press 1 over a media stream"}'
    assert [line["log_level"] for line in logs] == ["info"]


async def test_tools_of_a_call_share_its_context() -> None:
    @tool
    async def keep(call: CallContext, name: str) -> str:
        """Keep."""
        call.data["name"] = name
        call.say(f"Hello, {name}.")
        return "kept"

    @tool
    def recall(call: CallContext) -> str:
        """Recall."""
        return f"{call.data['name']} of {call.call_id}"

    async with bench(keep, recall) as world:
        world.run("keep", '{"name":"Ada"}')
        await trio.testing.wait_all_tasks_blocked()
        world.run("recall", tool_call_id="t2")
    assert [output for _, _, output in world.answers] == ["kept", "Ada of c1"]
    assert world.control.asked == [("say", "Hello, Ada.")]


# --- limits ------------------------------------------------------------------------------------------------------------


async def test_r35_a_tool_that_hangs_is_cancelled_at_exactly_its_limit(autojump_clock: MockClock) -> None:
    async with bench(sleeper(99, timeout_s=2.5), sleeper(99, "other")) as world:
        world.run("sleep")
        world.run("other", tool_call_id="t2")
    text = '{{"error":"the tool did not answer within {} s; whether it had an effect is not known"}}'
    assert world.answers == [(2.5, "t1", text.format("2.5")), (20.0, "t2", text.format("20"))]


async def test_r35_a_sync_tool_that_hangs_is_left_to_itself_and_what_it_says_later_is_dropped(
    mock_clock: MockClock, held: Held
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with bench(held.tool()) as world:
            world.run("hold")
            await held.has_begun()
            mock_clock.jump(20)
        late = '{"error":"the tool did not answer within 20 s; whether it had an effect is not known"}'
        assert world.answers == [(20.0, "t1", late)]
        assert world.threads.left == 1
        work = world.threads._left[0]
        held.go.set()
        assert work.returned.wait(10)
        assert world.threads.left == 0
    assert [line["event"] for line in logs] == [
        "a tool's thread is left to itself",
        "a tool took too long",
        "a tool's thread that was left to itself has returned",
    ]
    assert len(world.answers) == 1


async def test_sync_tools_beyond_the_threads_wait_and_are_told_not_to_have_been_started(
    mock_clock: MockClock, held: Held
) -> None:
    threads = ToolThreads(trio.CapacityLimiter(1))
    async with bench(held.tool("one"), held.tool("two"), threads=threads) as world:
        world.run("one")
        await held.has_begun()
        world.run("two", tool_call_id="t2")
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(20)
    async with bench(held.tool("three"), threads=threads) as other_call:
        other_call.run("three", tool_call_id="t3")
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(20)
    (_, _, hung), waited = sorted(world.answers)
    assert "whether it had an effect is not known" in hung
    not_started = '{"error":"the tool was not started, because others take too long"}'
    assert waited == (20.0, "t2", not_started)
    assert other_call.answers == [(40.0, "t3", not_started)]
    assert threads.left == 1


async def test_r35_only_so_many_tools_of_a_call_run_at_once_and_others_wait_in_their_order(autojump_clock: MockClock) -> None:
    async with bench(sleeper(2), most_at_once=2) as world:
        for number in range(5):
            world.run("sleep", tool_call_id=f"t{number}")
            await trio.testing.wait_all_tasks_blocked()
    assert sorted((at, tool_call_id) for at, tool_call_id, _ in world.answers) == [
        (2.0, "t0"),
        (2.0, "t1"),
        (4.0, "t2"),
        (4.0, "t3"),
        (6.0, "t4"),
    ]


async def test_waiting_counts_as_time_of_the_tool(autojump_clock: MockClock) -> None:
    async with bench(
        sleeper(3, "first"), sleeper(3, "second", timeout_s=2), sleeper(3, "third", timeout_s=5), most_at_once=1
    ) as world:
        for name in ("first", "second", "third"):
            world.run(name, tool_call_id=name)
            await trio.testing.wait_all_tasks_blocked()
    assert [(at, tool_call_id, "error" in output) for at, tool_call_id, output in world.answers] == [
        (2.0, "second", True),
        (3.0, "first", False),
        (5.0, "third", True),
    ]
    assert "was not started" in world.answers[0][2]
    assert "whether it had an effect is not known" in world.answers[2][2]


# --- barge-in, fillers, the end of the call ----------------------------------------------------------------------------


async def test_r35_a_barge_in_cancels_the_tools_that_say_so_and_no_others(autojump_clock: MockClock) -> None:
    async with bench(sleeper(5, "keeps"), sleeper(5, "stops", on_barge_in="cancel")) as world:
        world.run("keeps")
        world.run("stops", tool_call_id="t2")
        await trio.sleep(1)
        world.runner.barge_in()
        await trio.sleep(1)
        world.run("stops", tool_call_id="t3")  # after the barge-in: another call
        world.runner.run(world.toolbox, "t4", "stops", "{}")
        world.runner.barge_in()  # before they have begun
    told = '{"error":"cancelled, because the caller interrupted"}'
    assert sorted(world.answers) == [(1.0, "t2", told), (2.0, "t3", told), (2.0, "t4", told), (5.0, "t1", "slept 5 s")]


async def test_a_barge_in_without_tools_is_nothing() -> None:
    async with bench() as world:
        world.runner.barge_in()
    assert world.answers == []


async def test_r35_a_slow_tool_has_a_filler_and_a_quick_one_does_not(autojump_clock: MockClock) -> None:
    async with bench(sleeper(4, "slow", filler="One moment."), sleeper(1, "quick", filler="Never said.")) as world:
        world.run("quick")
        world.run("slow", tool_call_id="t2")
    assert world.fillers == [(1.5, "One moment.")]


async def test_tools_that_are_slow_together_have_one_filler_and_the_next_has_its_own(autojump_clock: MockClock) -> None:
    async with bench(sleeper(4, "one", filler="One."), sleeper(4, "two", filler="Two.")) as world:
        world.run("one")
        await trio.sleep(0.5)
        world.run("two", tool_call_id="t2")
        await trio.sleep(5.5)
        world.run("two", tool_call_id="t3")
    assert world.fillers == [(1.5, "One."), (7.5, "Two.")]


async def test_tools_end_with_their_call_and_report_nothing(mock_clock: MockClock, held: Held) -> None:
    ended: list[str] = []

    @tool
    async def clean_up() -> None:
        """Clean up."""
        try:
            await trio.sleep_forever()
        finally:
            ended.append("clean_up")
            raise ValueError("while ending")

    with structlog.testing.capture_logs() as logs:
        async with bench(sleeper(5, filler="One moment."), clean_up, held.tool()) as world:
            world.run("sleep")
            world.run("clean_up", tool_call_id="t2")
            world.run("hold", tool_call_id="t3")
            await held.has_begun()
            world.nursery.cancel_scope.cancel()
    assert ended == ["clean_up"]
    assert (world.answers, world.fillers) == ([], [])
    assert sorted(line["event"] for line in logs) == ["a tool failed", "a tool's thread is left to itself"]


# --- never in the way --------------------------------------------------------------------------------------------------


@define(eq=False)
class Passes(trio.abc.Instrument):
    """Counts the passes of the scheduler."""

    count: int = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


@define(eq=False)
class Line(MessageSocket):
    """The carrier's socket: what was sent, and in which pass of the scheduler."""

    passes: Passes
    sent: list[tuple[str | bytes, int]] = field(factory=list)
    remote: str = "test"
    heard_at: float = 0.0

    async def send(self, message: str | bytes) -> None:
        self.send_now(message)
        await trio.lowlevel.checkpoint()

    def send_now(self, message: str | bytes) -> Sent:
        self.sent.append((message, self.passes.count))
        return ALL

    async def flush(self) -> None:
        raise AssertionError

    async def receive(self) -> str | bytes:
        raise AssertionError

    async def ping(self, limit_s: float) -> None:
        raise AssertionError

    async def close(self, code: int = 1000, reason: str = "") -> None: ...


@define(eq=False)
class Shell:
    """The least that carries a call: the state machine, the line's outbox, and the tools."""

    nursery: trio.Nursery
    outbox: Outbox
    toolbox: dict[str, Tool]
    call: Call = field(factory=lambda: Call(CallSettings(greeting=False, calibration_limit_s=0.0)))
    runner: ToolRunner = field(init=False)
    done: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.runner = ToolRunner(
            nursery=self.nursery,
            context=CallContext(call_id="c1", call_sid="CA1", control=Asked()),
            threads=ToolThreads(),
            started=lambda tool_call_id, limit_s: self.feed(ToolStarted(tool_call_id, limit_s)),
            finished=lambda tool_call_id, output: self.feed(ToolFinished(tool_call_id, output)),
            say_filler=lambda text: None,
            limit_s=20.0,
        )

    def feed(self, *events: Event) -> None:
        now = trio.current_time()
        for event in events:
            while (deadline := self.call.next_deadline()) is not None and deadline <= now:
                self.perform(self.call.handle_timer(now))
            self.perform(self.call.receive(event, now))

    def perform(self, commands: Sequence[Command]) -> None:
        for command in commands:
            self.done.append(type(command).__name__)
            match command:
                case PlayAudio():
                    self.outbox.put("audio", droppable=True)
                case ClearPlayback():
                    self.outbox.put_first("clear")
                case RunTool(tool_call_id=tool_call_id, name=name, arguments=arguments):
                    self.runner.run(self.toolbox, tool_call_id, name, arguments)
                case _:
                    pass


async def passes_from_speech_to_clear(*tools: Tool) -> tuple[int, Shell]:
    """How many passes of the scheduler lie between the caller's speech and the clear on the line, beside running tools."""
    passes = Passes()
    trio.lowlevel.add_instrument(passes)
    line = Line(passes)
    async with trio.open_nursery() as nursery:
        outbox = Outbox(line, on_overrun=lambda: None, on_unsent=lambda event_id: None)
        shell = Shell(nursery, outbox, {each.name: each for each in tools})
        nursery.start_soon(outbox.run)
        shell.feed(CallStarted("CA1"), SessionReady(1))
        await trio.sleep(1)
        shell.feed(ResponseCreated(1, "r1"), ItemAdded(1, "r1", "i1"), ModelAudio(1, "r1", "i1", b"\x20" * 80_000))
        shell.feed(*[ToolCalled(1, "r1", f"f-{each.name}", f"t-{each.name}", each.name, "{}") for each in tools])
        await trio.sleep(1)
        before, began, at = len(line.sent), passes.count, trio.current_time()
        assert {message for message, _ in line.sent} == {"audio"}
        shell.feed(SpeechStarted(1, "u1"))
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == at
        assert [message for message, _ in line.sent[before:]] == ["clear"]
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    trio.lowlevel.remove_instrument(passes)
    return line.sent[before][1] - began, shell


async def test_r35_a_barge_in_during_two_tools_of_two_seconds_reaches_the_line_in_the_same_pass_as_without(
    autojump_clock: MockClock,
) -> None:
    without, _ = await passes_from_speech_to_clear()
    beside, shell = await passes_from_speech_to_clear(sleeper(2, "one"), sleeper(2, "two"))
    assert beside == without == 0
    assert shell.done.count("SendToolResult") == 2


async def test_r35_nor_do_tools_in_threads_stand_in_the_way(autojump_clock: MockClock, held: Held) -> None:
    beside, shell = await passes_from_speech_to_clear(held.tool("one"), held.tool("two"))
    assert beside == 0
    assert shell.done.count("SendToolResult") == 0  # they hang to the end
