"""The only writer of a socket: its order, its bounds, and who is told what did not leave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
from attrs import define, field

from tests.server.memory_socket import MemorySocket, socket_pair
from trio_voice.server.message_socket import NOTHING, PART, Sent
from trio_voice.server.outbox import Outbox
from trio_voice.server.websocket import SocketClosed


@define
class Told:
    """An outbox at work, its socket, and what its owner was told."""

    outbox: Outbox
    near: MemorySocket
    far: MemorySocket
    overruns: list[float]
    unsent: list[str]
    over_at: float | None = None

    async def run(self) -> None:
        await self.outbox.run()
        self.over_at = trio.current_time()

    async def arrived(self) -> list[str | bytes]:
        """Read all that has left."""
        await trio.testing.wait_all_tasks_blocked()
        messages: list[str | bytes] = []
        with trio.move_on_after(0.001), suppress(SocketClosed):
            while True:
                messages.append(await self.far.receive())
        return messages


@asynccontextmanager
async def working(capacity: int = 1_000_000, **options: int) -> AsyncIterator[Told]:
    near, far = socket_pair(capacity)
    overruns: list[float] = []
    unsent: list[str] = []
    outbox = Outbox(near, on_overrun=lambda: overruns.append(trio.current_time()), on_unsent=unsent.append, **options)
    async with trio.open_nursery() as nursery:
        told = Told(outbox, near, far, overruns, unsent)
        nursery.start_soon(told.run)
        await trio.testing.wait_all_tasks_blocked()
        yield told
        nursery.cancel_scope.cancel()


async def test_messages_leave_in_order(autojump_clock: trio.testing.MockClock) -> None:
    async with working(capacity=1) as told:
        assert [told.outbox.put(message) for message in ("a", b"b", "c")] == [True] * 3
        assert told.near.attempts == ["a"]  # what can leave at once does not wait for the task that writes
        assert told.outbox.queued_bytes == 2
        assert await told.arrived() == ["a", b"b", "c"]
        assert told.outbox.queued_bytes == 0


@define(eq=False)
class NarrowSocket(MemorySocket):
    """It takes the beginning of a message at once, and the rest when `gate` opens."""

    gate: trio.Event = field(factory=trio.Event)

    def send_now(self, message: str | bytes) -> Sent:
        return NOTHING if super().send_now(message) is NOTHING else PART

    async def flush(self) -> None:
        await self.gate.wait()


def narrowed(told: Told) -> NarrowSocket:
    near = told.near
    told.outbox.socket = socket = NarrowSocket("near", near._outward, near._inward, near._over)
    return socket


async def test_a_message_that_left_in_part_is_finished_before_the_next_and_a_clear_waits_only_for_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with working() as told:
        socket = narrowed(told)
        assert told.outbox.put("half")
        assert told.outbox.put("audio", droppable=True)
        await trio.testing.wait_all_tasks_blocked()
        told.outbox.put_first("clear")
        assert told.outbox.put("next")
        assert socket.attempts == ["half"]
        socket.gate.set()
        assert await told.arrived() == ["half", "clear", "next"]
        assert told.outbox.queued_bytes == 0


async def test_a_close_waits_for_the_rest_of_what_left_in_part(autojump_clock: trio.testing.MockClock) -> None:
    async with working() as told:
        socket = narrowed(told)
        told.outbox.put("half")
        told.outbox.close_after(4000)
        await trio.sleep(5)
        assert socket.ended is None
        socket.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert socket.ended == (4000, "")


async def test_the_rest_of_a_message_has_the_same_limit_as_a_whole_one(autojump_clock: trio.testing.MockClock) -> None:
    async with working(send_limit_s=10) as told:
        narrowed(told)
        began = trio.current_time()
        told.outbox.put("half", event_id="1")
        told.outbox.put("waits", event_id="2")
        await trio.sleep(11)
        assert (told.overruns, told.unsent, told.over_at) == ([began + 10], ["1", "2"], began + 10)


async def test_r06_clear_overtakes_what_waits_drops_audio_and_never_cuts_what_has_begun(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with working(capacity=1) as told:
        told.outbox.put("on the wire")
        told.outbox.put("begun", droppable=True)
        await trio.testing.wait_all_tasks_blocked()
        told.outbox.put("audio", droppable=True)
        told.outbox.put("important")
        told.outbox.put("more audio", droppable=True)
        told.outbox.put_first("clear")
        assert told.outbox.queued_bytes == len("clear") + len("important")
        assert await told.arrived() == ["on the wire", "begun", "clear", "important"]
    assert told.unsent == []


async def test_close_after_lets_what_waits_leave_but_for_audio_and_takes_nothing_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with working(capacity=1) as told:
        for message in ("on the wire", "begun", "last words"):
            told.outbox.put(message)
        await trio.testing.wait_all_tasks_blocked()
        told.outbox.put("audio", droppable=True)
        told.outbox.close_after(4000, "enough")
        told.outbox.close_after(1000)
        assert told.outbox.put("late", event_id="x") is False
        told.outbox.put_first("later")
        assert told.near.ended is None
        assert await told.arrived() == ["on the wire", "begun", "last words"]
        assert told.far.ended == (4000, "enough")
        assert told.over_at is not None
    assert told.unsent == []  # who put it was told at once


async def test_r04_what_a_closed_socket_did_not_take_is_told_each_by_its_id(autojump_clock: trio.testing.MockClock) -> None:
    async with working(capacity=1) as told:
        told.outbox.put("on the wire", event_id="0")
        told.outbox.put("begun", event_id="1")
        await trio.testing.wait_all_tasks_blocked()
        told.outbox.put("audio", droppable=True)
        told.outbox.put("waits", event_id="2")
        told.far.end(1006)
        await trio.testing.wait_all_tasks_blocked()
        assert told.unsent == ["1", "2"]
        assert told.over_at == trio.current_time()
        assert told.outbox.put("late", event_id="3") is False
    assert told.overruns == []


async def test_who_is_told_may_answer_with_a_message_and_learns_at_once_that_it_will_not_leave(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answers: list[bool] = []
    async with working(capacity=1) as told:
        told.outbox.on_unsent = lambda event_id: answers.append(told.outbox.put("again", event_id=event_id))
        told.outbox.put("on the wire")
        told.outbox.put("begun", event_id="1")
        told.outbox.put("waits", event_id="2")
        await trio.testing.wait_all_tasks_blocked()
        told.far.end(1006)
        await trio.testing.wait_all_tasks_blocked()
    assert answers == [False, False]
    assert told.near.attempts == ["on the wire", "begun"]


async def test_a_queue_beyond_its_bound_is_one_overrun(autojump_clock: trio.testing.MockClock) -> None:
    async with working(capacity=1, limit_bytes=12) as told:
        told.outbox.put("on the wire")
        await trio.testing.wait_all_tasks_blocked()
        told.outbox.put("begun", event_id="1")
        await trio.testing.wait_all_tasks_blocked()
        assert told.outbox.put("12345", event_id="2")
        assert told.outbox.put("67890", event_id="3")
        assert told.overruns == []
        assert told.outbox.put("xyz", event_id="4") is False
        assert told.outbox.put("y", event_id="5") is False
        told.outbox.put_first("clear")
        told.outbox.close_after()
        assert told.overruns == [trio.current_time()]
        assert told.unsent == ["1", "2", "3", "4"]
        assert told.outbox.queued_bytes == 0


async def test_a_peer_that_does_not_read_one_message_within_the_limit_is_an_overrun_at_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with working(capacity=1, send_limit_s=10) as told:
        began = trio.current_time()
        told.outbox.put("on the wire")
        told.outbox.put("begun", event_id="1")
        told.outbox.put("waits", event_id="2")
        await trio.sleep_until(began + 9.999)
        await trio.testing.wait_all_tasks_blocked()
        assert (told.overruns, told.unsent, told.over_at) == ([], [], None)
        await trio.sleep_until(began + 11)
        assert (told.overruns, told.unsent, told.over_at) == ([began + 10], ["1", "2"], began + 10)
        assert told.near.ended == (1006, "torn")


async def test_a_close_that_waits_behind_a_stuck_message_is_given_up_at_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with working(capacity=1) as told:
        began = trio.current_time()
        told.outbox.put("on the wire")
        told.outbox.put("stuck")
        await trio.testing.wait_all_tasks_blocked()
        told.outbox.close_after()
        await trio.sleep_until(began + 11)
        assert told.over_at == began + 10
        assert told.overruns == [began + 10]


@pytest.mark.parametrize("stuck", [True, False])
async def test_cancelled_it_ends_and_tells_nobody(autojump_clock: trio.testing.MockClock, stuck: bool) -> None:
    async with working(capacity=1) as told:
        told.outbox.put("on the wire")
        if stuck:
            told.outbox.put("begun", event_id="1")
            told.outbox.put("waits", event_id="2")
        await trio.testing.wait_all_tasks_blocked()
    assert (told.unsent, told.overruns) == ([], [])
    assert told.outbox.put("late") is False
