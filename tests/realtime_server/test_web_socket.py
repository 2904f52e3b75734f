from __future__ import annotations

from socket import socketpair

import trio
import trio.testing

from tests.realtime_server.peer import TARGET, hosting
from tests.realtime_server.test_frames import client_frame
from trio_voice.realtime_server.frames import Opcode
from trio_voice.realtime_server.web_socket import CLOSE_TIMEOUT_S, SEND_TIMEOUT_S, WebSocket


def pair() -> tuple[trio.abc.HalfCloseableStream, WebSocket]:
    client, server = trio.testing.memory_stream_pair()
    return client, WebSocket(server, 1 << 20, 1 << 20)


async def test_one_read_gives_all_its_messages(autojump_clock: trio.testing.MockClock) -> None:
    client, socket = pair()
    await client.send_all(
        client_frame(Opcode.TEXT, b"one") + client_frame(Opcode.TEXT, b"two") + client_frame(Opcode.BINARY, b"3")
    )
    assert await socket.receive() == ["one", "two", b"3"]
    await client.aclose()
    assert await socket.receive() == []
    assert socket.ended == (1006, "the connection was lost")


async def test_bytes_behind_the_head_come_first(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()
    socket = WebSocket(server, 1 << 20, 1 << 20, first_bytes=client_frame(Opcode.TEXT, b"early"))
    await client.send_all(client_frame(Opcode.TEXT, b"later"))
    assert await socket.receive() == ["early"]
    assert await socket.receive() == ["later"]


async def test_what_waits_leaves_in_one_go_and_nothing_follows_a_close(autojump_clock: trio.testing.MockClock) -> None:
    client, socket = pair()
    socket.send(b"one")
    socket.send(b"two")
    socket.close(1000, "")
    socket.send(b"three")
    socket.close(1001, "again")
    await socket.write()
    assert await client.receive_some(1000) == b"\x81\x03one\x81\x03two\x88\x02\x03\xe8"
    assert socket.closed_with == (1000, "")


async def test_a_ping_is_answered_and_a_pong_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    client, socket = pair()
    await client.send_all(client_frame(Opcode.PING, b"abc") + client_frame(Opcode.PONG, b"xyz") + client_frame(Opcode.TEXT, b"t"))
    assert await socket.receive() == ["t"]
    assert socket.pong == b"xyz"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.write)
        assert await client.receive_some(1000) == b"\x8a\x03abc"
        nursery.cancel_scope.cancel()


async def test_a_peer_that_closes_is_answered_with_its_own_code(autojump_clock: trio.testing.MockClock) -> None:
    client, socket = pair()
    await client.send_all(client_frame(Opcode.CLOSE, b"\x03\xe8ok"))
    assert await socket.receive() == []
    assert socket.ended == (1000, "ok")
    await socket.write()
    assert await client.receive_some(1000) == b"\x88\x04\x03\xe8ok"


async def test_finishing_waits_a_little_for_the_peers_close(autojump_clock: trio.testing.MockClock) -> None:
    _client, socket = pair()
    socket.close(1001, "")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.write)
        started = trio.current_time()
        await socket.finish()
        assert trio.current_time() - started == CLOSE_TIMEOUT_S


async def test_a_peer_that_never_reads_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.lockstep_stream_pair()
    socket = WebSocket(server, 1 << 20, 1000)
    overruns = []
    for _ in range(2):
        socket.send(b"x" * 500)
        overruns.append(socket.overrun)
    assert overruns == [False, True]
    started = trio.current_time()
    await socket.write()
    assert trio.current_time() - started == SEND_TIMEOUT_S
    assert socket.ended == (1006, "the peer cannot be written to")
    await client.aclose()


async def test_compression_end_to_end(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        peer = host.dial()
        assert await peer.open(TARGET, deflate=True)
        assert (await peer.until("session.created"))["session"]["model"] == "gpt-realtime-2.1"
        await peer.send("response.cancel", event_id="x" * 200)
        assert (await peer.until("error"))["error"]["event_id"] == "x" * 200


async def test_over_a_socket_a_message_leaves_at_once_and_the_rest_in_order_when_there_is_room() -> None:
    near, far = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socketpair())
    socket, came = WebSocket(near, 1 << 20, 1 << 24), bytearray()
    socket.send(b"one")
    assert await far.receive_some(100) == b"\x81\x03one"
    count = 0
    while not socket._outbox_bytes:
        socket.send(b"%0100d" % count)
        count += 1
    socket.send(b"last")
    socket.close(1000, "")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.write)
        while not came.endswith(b"\x81\x04last\x88\x02\x03\xe8"):
            came += await far.receive_some(1 << 16)
    assert bytes(came) == b"".join(b"\x81\x64%0100d" % number for number in range(count)) + b"\x81\x04last\x88\x02\x03\xe8"
    await near.aclose()
    await far.aclose()


async def test_writing_ends_after_a_close_that_left_at_once() -> None:
    near, far = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socketpair())
    socket = WebSocket(near, 1 << 20, 1 << 20)
    socket.close(1000, "")
    with trio.fail_after(5):
        await socket.write()
        assert await far.receive_some(100) == b"\x88\x02\x03\xe8"
    await near.aclose()
    await far.aclose()


async def test_what_has_come_over_a_socket_is_there_without_waiting() -> None:
    near, far = socketpair()
    near.setblocking(False)
    socket = WebSocket(trio.SocketStream(trio.socket.from_stdlib_socket(near)), 1 << 20, 1 << 20)
    socket.first_bytes = client_frame(Opcode.TEXT, b"early")
    assert socket.fileno() == near.fileno()
    assert [socket.receive_now(), socket.receive_now()] == [["early"], []]
    whole = client_frame(Opcode.TEXT, b"one") + client_frame(Opcode.TEXT, b"two")
    far.send(whole[:12])
    assert socket.receive_now() == ["one"]
    far.send(whole[12:])
    assert socket.receive_now() == ["two"]
    far.close()
    assert socket.receive_now() == []
    assert socket.ended == (1006, "the connection was lost")
    await socket.stream.aclose()


def test_a_memory_stream_has_no_number() -> None:
    _client, socket = pair()
    assert socket.fileno() is None
