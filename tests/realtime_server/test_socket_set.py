"""Sockets behind one wait. They are real; no test waits for time, but for what the set does."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from contextvars import ContextVar

import pytest
import trio
import trio.testing

from tests.socket_ends import both_ends
from trio_voice.realtime_server.socket_set import SOCKETS_AT_ONCE, SocketSet, serving

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")
LIMIT_S = 20.0
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")


@asynccontextmanager
async def a_set() -> AsyncIterator[tuple[SocketSet, trio.Nursery]]:
    """With a nursery for those who watch."""
    with trio.fail_after(LIMIT_S):
        async with serving() as sockets, trio.open_nursery() as nursery:
            assert sockets is not None
            yield sockets, nursery


def never() -> bool:
    raise AssertionError


async def test_who_watches_is_told_of_all_that_comes_until_it_has_enough() -> None:
    with both_ends() as (near, far):
        got: list[bytes] = []

        def readable() -> bool:
            got.append(near.recv(100))
            far.send(b"%d" % len(got))
            return len(got) < 3

        async with a_set() as (sockets, _):
            far.send(b"0")
            await sockets.watch(near.fileno(), readable)
            assert got == [b"0", b"1", b"2"]
            await sockets.watch(near.fileno(), lambda: False)  # it may be watched again


async def test_what_is_left_unread_is_told_of_again() -> None:
    with both_ends() as (near, far):
        got: list[bytes] = []

        def readable() -> bool:
            got.append(near.recv(1))
            return got[-1] != b"c"

        async with a_set() as (sockets, _):
            far.send(b"abc")
            await sockets.watch(near.fileno(), readable)
            assert got == [b"a", b"b", b"c"]


async def test_the_end_of_a_stream_can_be_read() -> None:
    with both_ends() as (near, far):
        async with a_set() as (sockets, nursery):

            async def watch() -> None:
                await sockets.watch(near.fileno(), lambda: near.recv(1) != b"")

            nursery.start_soon(watch)
            await trio.testing.wait_all_tasks_blocked()
            far.close()


async def test_the_function_runs_in_the_context_of_who_watches() -> None:
    with both_ends() as (near, far):
        seen: list[str] = []

        def readable() -> bool:
            seen.append(WHO.get())
            return False

        async def session() -> None:
            WHO.set("a session")
            await sockets.watch(near.fileno(), readable)

        async with a_set() as (sockets, nursery):
            nursery.start_soon(session)
            far.send(b"x")
        assert seen == ["a session"]
        assert WHO.get() == "nobody"


async def test_what_the_function_raises_is_raised_where_it_is_watched_and_nowhere_else() -> None:
    with both_ends() as (near, far), both_ends() as (near_2, far_2):

        def broken() -> bool:
            raise ValueError("broken")

        async with a_set() as (sockets, nursery):
            nursery.start_soon(sockets.watch, near_2.fileno(), lambda: near_2.recv(100) != b"end")
            far.send(b"x")
            with pytest.raises(ValueError, match="broken"):
                await sockets.watch(near.fileno(), broken)
            far_2.send(b"end")


async def test_a_watch_that_is_cancelled_is_over() -> None:
    with both_ends() as (near, far):
        async with a_set() as (sockets, nursery):
            nursery.start_soon(sockets.watch, near.fileno(), never)
            await trio.testing.wait_all_tasks_blocked()
            far.send(b"x")
            nursery.cancel_scope.cancel()
        async with a_set() as (sockets, _):
            with trio.CancelScope() as scope:
                scope.cancel()
                await sockets.watch(near.fileno(), never)
            assert scope.cancelled_caught
            await sockets.watch(near.fileno(), lambda: False)  # nothing of it is left


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_function_may_cancel_who_watches(goes_on: bool) -> None:
    with both_ends() as (near, far):
        calls: list[bytes] = []
        with trio.CancelScope() as scope:

            def readable() -> bool:
                calls.append(near.recv(100))
                scope.cancel()
                return goes_on

            async with a_set() as (sockets, _):
                far.send(b"x")
                await sockets.watch(near.fileno(), readable)
                raise AssertionError("it goes on")
        assert scope.cancelled_caught
        assert calls == [b"x"]


async def test_what_a_function_raises_after_it_has_cancelled_who_watches_is_not_lost() -> None:
    with both_ends() as (near, far):
        async with a_set() as (sockets, _):
            scope = trio.CancelScope()

            def broken() -> bool:
                scope.cancel()
                raise ValueError("broken")

            far.send(b"x")
            with pytest.raises(ValueError, match="broken"), scope:
                await sockets.watch(near.fileno(), broken)


async def test_a_function_may_end_the_watch_of_another_that_has_something_too() -> None:
    with ExitStack() as stack:
        ends = [stack.enter_context(both_ends()) for _ in range(2)]
        served: list[int] = []

        async with a_set() as (sockets, nursery):
            scopes = [trio.CancelScope(), trio.CancelScope()]

            def cancels_the_other(index: int) -> Callable[[], bool]:
                def readable() -> bool:
                    served.append(index)
                    scopes[1 - index].cancel()
                    return False

                return readable

            async def watch(index: int) -> None:
                with scopes[index]:
                    await sockets.watch(ends[index][0].fileno(), cancels_the_other(index))

            for _, far in ends:
                far.send(b"x")
            nursery.start_soon(watch, 0)
            nursery.start_soon(watch, 1)
        assert len(served) == 1


async def test_others_get_their_turns_between_many_sockets_that_always_have_something() -> None:
    with ExitStack() as stack:
        ends = [stack.enter_context(both_ends()) for _ in range(SOCKETS_AT_ONCE + 10)]
        told: set[int] = set()
        async with a_set() as (sockets, nursery):
            for near, far in ends:
                far.send(b"x")

                def unread(fileno: int = near.fileno()) -> bool:
                    told.add(fileno)
                    return True

                nursery.start_soon(sockets.watch, near.fileno(), unread)
            while len(told) < len(ends):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def test_without_epoll_there_is_no_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    async with serving() as sockets:
        assert sockets is None
