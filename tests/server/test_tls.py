"""TLS over a wire, with Trio's own at the other end. The sockets are real where something is to leave without waiting."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
import trustme

from tests.server.test_wire import connected_stream
from trio_voice.server.connection import Connection
from trio_voice.server.frames import FrameDecoder, FrameEncoder
from trio_voice.server.message_socket import ALL
from trio_voice.server.poller import polling
from trio_voice.server.tls import TlsWire
from trio_voice.server.websocket import FRAMES_AT_ONCE, MessageSocket, answer_websocket, open_websocket
from trio_voice.server.wire import READ_BYTES, wire_of

HOST = "model.example"
AUTHORITY = trustme.CA()


def server_context(host: str = HOST) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(host).configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def over_memory() -> tuple[TlsWire, trio.SSLStream[trio.abc.Stream]]:
    """A client and a server that have not shaken hands yet."""
    near, far = trio.testing.memory_stream_pair()
    return TlsWire(wire_of(near), client_context(), HOST), trio.SSLStream[trio.abc.Stream](
        far, server_context(), server_side=True
    )


@asynccontextmanager
async def over_tcp() -> AsyncIterator[tuple[TlsWire, trio.SSLStream[trio.SocketStream]]]:
    """The same over TCP, with small buffers, after the handshake."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        far = await connected_stream(listener)
        near = await listener.accept()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        server = trio.SSLStream(far, server_context(), server_side=True, https_compatible=True)
        wire = TlsWire(wire_of(near), client_context(), HOST)
        await shake_hands(wire, server)
        yield wire, server
        await wire.aclose()
        await trio.aclose_forcefully(server)


async def shake_hands(wire: TlsWire, server: trio.SSLStream[trio.SocketStream] | trio.SSLStream[trio.abc.Stream]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        await wire.handshake()


async def test_bytes_go_both_ways_to_the_end() -> None:
    wire, server = over_memory()
    await shake_hands(wire, server)
    await wire.send(b"to you" * 10_000)
    received = b""
    while len(received) < 60_000:
        received += await server.receive_some()
    assert received == b"to you" * 10_000
    await server.send_all(b"to me" * 10_000)
    received = b""
    while len(received) < 50_000:
        data = await wire.receive()
        assert len(data) <= READ_BYTES
        received += data
    assert received == b"to me" * 10_000
    wire.unread(b"again")
    assert await wire.receive() == b"again"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.aclose_forcefully, server)
        assert await wire.receive() == b""  # the end of the connection, without an end of TLS


async def test_the_end_of_tls_is_an_end() -> None:
    wire, server = over_memory()
    await shake_hands(wire, server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.unwrap)
        assert await wire.receive() == b""
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("trusted", "host"), [(False, HOST), (True, "other.example")])
async def test_a_certificate_that_is_not_trusted_or_of_another_host_is_refused(trusted: bool, host: str) -> None:
    near, far = trio.testing.memory_stream_pair()
    wire = TlsWire(wire_of(near), client_context() if trusted else ssl.create_default_context(), HOST)
    server = trio.SSLStream(far, server_context(host), server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_broken, server.do_handshake)  # it is told why
        with pytest.raises(ssl.SSLCertVerificationError):
            await wire.handshake()


async def expect_broken(work: Callable[[], object]) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await work()  # type: ignore[misc]  # an async function


async def test_a_connection_that_ends_during_the_handshake_is_broken() -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.send_eof()
    with pytest.raises(trio.BrokenResourceError):
        await TlsWire(wire_of(near), client_context(), HOST).handshake()


async def test_garbage_in_place_of_tls_is_a_broken_wire() -> None:
    wire, server = over_memory()
    await shake_hands(wire, server)
    await server.transport_stream.send_all(b"x" * 1000)
    with pytest.raises(trio.BrokenResourceError):
        await wire.receive()


def fill(wire: TlsWire) -> bytes:
    """Send until the network takes no more; returns what was sent."""
    sent = b""
    while not wire.unsent:
        piece = bytes([len(sent) // 40_000 % 256]) * 40_000
        assert wire.send_now(piece) == len(piece)
        sent += piece
    return sent


async def test_what_fits_leaves_without_waiting_and_the_rest_is_flushed_in_order() -> None:
    async with over_tcp() as (wire, server):
        assert wire.sends_now
        sent = fill(wire)
        assert wire.send_now(b"not now") == 0
        received = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send, b"")
            while len(received) < len(sent):
                received += await server.receive_some()
        assert received == sent
        assert not wire.unsent
        assert wire.send_now(b"now") == 3
        assert await server.receive_some() == b"now"


async def test_a_reader_is_interrupted_and_can_read_again() -> None:
    async with over_tcp() as (wire, server), trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await wire.receive()

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        wire.interrupt()
        await trio.testing.wait_all_tasks_blocked()
        await server.send_all(b"x")
        assert await wire.receive() == b"x"


async def test_the_servers_side_says_that_it_ends_and_what_waits_is_not_put_out_of_order() -> None:
    near, far = trio.testing.memory_stream_pair()
    client = trio.SSLStream(far, client_context(), server_hostname=HOST)
    async with over_tcp_as_server() as (wire, client_over_tcp):
        assert wire.send_now(b"page") == 4
        assert await client_over_tcp.receive_some() == b"page"
        await wire.aclose()
        assert await client_over_tcp.receive_some() == b""  # TLS's own end: without one this raises
    server = TlsWire(wire_of(near), server_context())
    await trio.aclose_forcefully(client)
    await server.aclose()  # before the handshake there is no end to speak of


@asynccontextmanager
async def over_tcp_as_server() -> AsyncIterator[tuple[TlsWire, trio.SSLStream[trio.SocketStream]]]:
    """Ours is the server."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        far = await connected_stream(listener)
        client = trio.SSLStream(far, client_context(), server_hostname=HOST)
        wire = TlsWire(wire_of(await listener.accept()), server_context())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            await wire.handshake()
        yield wire, client
        await wire.aclose()
        await trio.aclose_forcefully(client)


async def test_a_websocket_over_tls_from_its_url_to_its_close() -> None:
    said: list[str | bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, server_context("localhost"), server_side=True, https_compatible=True)
        async with answer_websocket(tls) as upgrade:
            server: MessageSocket = await upgrade.accept()
            said.append(await server.receive())
            said.append(await server.receive())
            await server.send("x" * 100_000)
            await server.close(4000, "enough")

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        port = listener.socket.getsockname()[1]
        async with open_websocket(f"wss://localhost:{port}/", ssl_context=client_context()) as client:
            assert client.send_now("at once") is ALL
            await client.send(b"y" * 50_000)
            assert await client.receive() == "x" * 100_000
        nursery.cancel_scope.cancel()
    assert said == ["at once", b"y" * 50_000]


async def test_messages_that_came_in_one_read_each_in_a_record_of_its_own_are_handed_over_without_waiting_for_more() -> None:
    texts: list[str | bytes] = [letter * 200 for letter in "abc"]
    taken: list[str | bytes] = []
    encoder = FrameEncoder(masked=False)
    async with trio.open_nursery() as background:
        with polling(background):
            async with over_tcp() as (wire, server), trio.open_nursery() as nursery:
                for message in texts:
                    await server.send_all(encoder.message(message))
                decoder = FrameDecoder(masked=False, limit_bytes=65536, at_once=FRAMES_AT_ONCE)
                nursery.start_soon(Connection(wire, decoder, FrameEncoder(masked=True), "peer").hand_over, taken.append)
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert taken == texts
                nursery.cancel_scope.cancel()
        background.cancel_scope.cancel()
