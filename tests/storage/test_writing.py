"""Files that are written together in the background: each by one thread at a time, and each for itself when one fails."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import structlog
import trio
import trio.testing
from attrs import define, field

from tests.server.rig import no_threads, threads_at_once
from trio_voice.storage.threads import NO_THREAD
from trio_voice.storage.writing import LAST_WRITE_LIMIT_S, WRITERS_LIMIT, Writing, writing

EVERY_S = 1.0


@define(eq=False)
class Notes:
    """A file that notes what is done with it, and when."""

    done: list[tuple[float, str]] = field(factory=list)
    waiting: list[str] = field(factory=list)
    leaving: list[str] = field(factory=list)
    hold: Callable[[], object] = bool

    def prepare(self) -> bool:
        self.leaving, self.waiting = self.waiting, []
        return bool(self.leaving)

    def write(self, *, last: bool) -> str:
        self.hold()
        self.done.append((trio.current_time() if trio.lowlevel.in_trio_run() else 0.0, "+".join(self.leaving) + "." * last))
        return ""

    def settle(self, failure: str) -> None:
        if failure:
            self.done.append((trio.current_time(), failure))


@define(eq=False)
class Broken(Notes):
    """A file with a mistake in it."""

    def write(self, *, last: bool) -> str:
        raise ZeroDivisionError("a mistake")


async def test_those_that_have_something_are_written_every_second_in_the_same_tenth_and_at_their_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    one, two = Notes(), Notes()
    with threads_at_once():
        async with writing(EVERY_S) as background:
            for file in (one, two):
                background.begin(file)
            await trio.sleep_until(0.55)
            one.waiting.append("a")
            await trio.sleep_until(1.55)
            one.waiting.append("b")
            two.waiting.append("c")
            await trio.sleep_until(2.55)
            two.waiting.append("d")
            assert await background.finish(one)
            assert await background.finish(two)
    assert one.done == [(1.0, "a"), (2.0, "b"), (2.55, ".")]
    assert two.done == [(2.0, "c"), (2.55, "d.")]


async def test_a_file_that_begins_between_is_written_at_the_next_tenth_of_a_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    early, late = Notes(), Notes(waiting=["first"])
    with threads_at_once():
        async with writing(EVERY_S) as background:
            background.begin(early)
            await trio.sleep_until(0.33)
            background.begin(late)
            await trio.sleep_until(0.5)
            assert late.done == [(0.4, "first")]
            await background.finish(early)
            await background.finish(late)


async def test_a_file_is_written_by_one_thread_at_a_time_and_its_end_waits_for_it(mock_clock: trio.testing.MockClock) -> None:
    released, hanging = threading.Event(), threading.Event()

    def hold() -> None:
        hanging.set()
        released.wait(10)

    file = Notes(waiting=["a"], hold=hold)
    async with writing(EVERY_S) as background, trio.open_nursery() as nursery:
        background.begin(file)
        await trio.to_thread.run_sync(hanging.wait, 10)
        file.waiting.append("b")
        mock_clock.jump(EVERY_S)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(background.finish, file)
        await trio.testing.wait_all_tasks_blocked()
        assert background.writers.borrowed_tokens == 1
        released.set()
    assert [what for _, what in file.done] == ["a", "b."]


async def test_the_last_call_has_its_end_written_when_the_server_is_cancelled_before_a_thread_is_done() -> None:
    released, hanging, ended = threading.Event(), threading.Event(), list[bool]()

    def hold() -> None:
        hanging.set()
        released.wait(10)

    async def end() -> None:
        ended.append(await background.finish(file))

    file, background = Notes(waiting=["a"], hold=hold), Writing(EVERY_S)
    async with trio.open_nursery() as calls, trio.open_nursery() as server:
        server.start_soon(background.run)
        background.begin(file)
        await trio.to_thread.run_sync(hanging.wait, 10)
        file.waiting.append("b")
        calls.start_soon(end)
        await trio.testing.wait_all_tasks_blocked()
        server.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            released.set()
    assert ([what for _, what in file.done], ended) == (["a", "b."], [True])


async def test_a_file_with_a_mistake_in_it_is_logged_and_the_others_are_written(autojump_clock: trio.testing.MockClock) -> None:
    broken, good = Broken(waiting=["a"]), Notes(waiting=["b"])
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with writing(EVERY_S) as background:
            background.begin(broken)
            background.begin(good)
            await trio.sleep(0.5)
            assert await background.finish(broken)
            assert await background.finish(good)
    assert [what for _, what in good.done] == ["b", "."]
    assert [what for _, what in broken.done] == ["ZeroDivisionError: a mistake"] * 2
    assert [line["event"] for line in logs] == ["a file of a call failed"] * 2


async def test_a_mistake_before_the_writing_is_one_files_too(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(_self: Broken) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(Broken, "prepare", prepare)
    good = Notes(waiting=["b"])
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with writing(EVERY_S) as background:
            background.begin(Broken())
            background.begin(good)
            await trio.sleep(0.5)
            assert [what for _, what in good.done] == ["b"]
    assert [line["event"] for line in logs] == ["a file of a call failed"]


async def test_log_lines_bear_the_calls_id(autojump_clock: trio.testing.MockClock) -> None:
    processors = [structlog.contextvars.merge_contextvars]
    with threads_at_once(), structlog.testing.capture_logs(processors) as logs:
        async with writing(EVERY_S) as background:
            for number in range(2):
                with structlog.contextvars.bound_contextvars(call_id=number):
                    background.begin(Talkative(waiting=["a"]))
            await trio.sleep(0.5)
    assert [line["call_id"] for line in logs] == [0, 1]


@define(eq=False)
class Talkative(Notes):
    """A file that logs."""

    def settle(self, failure: str) -> None:
        structlog.get_logger().info("settled")


async def test_without_a_thread_every_file_is_told(autojump_clock: trio.testing.MockClock) -> None:
    files = [Notes(waiting=["a"]), Notes(waiting=["a"])]
    with no_threads():
        async with writing(EVERY_S) as background:
            for file in files:
                background.begin(file)
            await trio.sleep(0.5)
    assert [[what for _, what in file.done] for file in files] == [[NO_THREAD]] * 2


async def test_a_server_that_is_cancelled_while_a_thread_writes_waits_for_it_within_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    released, hanging = threading.Event(), threading.Event()

    def hold() -> None:
        hanging.set()
        released.wait(10)

    background = Writing(EVERY_S)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(background.run)
            background.begin(Notes(waiting=["a"], hold=hold))
            await trio.to_thread.run_sync(hanging.wait, 10)
            began = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began == LAST_WRITE_LIMIT_S
        assert WRITERS_LIMIT > background.writers.borrowed_tokens == 1
    finally:
        released.set()
