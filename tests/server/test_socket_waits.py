"""A task's wait for a socket in an epoll set: none of its ends leaves anything behind. Sockets are real; nothing sleeps."""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import outcome
import pytest
import trio
import trio.testing

from tests.socket_ends import both_ends
from trio_voice.server.socket_waits import SocketWait, SocketWaits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")


@pytest.fixture
def epoll() -> Iterator[select.epoll]:
    with select.epoll() as found:
        yield found


@pytest.fixture
def near() -> Iterator[socket.socket]:
    """A socket that is readable, so that it is told of whenever it is in a set."""
    with both_ends() as (found, far):
        far.send(b"x")
        yield found


async def wait(waits: SocketWaits[SocketWait], epoll: select.epoll, fileno: int) -> None:
    await waits.wait(fileno, SocketWait(epoll, trio.lowlevel.current_task()))


@asynccontextmanager
async def one_that_waits(
    waits: SocketWaits[SocketWait], epoll: select.epoll, fileno: int
) -> AsyncIterator[list[Exception | None]]:
    """A task that waits for a socket, and a list of how that ended."""
    ended: list[Exception | None] = []

    async def wait_for_it() -> None:
        try:
            await wait(waits, epoll, fileno)
            ended.append(None)
        except (trio.ClosedResourceError, ZeroDivisionError) as error:
            ended.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_it)
        await trio.testing.wait_all_tasks_blocked()
        yield ended
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_wait_ends_as_it_is_ended_and_may_begin_again(epoll: select.epoll, near: socket.socket) -> None:
    waits, error = SocketWaits[SocketWait](), ZeroDivisionError()
    for how, end in ((outcome.Value(None), None), (outcome.Error(error), error)):
        async with one_that_waits(waits, epoll, near.fileno()) as ended:
            assert epoll.poll(0) == [(near.fileno(), select.EPOLLIN)]
            waits.end(near.fileno(), how)
            waits.end(near.fileno(), how)  # it is over, and nothing happens
        assert ended == [end]
        assert (waits.by_number, epoll.poll(0)) == ({}, [])


async def test_a_wait_that_is_cancelled_leaves_the_set(epoll: select.epoll, near: socket.socket) -> None:
    waits = SocketWaits[SocketWait]()
    async with one_that_waits(waits, epoll, near.fileno()) as ended:
        pass
    assert (ended, waits.by_number, epoll.poll(0)) == ([], {}, [])
    with trio.CancelScope() as scope:
        scope.cancel()
        await wait(waits, epoll, near.fileno())
    assert (scope.cancelled_caught, waits.by_number, epoll.poll(0)) == (True, {}, [])


async def test_one_task_waits_for_a_socket_at_a_time_whatever_the_set(epoll: select.epoll, near: socket.socket) -> None:
    waits = SocketWaits[SocketWait]()
    with select.epoll() as other:
        async with one_that_waits(waits, epoll, near.fileno()) as ended:
            for each in (epoll, other):
                with pytest.raises(trio.BusyResourceError):
                    await wait(waits, each, near.fileno())
            assert (ended, other.poll(0)) == ([], [])


async def test_there_is_no_wait_for_a_socket_that_was_closed_nor_in_a_set_that_was(near: socket.socket) -> None:
    waits, epoll = SocketWaits[SocketWait](), select.epoll()
    epoll.close()
    for fileno in (-1, near.fileno()):
        with pytest.raises(trio.ClosedResourceError):
            await wait(waits, epoll, fileno)
    assert waits.by_number == {}


async def test_a_socket_that_was_closed_without_a_word_hurts_nobody_who_gets_its_number(
    epoll: select.epoll, near: socket.socket
) -> None:
    waits, (lost, far) = SocketWaits[SocketWait](), socket.socketpair()
    number = lost.fileno()
    with far, select.epoll() as other:
        async with one_that_waits(waits, epoll, number) as first:
            lost.close()
            os.dup2(near.fileno(), number)
            async with one_that_waits(waits, other, number) as second:
                assert [type(error) for error in first] == [trio.ClosedResourceError]
                assert (epoll.poll(0), other.poll(0)) == ([], [(number, select.EPOLLIN)])
                waits.release(number)
            assert [type(error) for error in second] == [trio.ClosedResourceError]
        os.close(number)
