"""The stream under a WebSocket and the task that reads it; whole conversations are in test_websocket.py."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest
import trio
import trio.testing
from trio_websocket import WebSocketRequest, wrap_server_stream

from trio_voice.server.dial import ConnectFailed
from trio_voice.server.websocket_reader import Reader, WatchedStream, nursery_for

HEAD = (
    b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_a_stream_says_that_it_is_over_at_its_end_and_when_it_is_closed() -> None:
    near, far = trio.testing.memory_stream_pair()
    said: list[str] = []
    stream = WatchedStream(far)
    stream.on_over = lambda: said.append("over")
    await near.send_all(b"x")
    assert await stream.receive_some() == b"x"
    assert said == []
    await near.send_eof()
    assert await stream.receive_some() == b""
    assert said == ["over"]
    await stream.aclose()
    assert said == ["over", "over"]
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()
    assert said == ["over", "over", "over"]


async def test_only_a_cancelled_send_tears_a_stream(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    stream = WatchedStream(far)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.receive_some)
        await stream.send_all(b"x")
    assert not stream.torn
    with trio.move_on_after(1):
        await stream.send_all(b"xyz")
    assert stream.torn


async def test_draining_sends_the_end_and_reads_to_the_end(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(b"x" * 1_000_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(WatchedStream(far).drain)
        assert await near.receive_some() == b""
        await trio.sleep(1)
        await near.send_eof()
    assert trio.current_time() == 1.0


async def test_draining_a_closed_stream_is_no_error() -> None:
    _near, far = trio.testing.memory_stream_pair()
    await far.aclose()
    await WatchedStream(far).drain()


async def test_a_reader_outlives_a_cancellation_until_its_block_ends(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(HEAD)
    reader = Reader(WatchedStream(far))

    def start(nursery: trio.Nursery) -> Awaitable[WebSocketRequest]:
        return wrap_server_stream(nursery, far)

    with trio.CancelScope() as scope:
        async with nursery_for(reader) as nursery:
            await nursery.start(reader.run, start)
            scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                assert not reader.ended.is_set()
    assert reader.ended.is_set()


async def test_a_reader_in_its_handshake_can_be_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    _near, far = trio.testing.memory_stream_pair()
    reader = Reader(WatchedStream(far))

    def start(nursery: trio.Nursery) -> Awaitable[WebSocketRequest]:
        return wrap_server_stream(nursery, far)

    with trio.move_on_after(3) as scope:
        async with nursery_for(reader) as nursery:
            await nursery.start(reader.run, start)
    assert scope.cancelled_caught
    assert trio.current_time() == 3.0


async def test_a_handshake_on_a_stream_that_ends_fails_at_once(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    watched = WatchedStream(far)
    reader = Reader(watched)

    def start(nursery: trio.Nursery) -> Awaitable[WebSocketRequest]:
        return wrap_server_stream(nursery, watched)

    await near.send_eof()
    with pytest.raises(ConnectFailed, match="ended the connection during the WebSocket handshake"):
        async with nursery_for(reader) as nursery:
            await nursery.start(reader.run, start)
    assert trio.current_time() == 0.0


async def test_an_error_that_is_nobodys_protocol_is_not_swallowed() -> None:
    _near, far = trio.testing.memory_stream_pair()
    reader = Reader(WatchedStream(far))

    async def start(nursery: trio.Nursery) -> WebSocketRequest:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        async with nursery_for(reader) as nursery:
            await nursery.start(reader.run, start)
