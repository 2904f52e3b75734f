"""Sockets behind one wait. They are real; no test waits for time, but for what a poller does."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from contextvars import ContextVar
from functools import partial

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tests.socket_ends import both_ends
from trio_voice.server.poller import (
    FEWEST_PATIENT,
    GATHERED_S,
    PATIENT_AT_ONCE,
    SOCKETS_AT_ONCE,
    Poller,
    Want,
    current_poller,
    polling,
)
from trio_voice.server.timer_file import TimerFile

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")
LIMIT_S = 20.0
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")


@asynccontextmanager
async def a_poller(gathered_s: float = GATHERED_S) -> AsyncIterator[tuple[Poller, trio.Nursery]]:
    """The one that serves this task, and a nursery for those who watch."""
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as background:
            with polling(background, gathered_s=gathered_s):
                poller = current_poller()
                assert poller is not None
                async with trio.open_nursery() as watching:
                    yield poller, watching
                background.cancel_scope.cancel()


async def test_who_watches_is_told_of_all_that_comes_until_it_has_enough() -> None:
    with both_ends() as (near, far):
        got: list[bytes] = []

        def readable() -> Want:
            got.append(near.recv(100))
            if len(got) < 3:
                far.send(b"%d" % len(got))
                return Want.MORE
            return Want.END

        async with a_poller() as (poller, _):
            far.send(b"0")
            await poller.watch(near.fileno(), readable)
            assert got == [b"0", b"1", b"2"]
            far.send(b"3")
            await poller.watch(near.fileno(), lambda: Want.END)  # it may be watched again


async def test_the_function_runs_in_the_context_of_who_watches() -> None:
    with both_ends() as (near, far):
        seen: list[str] = []

        def readable() -> Want:
            seen.append(WHO.get())
            return Want.END

        async def call() -> None:
            WHO.set("a call")
            await poller.watch(near.fileno(), readable)

        async with a_poller() as (poller, nursery):
            nursery.start_soon(call)
            far.send(b"x")
        assert seen == ["a call"]
        assert WHO.get() == "nobody"


async def test_who_has_not_done_all_that_it_could_gets_a_turn_without_anything_new_and_others_theirs_between() -> None:
    with both_ends() as (near, far):
        turns: list[str] = []

        def readable() -> Want:
            if not turns:
                near.recv(100)
            turns.append("watch")
            return Want.TURN if turns.count("watch") < 5 else Want.END

        async def other() -> None:
            while turns.count("watch") < 5:
                turns.append("other")
                await trio.lowlevel.checkpoint()

        async with a_poller() as (poller, nursery):
            far.send(b"x")
            nursery.start_soon(other)
            await poller.watch(near.fileno(), readable)
        assert "other" in turns[turns.index("watch") : -1]


async def test_what_the_function_raises_is_raised_where_it_is_watched_and_nowhere_else() -> None:
    with both_ends() as (near, far), both_ends() as (near_2, far_2):

        def readable() -> Want:
            raise ValueError("broken")

        def good() -> Want:
            near_2.recv(100)
            return Want.END

        async with a_poller() as (poller, nursery):
            nursery.start_soon(poller.watch, near_2.fileno(), good)
            far.send(b"x")
            with pytest.raises(ValueError, match="broken"):
                await poller.watch(near.fileno(), readable)
            far_2.send(b"x")


async def test_what_the_function_raises_after_it_has_ended_its_own_watch_is_logged() -> None:
    with both_ends() as (near, far), capture_logs() as logged:
        scope = trio.CancelScope()

        def broken() -> Want:
            scope.cancel()
            raise ValueError("broken")

        async with a_poller() as (poller, _):
            far.send(b"x")
            with scope:
                await poller.watch(near.fileno(), broken)
    assert scope.cancelled_caught
    assert [(line["log_level"], str(line["exc_info"])) for line in logged] == [("error", "broken")]


async def test_a_watch_that_is_released_or_cancelled_is_over() -> None:
    with both_ends() as (near, far):

        async def released() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await poller.watch(near.fileno(), never)

        def never() -> Want:
            raise AssertionError

        async with a_poller() as (poller, nursery):
            nursery.start_soon(released)
            await trio.testing.wait_all_tasks_blocked()
            poller.release(near.fileno())
            far.send(b"x")
            await trio.testing.wait_all_tasks_blocked()
            poller.release(near.fileno())  # nobody watches: nothing happens
            near.recv(100)
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_when_all_wait, scope)
                await poller.watch(near.fileno(), never)
            assert scope.cancelled_caught
            far.send(b"x")
            await trio.testing.wait_all_tasks_blocked()


async def cancel_when_all_wait(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_a_function_may_release_its_own_socket_and_that_of_another_that_is_due_in_the_same_pass() -> None:
    with both_ends() as (near, far), both_ends() as (near_2, far_2):
        released: list[str] = []

        async def watch(name: str, of: socket.socket, readable: Callable[[], Want]) -> None:
            try:
                await poller.watch(of.fileno(), readable)
            except trio.ClosedResourceError:
                released.append(name)

        def both() -> Want:
            poller.release(near.fileno())
            poller.release(near_2.fileno())
            return Want.MORE

        async with a_poller() as (poller, nursery):
            nursery.start_soon(watch, "one", near, both)
            nursery.start_soon(watch, "two", near_2, both)
            await trio.testing.wait_all_tasks_blocked()
            far.send(b"x")
            far_2.send(b"x")
        assert sorted(released) == ["one", "two"]


async def test_a_socket_is_watched_once_and_a_closed_one_not_at_all() -> None:
    with both_ends() as (near, _):
        async with a_poller() as (poller, nursery):
            nursery.start_soon(poller.watch, near.fileno(), lambda: Want.END)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await poller.watch(near.fileno(), lambda: Want.END)
            with pytest.raises(trio.ClosedResourceError):
                await poller.watch(99_999, lambda: Want.END)
            nursery.cancel_scope.cancel()


async def test_a_socket_that_is_closed_behind_the_pollers_back_hurts_nobody_who_gets_its_number() -> None:
    with both_ends() as (near, _), both_ends() as (_, far_2):
        ends: list[str] = []

        async def first() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await poller.watch(number, lambda: Want.END)
            ends.append("first")

        async with a_poller() as (poller, nursery):
            number = near.fileno()
            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            near.detach()
            os.close(number)
            os.dup2(far_2.fileno(), number)  # another connection with the number of the one that is gone
            nursery.start_soon(poller.watch, number, lambda: Want.END)
            await trio.testing.wait_all_tasks_blocked()
            assert ends == ["first"]
            far_2.shutdown(socket.SHUT_RD)
        os.close(number)


async def test_one_pass_serves_so_many_and_no_more_and_all_get_their_turn() -> None:
    passes: list[int] = []
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as background:
            poller = Poller()
            pairs = [socket.socketpair() for _ in range(SOCKETS_AT_ONCE + 10)]

            def readable(near: socket.socket) -> Want:
                near.recv(1)
                passes.append(trio.lowlevel.current_statistics().tasks_living)
                return Want.END

            async with trio.open_nursery() as watching:
                for near, far in pairs:
                    far.send(b"x")
                    watching.start_soon(poller.watch, near.fileno(), lambda near=near: readable(near))
                await trio.testing.wait_all_tasks_blocked()
                background.start_soon(poller.run)
            assert len(passes) == len(pairs)
            assert passes[0] == passes[SOCKETS_AT_ONCE - 1]  # nobody had its turn meanwhile
            background.cancel_scope.cancel()
    for near, far in pairs:
        near.close()
        far.close()


def patiently(poller: Poller, nursery: trio.Nursery, near: socket.socket, got: list[bytes], *, patient: bool) -> None:
    def readable() -> Want:
        got.append(near.recv(100))
        return Want.MORE

    nursery.start_soon(partial(poller.watch, near.fileno(), readable, patient=patient))


@pytest.mark.parametrize(("others", "gathered_s"), [(FEWEST_PATIENT - 1, LIMIT_S), (FEWEST_PATIENT - 2, LIMIT_S), (60, 0.0)])
async def test_where_many_can_wait_one_that_comes_after_a_pass_is_served_with_the_next_prompt_one(
    others: int, gathered_s: float
) -> None:
    got: list[bytes] = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(both_ends()) for _ in range(others + 2)]
        model, caller = pairs[0][1], pairs[1][1]
        async with a_poller(gathered_s) as (poller, nursery):
            for number, (near, _) in enumerate(pairs):
                patiently(poller, nursery, near, got, patient=number > 0)
            await trio.testing.wait_all_tasks_blocked()
            caller.send(b"1")
            while not got:
                await trio.lowlevel.checkpoint()
            caller.send(b"2")
            await trio.testing.wait_all_tasks_blocked(0.05)
            if others + 1 < FEWEST_PATIENT or not gathered_s:  # with so few nobody waits for another
                assert got == [b"1", b"2"]
            else:
                assert got == [b"1"]
                model.send(b"now")
                while len(got) < 3:
                    await trio.lowlevel.checkpoint()
                assert got == [b"1", b"now", b"2"]
            nursery.cancel_scope.cancel()


async def test_who_cannot_wait_is_served_between_those_who_can() -> None:
    got: list[bytes] = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(both_ends()) for _ in range(2 * PATIENT_AT_ONCE + 1)]
        (model, speaks), *callers = pairs

        def readable(near: socket.socket) -> Want:
            got.append(near.recv(100))
            if len(got) == 1:
                speaks.send(b"now")
            return Want.MORE

        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as background:
                poller = Poller()
                async with trio.open_nursery() as watching:
                    watching.start_soon(poller.watch, model.fileno(), lambda: readable(model))
                    for near, far in callers:
                        watching.start_soon(partial(poller.watch, near.fileno(), partial(readable, near), patient=True))
                        far.send(b"frame")
                    await trio.testing.wait_all_tasks_blocked()
                    background.start_soon(poller.run)
                    while len(got) < len(pairs):
                        await trio.lowlevel.checkpoint()
                    watching.cancel_scope.cancel()
                background.cancel_scope.cancel()
    assert got == [b"frame"] * PATIENT_AT_ONCE + [b"now"] + [b"frame"] * PATIENT_AT_ONCE


@pytest.mark.parametrize(("patient", "wait_ms"), [(FEWEST_PATIENT, 4.0), (50, 4.0), (80, 2.5), (100, 2.0)])
async def test_the_more_can_wait_the_shorter_they_do(monkeypatch: pytest.MonkeyPatch, patient: int, wait_ms: float) -> None:
    waits_s: list[float] = []
    monkeypatch.setattr(TimerFile, "set", lambda _timer, after_s: waits_s.append(after_s))
    got: list[bytes] = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(both_ends()) for _ in range(patient)]
        async with a_poller() as (poller, nursery):
            for near, _ in pairs:
                patiently(poller, nursery, near, got, patient=True)
            await trio.testing.wait_all_tasks_blocked()
            pairs[0][1].send(b"1")
            while not waits_s:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert (got, waits_s[0]) == ([b"1"], wait_ms / 1000)


async def test_where_many_can_wait_none_waits_for_long() -> None:
    got: list[bytes] = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(both_ends()) for _ in range(FEWEST_PATIENT)]
        async with a_poller() as (poller, nursery):
            for near, _ in pairs:
                patiently(poller, nursery, near, got, patient=True)
            for number in range(10):
                pairs[number][1].send(b"%d" % number)
                while len(got) <= number:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert got == [b"%d" % number for number in range(10)]


async def test_a_socket_is_watched_once_whether_it_can_wait_or_not() -> None:
    with both_ends() as (near, _):
        async with a_poller() as (poller, nursery):
            nursery.start_soon(poller.watch, near.fileno(), lambda: Want.END)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await poller.watch(near.fileno(), lambda: Want.END, patient=True)
            nursery.cancel_scope.cancel()


async def test_nobody_polls_outside_the_block() -> None:
    assert current_poller() is None
    async with a_poller():
        assert current_poller() is not None
    assert current_poller() is None
