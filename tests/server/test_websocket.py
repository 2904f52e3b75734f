"""Both ends of a WebSocket back to back over memory streams: what each sees of the other's behaviour, and when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from trio_voice.server.websocket import (
    CARRIER_MESSAGE_BYTES,
    CLOSE_LIMIT_S,
    ConnectFailed,
    MessageSocket,
    SocketClosed,
    answer_websocket,
    client_websocket,
)

HEAD = (
    b"GET /media/twilio HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@asynccontextmanager
async def both_ends(max_message_bytes: int = CARRIER_MESSAGE_BYTES) -> AsyncIterator[tuple[MessageSocket, MessageSocket]]:
    """A client and a server socket that are connected to each other."""
    near, far = trio.testing.memory_stream_pair()
    accepted: list[MessageSocket] = []
    done = trio.Event()

    async def serve() -> None:
        async with answer_websocket(far, remote="192.0.2.1:5060", max_message_bytes=max_message_bytes) as upgrade:
            accepted.append(await upgrade.accept())
            await done.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with client_websocket(near, "example.com", "/media/twilio") as client:
            await trio.testing.wait_all_tasks_blocked()
            yield client, accepted[0]
        done.set()


async def ended(socket: MessageSocket) -> tuple[int, str]:
    """How a socket is over, as its `receive` tells."""
    with pytest.raises(SocketClosed) as closed:
        await socket.receive()
    return closed.value.code, closed.value.reason


async def ended_with(code: int, socket: MessageSocket) -> None:
    assert (await ended(socket))[0] == code


async def read_head(stream: trio.abc.Stream) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await stream.receive_some(1)
    return head


# --- messages ----------------------------------------------------------------------------------------------------------


async def test_text_and_binary_messages_arrive_as_they_were_sent(autojump_clock: trio.testing.MockClock) -> None:
    async with both_ends() as (client, server):
        await client.send("héllo")
        await client.send(b"\x00\xff")
        assert await server.receive() == "héllo"
        assert await server.receive() == b"\x00\xff"
        await server.send("back")
        assert await client.receive() == "back"
        assert server.remote == "192.0.2.1:5060"
        assert client.remote == "example.com"


async def test_the_handshake_answers_no_extension_and_no_subprotocol_that_nobody_asked_for() -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(HEAD + b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: audio\r\nX-A: b\r\n\r\n")
    async with answer_websocket(far) as upgrade:
        assert upgrade.path == "/media/twilio"
        assert ("x-a", "b") in upgrade.headers
        assert upgrade.subprotocols == ("audio",)
        await upgrade.accept()
        answer = (await read_head(near)).lower()
        assert answer.startswith(b"http/1.1 101 ")
        assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in answer  # RFC 6455, section 1.3
        assert b"extensions" not in answer
        assert b"protocol:" not in answer
        await near.aclose()


async def test_a_subprotocol_is_answered_when_it_is_given() -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(HEAD + b"Sec-WebSocket-Protocol: a, audio.example\r\n\r\n")
    async with answer_websocket(far) as upgrade:
        await upgrade.accept("audio.example")
        assert b"sec-websocket-protocol: audio.example" in (await read_head(near)).lower()
        await near.aclose()


@pytest.mark.parametrize("fill", ["a", b"a"])
async def test_a_message_of_exactly_the_limit_arrives_and_one_byte_more_closes_with_1009(
    autojump_clock: trio.testing.MockClock, fill: str | bytes
) -> None:
    async with both_ends(max_message_bytes=1000) as (client, server):
        await client.send(fill * 1000)
        assert await server.receive() == fill * 1000
        await client.send(fill * 1001)
        await client.send(fill * 100_000)  # still on its way when the limit was found exceeded
        assert (await ended(server))[0] == 1009
        assert (await ended(client))[0] == 1009
        with pytest.raises(SocketClosed):
            await server.send("late")
        began = trio.current_time()
        await client.close()
        await server.close()
        assert trio.current_time() == began


async def test_what_follows_an_oversized_message_is_taken_so_that_its_sender_can_read_why_it_was_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """On a real socket, closing on unread data would reset the connection, and the Close would be lost."""
    near, far = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, HEAD + b"\r\n")
        async with answer_websocket(far, max_message_bytes=100) as upgrade:
            nursery.start_soon(read_head, near)
            socket = await upgrade.accept()
            nursery.start_soon(near.send_all, b"\x82\xfe\x00\xc8\x00\x00\x00\x00" + b"x" * 200)
            nursery.start_soon(ended_with, 1009, socket)
            closing = await near.receive_some()
            assert closing[2:4] == (1009).to_bytes(2, "big")
            nursery.start_soon(socket.close)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(1):
                for _ in range(3):
                    await near.send_all(b"and more of it" * 1000)
            assert await near.receive_some() == b""
            await near.send_eof()


# --- the end -----------------------------------------------------------------------------------------------------------


async def test_a_close_is_seen_on_both_sides_with_its_code_and_reason(autojump_clock: trio.testing.MockClock) -> None:
    async with both_ends() as (client, server):
        await server.close(4001, "enough")
        assert await ended(client) == (4001, "enough")
        assert await ended(server) == (4001, "enough")
        with pytest.raises(SocketClosed) as closed:
            await server.send("late")
        assert (closed.value.code, str(closed.value)) == (4001, "the connection was closed (4001: enough)")
        with pytest.raises(SocketClosed):
            await client.send("late")
        await server.close()
        await client.close(1001)
        assert await ended(client) == (4001, "enough")


async def test_messages_sent_before_the_close_are_still_received(autojump_clock: trio.testing.MockClock) -> None:
    async with both_ends() as (client, server), trio.open_nursery() as nursery:
        await client.send("last words")
        nursery.start_soon(client.close)
        assert await server.receive() == "last words"
        assert await ended(server) == (1000, "")


async def test_a_reason_longer_than_a_close_frame_is_cut(autojump_clock: trio.testing.MockClock) -> None:
    async with both_ends() as (client, server):
        await server.close(1011, "é" * 100)
        assert await ended(client) == (1011, "é" * 61)


async def test_a_stream_that_just_ends_is_1006(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(HEAD + b"\r\n")
    async with answer_websocket(far) as upgrade:
        socket = await upgrade.accept()
        await near.aclose()
        assert (await ended(socket))[0] == 1006
        with pytest.raises(SocketClosed):
            await socket.send("x")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x8f\x80\x00\x00\x00\x00", 1002),  # an opcode that does not exist
        (b"\x81\x81\x00\x00\x00\x00\xff", 1007),  # text that is no UTF-8
        (b"\x81\x01a", 1002),  # a client's frame without a mask
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_a_closed_socket(
    autojump_clock: trio.testing.MockClock, frame: bytes, code: int
) -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(HEAD + b"\r\n")
    async with answer_websocket(far) as upgrade:
        socket = await upgrade.accept()
        await near.send_all(frame)
        assert repr((await ended(socket))[0]) == str(code)
        with pytest.raises(SocketClosed):
            await socket.send("x")


async def test_garbage_after_our_close_harms_nobody(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(HEAD + b"\r\n")
    async with answer_websocket(far) as upgrade, trio.open_nursery() as nursery:
        socket = await upgrade.accept()
        nursery.start_soon(socket.close)
        await trio.testing.wait_all_tasks_blocked()
        await near.send_all(b"\x8f\x80\x00\x00\x00\x00" * 3)


async def test_a_peer_that_never_answers_our_close_is_cut_after_exactly_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(HEAD + b"\r\n")
    async with answer_websocket(far) as upgrade:
        socket = await upgrade.accept()
        began = trio.current_time()
        await socket.close()
        assert trio.current_time() - began == CLOSE_LIMIT_S
        await read_head(near)
        assert await near.receive_some() == b"\x88\x02\x03\xe8"  # Close, 1000
        assert await near.receive_some() == b""


async def test_a_close_beside_a_send_that_is_stuck_cuts_the_connection_after_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    outcome: list[float] = []

    async def send(socket: MessageSocket) -> None:
        with pytest.raises(SocketClosed):
            await socket.send("nobody reads this")
        outcome.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, HEAD + b"\r\n")
        async with answer_websocket(far) as upgrade:
            nursery.start_soon(read_head, near)
            socket = await upgrade.accept()
            nursery.start_soon(send, socket)
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            await socket.close()
            assert trio.current_time() - began == CLOSE_LIMIT_S
        await trio.testing.wait_all_tasks_blocked()
        assert outcome == [began + CLOSE_LIMIT_S]


async def test_a_cancelled_send_leaves_half_a_message_so_the_connection_is_cut_without_a_close(
    autojump_clock: trio.testing.MockClock,
) -> None:
    near, far = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, HEAD + b"\r\n")
        async with answer_websocket(far) as upgrade:
            nursery.start_soon(read_head, near)
            socket = await upgrade.accept()
            with trio.move_on_after(1) as scope:
                await socket.send("x" * 100)
            assert scope.cancelled_caught
            began = trio.current_time()
            await socket.close()
            assert trio.current_time() == began
        with pytest.raises(trio.BrokenResourceError):
            await near.send_all(b"x")


# --- the block around a connection -------------------------------------------------------------------------------------


async def test_a_cancelled_server_says_that_it_goes_away(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    left = trio.Event()

    async def serve(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            async with answer_websocket(far) as upgrade:
                socket = await upgrade.accept()
                task_status.started(scope)
                await socket.receive()
        left.set()

    async with trio.open_nursery() as nursery, client_websocket_later(near) as connect:
        scope = await nursery.start(serve)
        client = await connect()
        began = trio.current_time()
        scope.cancel()
        assert await ended(client) == (1001, "")
        await left.wait()
        assert trio.current_time() == began


@asynccontextmanager
async def client_websocket_later(stream: trio.abc.Stream) -> AsyncIterator[Callable[[], Awaitable[MessageSocket]]]:
    """A client whose request is sent at once and whose socket is asked for later."""
    send, receive = trio.open_memory_channel[MessageSocket](1)
    done = trio.Event()

    async def run() -> None:
        async with client_websocket(stream, "example.com", "/") as socket:
            await send.send(socket)
            await done.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield receive.receive
        done.set()


async def test_what_the_block_raises_leaves_it_ungrouped_on_both_sides() -> None:
    near, far = trio.testing.memory_stream_pair()

    async def fail() -> None:
        async with answer_websocket(far) as upgrade:
            await upgrade.accept()
            raise ZeroDivisionError from LookupError("its cause stays")

    async def serve() -> None:
        with pytest.raises(ZeroDivisionError) as raised:
            await fail()
        assert isinstance(raised.value.__cause__, LookupError)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(KeyError):
            async with client_websocket(near, "example.com", "/"):
                raise KeyError


async def test_a_group_that_the_block_raises_stays_the_group_that_it_is() -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(HEAD + b"\r\n")
    with pytest.raises(ExceptionGroup) as raised:
        async with answer_websocket(far):
            raise ExceptionGroup("two", [KeyError(), ValueError()])
    assert raised.value.message == "two"


# --- handshakes that fail ----------------------------------------------------------------------------------------------


async def test_a_rejected_client_learns_status_and_text() -> None:
    near, far = trio.testing.memory_stream_pair()

    async def serve() -> None:
        async with answer_websocket(far) as upgrade:
            await upgrade.reject(403, "no valid signature")
            assert upgrade.status == 403

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(ConnectFailed) as failed:
            async with client_websocket(near, "example.com", "/", name="ws://example.com/"):
                pass
    assert failed.value.status == 403
    assert str(failed.value) == "cannot connect to ws://example.com/: the server answered HTTP 403: no valid signature"


async def refuse(stream: trio.abc.Stream) -> None:
    await read_head(stream)
    await stream.send_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 18\r\n\r\n" + b'{"error":\n  "key"}')


async def speak_something_else(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"220 smtp.example.com ESMTP\r\n\r\n")


async def hang_up(stream: trio.abc.Stream) -> None:
    await read_head(stream)
    await stream.aclose()


async def wrong_accept(stream: trio.abc.Stream) -> None:
    await read_head(stream)
    await stream.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: no\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("server", "says"),
    [
        (refuse, 'the server answered HTTP 401: {"error": "key"}'),
        (speak_something_else, "the other side does not speak the WebSocket protocol"),
        (wrong_accept, "the other side does not speak the WebSocket protocol"),
        (hang_up, "the other side ended the connection during the WebSocket handshake"),
    ],
)
async def test_a_server_that_is_no_websocket_is_a_sentence_at_once(
    autojump_clock: trio.testing.MockClock, server: Callable[[trio.abc.Stream], Awaitable[None]], says: str
) -> None:
    near, far = trio.testing.memory_stream_pair()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server, far)
        with pytest.raises(ConnectFailed) as failed:
            async with client_websocket(near, "example.com", "/"):
                pass
    assert says in str(failed.value)
    assert trio.current_time() == began


async def test_a_server_that_never_answers_is_given_up_after_exactly_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    near, _far = trio.testing.memory_stream_pair()
    began = trio.current_time()
    with pytest.raises(ConnectFailed, match="no answer"):
        async with client_websocket(near, "example.com", "/", handshake_timeout_s=3.0):
            pass
    assert trio.current_time() - began == 3.0


@pytest.mark.parametrize(
    "request_head",
    [
        HEAD.replace(b"Sec-WebSocket-Key", b"X-Key") + b"\r\n",
        HEAD.replace(b"Version: 13", b"Version: 12") + b"\r\n",
        HEAD.replace(b"Host: example.com", b"Host: a..b\xff") + b"\r\n",
        HEAD.replace(b"GET", b"POST") + b"\r\n",
        b"\x16\x03\x01\x02\x00 a TLS hello\r\n\r\n",
    ],
)
async def test_a_bad_upgrade_request_ends_its_own_connection_at_once(
    autojump_clock: trio.testing.MockClock, request_head: bytes
) -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(request_head)
    began = trio.current_time()
    with pytest.raises(ConnectFailed):
        async with answer_websocket(far):
            pass
    assert trio.current_time() == began
    answer = b""
    while data := await near.receive_some():
        answer += data
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


async def test_an_upgrade_request_that_does_not_come_is_given_up_after_exactly_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    _near, far = trio.testing.memory_stream_pair()
    began = trio.current_time()
    with pytest.raises(ConnectFailed):
        async with answer_websocket(far, handshake_timeout_s=7.0):
            pass
    assert trio.current_time() - began == 7.0


async def test_a_client_that_left_before_the_answer_is_a_closed_socket() -> None:
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(HEAD + b"\r\n")
    async with answer_websocket(far) as upgrade:
        await near.aclose()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(SocketClosed):
            await upgrade.accept()
