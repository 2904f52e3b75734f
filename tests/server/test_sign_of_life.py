"""Who is gone without a word is found out, to the moment; and nobody who is only slow, or whom we have kept waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from trio_voice.server.connection import Connection
from trio_voice.server.frames import FrameDecoder, FrameEncoder, Ping, Received
from trio_voice.server.message_socket import SocketClosed
from trio_voice.server.sign_of_life import watch_for_life
from trio_voice.server.wire import wire_of

EVERY_S, LIMIT_S = 1.0, 1.5
GONE = SocketClosed(1006, "no sign of life within 1.5 s")


class Peer:
    """The other end, frame by frame."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._frames = FrameEncoder(masked=False)
        self._decoder = FrameDecoder(masked=True, limit_bytes=65536)

    async def hear(self) -> list[Received]:
        return self._decoder.decode(await self.stream.receive_some())

    async def pong(self) -> None:
        await self.stream.send_all(self._frames.pong(b""))

    async def say(self, text: str) -> None:
        await self.stream.send_all(self._frames.message(text))


class Watched:
    """A connection that is watched, and what came of it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.heard: list[str | bytes] = []
        self.closed: SocketClosed | None = None
        self.closed_at = -1.0

    async def receive(self) -> None:
        try:
            while True:
                self.heard.append(await self.connection.receive())
        except SocketClosed as closed:
            self.closed, self.closed_at = closed, trio.current_time()


@asynccontextmanager
async def watched(near: trio.abc.Stream) -> AsyncIterator[Watched]:
    connection = Connection(wire_of(near), FrameDecoder(masked=False, limit_bytes=65536), FrameEncoder(masked=True), "peer")
    world = Watched(connection)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.receive)
        nursery.start_soon(watch_for_life, connection, EVERY_S, LIMIT_S)
        yield world
        await connection.close()


def assert_gone(world: Watched, at_s: float) -> None:
    assert world.closed is not None
    assert (world.closed.code, world.closed.reason, world.closed_at) == (GONE.code, GONE.reason, at_s)


async def test_r26_a_peer_that_says_nothing_is_asked_and_then_given_up(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    peer = Peer(far)
    async with watched(near) as world:
        assert await peer.hear() == [Ping(b"")]
        assert trio.current_time() == EVERY_S
        await trio.sleep(LIMIT_S - 0.001)
        assert world.closed is None
        await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked()
        assert_gone(world, EVERY_S + LIMIT_S)
        began = trio.current_time()
        await world.connection.close()
        assert trio.current_time() == began  # no goodbye is waited for


async def test_a_peer_that_answers_is_asked_again_and_again(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    peer = Peer(far)
    async with watched(near) as world:
        for _ in range(3):
            asked_at = trio.current_time()
            assert await peer.hear() == [Ping(b"")]
            assert trio.current_time() == asked_at + EVERY_S
            await trio.sleep(LIMIT_S - 0.5)
            await peer.pong()
            await trio.testing.wait_all_tasks_blocked()
        assert world.closed is None
        await trio.sleep(EVERY_S + LIMIT_S)
        await trio.testing.wait_all_tasks_blocked()
        assert_gone(world, 3 * (EVERY_S + LIMIT_S - 0.5) + EVERY_S + LIMIT_S)


@pytest.mark.parametrize(
    ("heard_at", "every_s", "asked_at"), [(0.21, 1.0, 1.2), (0.28, 1.0, 1.2), (0.3, 1.0, 1.3), (0.21, 0.05, 0.26)]
)
async def test_all_who_are_due_within_a_tenth_of_a_second_are_asked_at_its_begin_and_nobody_sooner_than_it_was_heard(
    autojump_clock: trio.testing.MockClock, heard_at: float, every_s: float, asked_at: float
) -> None:
    near, far = trio.testing.memory_stream_pair()
    peer = Peer(far)
    connection = Connection(wire_of(near), FrameDecoder(masked=False, limit_bytes=65536), FrameEncoder(masked=True), "peer")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.receive)
        await trio.sleep(heard_at)
        await peer.pong()
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(watch_for_life, connection, every_s, LIMIT_S)
        assert await peer.hear() == [Ping(b"")]
        assert trio.current_time() == asked_at
        nursery.cancel_scope.cancel()


async def test_whatever_comes_is_a_sign_of_life(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    peer = Peer(far)
    async with watched(near) as world:
        for _ in range(10):  # who speaks is not asked
            await trio.sleep(EVERY_S - 0.25)
            await peer.say("x")
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(EVERY_S)
        assert await peer.hear() == [Ping(b"")]
        await peer.say("too busy for a Pong")
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(LIMIT_S - 0.001)
        assert world.closed is None
        assert len(world.heard) == 11


async def test_a_peer_that_reads_nothing_is_given_up_too(autojump_clock: trio.testing.MockClock) -> None:
    near, _far = trio.testing.lockstep_stream_pair()
    async with watched(near) as world:
        await trio.sleep(EVERY_S + LIMIT_S)
        await trio.testing.wait_all_tasks_blocked()
        assert_gone(world, EVERY_S + LIMIT_S)


async def test_a_peer_that_speaks_but_does_not_take_the_ping_is_given_up_because_half_of_it_may_have_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    peer = Peer(far)
    async with watched(near) as world:
        await trio.sleep(EVERY_S + LIMIT_S / 2)
        await peer.say("I am here")
        await trio.sleep(LIMIT_S / 2)
        await trio.testing.wait_all_tasks_blocked()
        assert world.heard == ["I am here"]
        assert world.closed is not None
        assert (world.closed.code, world.closed.reason) == (1006, "nothing was read within 1.5 s")
        assert world.closed_at == EVERY_S + LIMIT_S


async def test_a_peer_that_we_kept_waiting_ourselves_is_not_given_up(mock_clock: trio.testing.MockClock) -> None:
    """The event loop stood still: when it turns again the limit is over, and the answer has yet to be read."""
    near, far = trio.testing.memory_stream_pair()
    peer = Peer(far)
    async with watched(near) as world:
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(EVERY_S)
        assert await peer.hear() == [Ping(b"")]
        mock_clock.jump(LIMIT_S + 5)
        await trio.testing.wait_all_tasks_blocked()
        assert world.closed is None
        assert await peer.hear() == [Ping(b"")]  # it is asked once more, and has the whole limit again
        await peer.pong()
        await trio.testing.wait_all_tasks_blocked()
        assert world.closed is None
        await far.aclose()
        mock_clock.jump(EVERY_S)


@pytest.mark.parametrize("by_us", [False, True])
async def test_the_watch_ends_with_the_connection(autojump_clock: trio.testing.MockClock, by_us: bool) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with watched(near) as world:
        await trio.sleep(0.25)
        if by_us:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far.aclose)
                await world.connection.close()
        else:
            await far.aclose()
    assert trio.current_time() == EVERY_S + (0 if by_us else 0.2)  # from what was heard last, its end for instance
    assert world.closed is not None
