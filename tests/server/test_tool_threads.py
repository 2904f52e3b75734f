"""Threads that tools hang in. Tests that hold a thread on purpose let it go before they end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import structlog
import trio
import trio.testing

from trio_voice.server.tool_threads import ToolThreads


@pytest.fixture
def hold() -> Iterator[threading.Event]:
    """What threads wait for; it comes with the end of the test at the latest."""
    event = threading.Event()
    yield event
    event.set()


def waiting(hold: threading.Event, begun: threading.Event) -> None:
    begun.set()
    assert hold.wait(10)


async def comes(event: threading.Event) -> None:
    """Wait for what a thread is about to do."""
    assert await trio.to_thread.run_sync(event.wait, 10)


async def test_a_function_runs_in_another_thread_and_its_answer_and_errors_come_back() -> None:
    threads = ToolThreads()
    assert await threads.run("ident", threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await threads.run("divide", lambda: 1 // 0)
    assert threads.left == 0


async def test_a_thread_that_hangs_is_left_logged_and_counted_until_it_returns(hold: threading.Event) -> None:
    threads, begun = ToolThreads(), threading.Event()
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(threads.run, "slow", lambda: waiting(hold, begun))
            await comes(begun)
            nursery.cancel_scope.cancel()
        assert threads.left == 1
        assert [(line["event"], line["tool"], line["left"], line["of"]) for line in logs] == [
            ("a tool's thread is left to itself", "slow", 1, 32)
        ]
        hold.set()
        await comes(threads._left[0].returned)
        assert threads.left == 0
        assert logs[1]["event"] == "a tool's thread that was left to itself has returned"


async def test_a_thread_that_hangs_keeps_its_place_so_that_there_are_never_too_many(hold: threading.Event) -> None:
    threads, begun = ToolThreads(trio.CapacityLimiter(1)), threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, "slow", lambda: waiting(hold, begun))
        await comes(begun)
        nursery.cancel_scope.cancel()
    ran: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, "next", lambda: ran.append("next"))
        nursery.start_soon(threads.run, "after", lambda: ran.append("after"))
        await trio.testing.wait_all_tasks_blocked()
        assert (ran, threads.limiter.borrowed_tokens, threads.limiter.statistics().tasks_waiting) == ([], 1, 2)
        hold.set()
    assert sorted(ran) == ["after", "next"]
    assert threads.limiter.borrowed_tokens == 0


async def test_a_function_that_is_cancelled_while_it_waits_for_a_thread_never_runs(hold: threading.Event) -> None:
    threads, begun = ToolThreads(trio.CapacityLimiter(1)), threading.Event()
    ran: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, "slow", lambda: waiting(hold, begun))
        await comes(begun)
        async with trio.open_nursery() as others:
            others.start_soon(threads.run, "next", lambda: ran.append("next"))
            await trio.testing.wait_all_tasks_blocked()
            others.cancel_scope.cancel()
        assert threads.left == 0
        hold.set()
    assert await threads.run("last", lambda: "last") == "last"
    assert ran == []
