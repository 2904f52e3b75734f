"""Those who are at the door are woken a few at a time, whatever they do at once. Sockets are real; no test waits for time."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio
import trio.testing

from tests.socket_ends import both_ends
from trio_voice.server.poller import SOCKETS_AT_ONCE, Want, polling
from trio_voice.server.waiting_room import WOKEN_AT_ONCE, WaitingRoom, current_room, waiting_room
from trio_voice.server.wire import wire_of

LIMIT_S = 20.0
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")


@asynccontextmanager
async def a_room() -> AsyncIterator[tuple[WaitingRoom, trio.Nursery]]:
    """The one that is at this task's door, and a nursery for those who wait."""
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as background:
            with waiting_room(background), polling(background):
                room = current_room()
                assert room is not None
                async with trio.open_nursery() as waiting:
                    yield room, waiting
                background.cancel_scope.cancel()


async def test_r40_of_many_a_few_are_woken_at_a_time_and_those_first_who_were_ready_first() -> None:
    woken: list[int] = []
    at: list[float] = []
    clock = trio.lowlevel.current_clock()
    with ExitStack() as stack:
        pairs = [stack.enter_context(both_ends()) for _ in range(10 * WOKEN_AT_ONCE)]
        async with a_room() as (room, waiting):

            async def wait(number: int) -> None:
                await room.wait_readable(pairs[number][0].fileno())
                woken.append(number)
                at.append(clock.current_time())

            for number in range(len(pairs)):
                waiting.start_soon(wait, number)
            await trio.testing.wait_all_tasks_blocked()
            for _, far in pairs:
                far.send(b"x")
    assert sorted(woken) == list(range(len(pairs)))
    in_goes = [woken[begin : begin + WOKEN_AT_ONCE] for begin in range(0, len(woken), WOKEN_AT_ONCE)]
    assert [number for go in in_goes for number in sorted(go)] == sorted(woken)  # within a go Trio takes them in any order


async def test_r40_a_model_is_heard_before_a_crowd_that_leaves_at_once() -> None:
    count, gone, gone_before_the_model = 4 * SOCKETS_AT_ONCE, list[bytes | bytearray](), list[int]()
    with ExitStack() as stack, both_ends() as (model, speaks):
        pairs = [socket.socketpair() for _ in range(count)]
        for pair in pairs:
            for end in pair:
                stack.enter_context(end)
        async with a_room() as (_, waiting):

            def heard() -> Want:
                gone_before_the_model.append(len(gone))
                return Want.END

            async def listen() -> None:
                await wire_of(trio.SocketStream(trio.socket.from_stdlib_socket(model))).watch(heard)

            async def wait(near: socket.socket) -> None:
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
                gone.append(await wire_of(stream, at_the_door=True).receive())

            for near, _ in pairs:
                waiting.start_soon(wait, near)
            waiting.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            for _, far in pairs:
                far.close()
            speaks.send(b"a word")
    assert gone == [b""] * count
    assert gone_before_the_model[0] <= 2 * WOKEN_AT_ONCE


async def test_a_wait_that_is_released_or_cancelled_is_over() -> None:
    with both_ends() as (near, far):
        async with a_room() as (room, waiting):
            was_closed = trio.Event()

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await room.wait_readable(near.fileno())
                was_closed.set()

            waiting.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await room.wait_readable(near.fileno())
            room.release(near.fileno())
            room.release(near.fileno())  # nobody waits any more, and nothing happens
            await was_closed.wait()
            with trio.CancelScope() as scope:
                scope.cancel()
                await room.wait_readable(near.fileno())
            assert scope.cancelled_caught
            with trio.move_on_after(0.01) as scope:
                await room.wait_readable(near.fileno())
            assert scope.cancelled_caught
            far.send(b"x")
            await room.wait_readable(near.fileno())
            with pytest.raises(trio.ClosedResourceError):
                await room.wait_readable(-1)


async def test_a_socket_that_is_closed_behind_the_rooms_back_hurts_nobody_who_gets_its_number() -> None:
    near, far = socket.socketpair()
    with both_ends() as (other, other_far), far:
        async with a_room() as (room, waiting):

            async def wait_for_the_first() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await room.wait_readable(number)

            number = near.fileno()
            waiting.start_soon(wait_for_the_first)
            await trio.testing.wait_all_tasks_blocked()
            near.close()
            os.dup2(other.fileno(), number)
            other_far.send(b"x")
            await room.wait_readable(number)
            os.close(number)


async def test_a_wire_at_the_door_waits_in_the_room_and_its_close_wakes_who_does() -> None:
    with both_ends() as (near, far):
        async with a_room() as (_, waiting):
            wire = wire_of(trio.SocketStream(trio.socket.from_stdlib_socket(near)), at_the_door=True)
            was_closed = 0

            async def read() -> None:
                nonlocal was_closed
                with pytest.raises(trio.ClosedResourceError):
                    await wire.receive()
                was_closed += 1

            waiting.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            wire.interrupt()
            await trio.testing.wait_all_tasks_blocked()
            assert was_closed == 1
            far.send(b"still there")
            assert await wire.receive() == b"still there"
            waiting.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await wire.aclose()
        assert was_closed == 2


async def test_a_room_that_has_ended_is_closed_and_there_is_none_outside_the_block() -> None:
    assert current_room() is None
    async with a_room() as (room, _):
        assert current_room() is room
    assert current_room() is None
    with both_ends() as (near, _), pytest.raises(trio.ClosedResourceError):
        await room.wait_readable(near.fileno())
