"""Bytes over TCP and over any other stream: the same promises. The sockets are real, on the loopback; no test waits for time."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager

import pytest
import trio
import trio.testing
from attrs import define

from trio_voice.server.poller import SOCKETS_AT_ONCE, Want, polling
from trio_voice.server.wire import READ_BYTES, Wire, WireStream, wire_of

Connected = Callable[[], AbstractAsyncContextManager[tuple[Wire, trio.abc.HalfCloseableStream]]]


async def connected_stream(listener: trio.SocketListener) -> trio.SocketStream:
    """Connect, with a small buffer, set before it can grow: so it can be filled."""
    connecting = trio.socket.socket()
    connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    await connecting.connect(listener.socket.getsockname())
    return trio.SocketStream(connecting)


@asynccontextmanager
async def over_tcp() -> AsyncIterator[tuple[Wire, trio.abc.HalfCloseableStream]]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await connected_stream(listener)
        far = await listener.accept()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        async with near:
            wire = wire_of(far)
            yield wire, near
            await wire.aclose()


@asynccontextmanager
async def over_memory() -> AsyncIterator[tuple[Wire, trio.abc.HalfCloseableStream]]:
    near, far = trio.testing.memory_stream_pair()
    yield wire_of(far), near


KINDS = pytest.mark.parametrize("connected", [over_tcp, over_memory])


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    data = b""
    while more := await stream.receive_some():
        data += more
    return data


async def send_for_ever(wire: Wire) -> None:
    while True:
        await wire.send(b"x" * 1000)


@KINDS
async def test_bytes_go_both_ways_to_the_end(connected: Connected) -> None:
    async with connected() as (wire, peer):
        await wire.send(b"to you")
        assert await peer.receive_some() == b"to you"
        await peer.send_all(b"to me")
        assert await wire.receive() == b"to me"
        await wire.send_eof()
        assert await peer.receive_some() == b""
        await peer.aclose()
        assert await wire.receive() == b""


@KINDS
async def test_what_is_put_back_comes_first(connected: Connected) -> None:
    async with connected() as (wire, peer):
        await peer.send_all(b"last")
        wire.unread(b"second")
        wire.unread(b"first ")
        assert await wire.receive() == b"first second"
        assert await wire.receive() == b"last"


@KINDS
async def test_one_read_is_bounded(connected: Connected) -> None:
    async with connected() as (wire, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.send_all, b"x" * 4 * READ_BYTES)
        left = 4 * READ_BYTES
        while left:
            data = await wire.receive()
            assert 0 < len(data) <= READ_BYTES
            left -= len(data)


@KINDS
async def test_a_reader_is_woken_by_an_interruption_and_by_a_close_and_the_wire_can_be_read_again_after_the_first(
    connected: Connected,
) -> None:
    outcomes: list[str] = []

    async def read(wire: Wire) -> None:
        try:
            outcomes.append((await wire.receive()).decode())
        except trio.ClosedResourceError:
            outcomes.append("woken")

    async with connected() as (wire, peer), trio.open_nursery() as nursery:
        wire.interrupt()  # nobody waits: nothing happens
        nursery.start_soon(read, wire)
        await trio.testing.wait_all_tasks_blocked()
        wire.interrupt()
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == ["woken"]
        await peer.send_all(b"data")
        await read(wire)
        assert outcomes == ["woken", "data"]
        nursery.start_soon(read, wire)
        await trio.testing.wait_all_tasks_blocked()
        await wire.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == ["woken", "data", "woken"]
        await wire.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await wire.receive()
        with pytest.raises(trio.ClosedResourceError):
            await wire.send(b"x")


@KINDS
async def test_reading_can_be_cancelled_and_goes_on(connected: Connected) -> None:
    async with connected() as (wire, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await wire.receive()
        assert scope.cancelled_caught
        await peer.send_all(b"x")
        assert await wire.receive() == b"x"


@KINDS
async def test_a_peer_that_is_gone_is_a_broken_wire(connected: Connected) -> None:
    async with connected() as (wire, peer):
        await wire.send(b"unread")  # closing on unread data resets a TCP connection
        await trio.testing.wait_all_tasks_blocked()
        await peer.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await send_for_ever(wire)


async def test_over_tcp_what_fits_leaves_at_once_and_the_rest_waits_for_the_reader() -> None:
    async with over_tcp() as (wire, peer):
        assert wire.sends_now
        assert wire.send_now(b"x" * 100) == 100
        sent = 100
        while taken := wire.send_now(b"x" * 100_000):
            sent += taken
        rest = b"y" * 1_000_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send, rest)
            await trio.testing.wait_all_tasks_blocked()
            wire.interrupt()  # it is the reader who is meant: who writes goes on
            await trio.testing.wait_all_tasks_blocked()
            received = 0
            while received < sent + len(rest):
                received += len(await peer.receive_some())
        assert received == sent + len(rest)


async def test_over_tcp_a_reader_is_interrupted_and_a_writer_beside_it_is_not() -> None:
    woken = trio.Event()

    async def read(wire: Wire) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await wire.receive()
        woken.set()

    async def write(wire: Wire) -> None:
        await wire.send(b"x" * 3_000_000)
        await wire.send_eof()

    async with over_tcp() as (wire, peer), trio.open_nursery() as nursery:
        nursery.start_soon(read, wire)
        nursery.start_soon(write, wire)
        await trio.testing.wait_all_tasks_blocked()
        wire.interrupt()
        await woken.wait()
        assert await read_all(peer) == b"x" * 3_000_000


async def test_over_memory_nothing_can_be_sent_without_waiting() -> None:
    async with over_memory() as (wire, _peer):
        assert not wire.sends_now
        assert wire.send_now(b"x") == 0


async def test_over_tcp_a_closed_wire_touches_no_other_socket_that_has_its_number() -> None:
    async with over_tcp() as (wire, _peer):
        await wire.aclose()
        one, other = socket.socketpair()  # they take the numbers that have just become free
        with one, other:
            with pytest.raises(trio.ClosedResourceError):
                wire.send_now(b"x")
            wire.interrupt()
            await wire.aclose()
            one.send(b"y")
            assert other.recv(10) == b"y"


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
async def test_over_tcp_who_watches_a_wire_is_woken_by_its_close_and_the_next_socket_of_that_number_is_watched_undisturbed() -> (
    None
):
    woken: list[str] = []

    async def watch(wire: Wire, name: str) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await wire.watch(lambda: Want.MORE)
        woken.append(name)

    with trio.fail_after(20):
        async with trio.open_nursery() as background:
            with polling(background):
                async with trio.open_nursery() as nursery, over_tcp() as (wire, _peer):
                    assert wire.is_polled
                    nursery.start_soon(watch, wire, "first")
                    await trio.testing.wait_all_tasks_blocked()
                    await wire.aclose()
                    wire.interrupt()  # it is closed, and its watcher has yet to run
                    async with over_tcp() as (other, _):  # it takes the number
                        nursery.start_soon(watch, other, "second")
                        await trio.testing.wait_all_tasks_blocked()
                        assert woken == ["first"]
                        other.interrupt()
            background.cancel_scope.cancel()
    assert woken == ["first", "second"]


@define(eq=False)
class Passes(trio.abc.Instrument):
    """How many steps of tasks there were in the pass of the scheduler that had most."""

    most: int = 0
    _steps: int = 0

    def after_io_wait(self, timeout: float) -> None:
        self._steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._steps += 1
        self.most = max(self.most, self._steps)


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
async def test_of_many_peers_that_leave_at_once_a_bounded_number_is_noticed_in_a_pass() -> None:
    count, gone, passes = 4 * SOCKETS_AT_ONCE, list[bytes | bytearray](), Passes()
    with trio.fail_after(20):
        async with trio.open_nursery() as background:
            with polling(background), ExitStack() as opened:
                pairs = [socket.socketpair() for _ in range(count)]
                for near, far in pairs:
                    opened.enter_context(near)
                    opened.enter_context(far)

                async def wait(near: socket.socket) -> None:
                    wire = wire_of(trio.SocketStream(trio.socket.from_stdlib_socket(near)))
                    gone.append(await wire.receive())

                async with trio.open_nursery() as waiting:
                    for near, _ in pairs:
                        waiting.start_soon(wait, near)
                    await trio.testing.wait_all_tasks_blocked()
                    for _, far in pairs:
                        far.close()
                    trio.lowlevel.add_instrument(passes)
            trio.lowlevel.remove_instrument(passes)
            background.cancel_scope.cancel()
    assert gone == [b""] * count
    assert passes.most <= SOCKETS_AT_ONCE + 4  # they, the poller and this test


@KINDS
async def test_a_wire_can_be_used_as_a_stream_and_taken_over_again(connected: Connected) -> None:
    async with connected() as (wire, peer):
        stream = WireStream(wire)
        await stream.wait_send_all_might_not_block()
        await stream.send_all(bytearray(b"there"))
        assert await peer.receive_some() == b"there"
        await peer.send_all(b"and back")
        assert (await stream.receive_some(3), await stream.receive_some()) == (b"and", b" back")
        assert wire_of(stream, b"what was read") is wire
        assert await wire.receive() == b"what was read"
        await stream.send_eof()
        assert await peer.receive_some() == b""
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")
