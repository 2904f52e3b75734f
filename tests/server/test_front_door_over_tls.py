"""One port over TLS, where the server has a certificate of its own: pages and media streams, as without."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import accumulate
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from tests.server.certificate_files import HOST, client_context, pair_in
from tests.server.test_front_door import PLAIN, answer, echo, exchange
from trio_voice.server.certificates import ServerCertificate
from trio_voice.server.front_door import FrontDoor, Limits
from trio_voice.server.pace import GAP_S
from trio_voice.server.pages import Pages
from trio_voice.server.websocket import client_websocket


async def scheme(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """A web application that answers what its client speaks: it makes cookies for TLS alone by that."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"page by {scope['scheme']}".encode(), "more_body": False})


@pytest.fixture
def door(tmp_path: Path) -> FrontDoor:
    pair = pair_in(tmp_path)
    certificate = ServerCertificate(pair.certificate, pair.key)
    return FrontDoor(echo, Pages.of(scheme, scheme="https"), trio.Event(), frozenset({"twilio"}), Limits(), certificate)


@asynccontextmanager
async def connected(door: FrontDoor, context: ssl.SSLContext | None = None) -> AsyncIterator[trio.SSLStream[trio.abc.Stream]]:
    """A client's end of a connection, before the handshake."""
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, door, far)
        yield trio.SSLStream[trio.abc.Stream](near, context or client_context(), server_hostname=HOST)
        await trio.aclose_forcefully(near)


async def test_a_page_over_tls_ends_as_tls_does(door: FrontDoor) -> None:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, door.answer, [listener])
        tcp = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        async with trio.SSLStream(tcp, client_context(), server_hostname=HOST) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n" + PLAIN)
            received = b""
            while data := await stream.receive_some():  # an end without TLS's own would raise
                received += data
        nursery.cancel_scope.cancel()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"page by https" in received


async def test_a_media_stream_over_tls(autojump_clock: trio.testing.MockClock, door: FrontDoor) -> None:
    async with connected(door) as stream, client_websocket(stream, HOST, "/media/twilio") as client:
        await client.send("héllo" * 10_000)
        assert await client.receive() == "héllo" * 10_000


async def test_who_speaks_no_tls_is_told_so(autojump_clock: trio.testing.MockClock, door: FrontDoor) -> None:
    received = await exchange(door, b"GET / HTTP/1.1\r\n" + PLAIN)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.endswith(b"\r\n\r\nTLS is spoken here: use https:// (for media streams wss://)\n")


async def test_garbage_and_a_client_that_does_not_trust_us_end_their_own_connection_alone(
    autojump_clock: trio.testing.MockClock, door: FrontDoor
) -> None:
    with structlog.testing.capture_logs() as logs:
        assert b"HTTP" not in await exchange(door, b"\x16\x03\x01garbage")
        async with connected(door, ssl.create_default_context()) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await stream.do_handshake()
            await trio.testing.wait_all_tasks_blocked()
        async with connected(door) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n" + PLAIN)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
    assert [(line["event"], line["log_level"]) for line in logs] == [("no TLS", "info"), ("the client left", "debug")]


async def test_a_handshake_that_does_not_come_is_given_up_at_the_limit_of_a_head(
    autojump_clock: trio.testing.MockClock, door: FrontDoor
) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, door, far)
        assert await near.receive_some() == b""
        assert trio.current_time() == Limits().head_s


async def test_handshakes_count_as_connections_without_a_whole_request(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    pair = pair_in(tmp_path)
    certificate = ServerCertificate(pair.certificate, pair.key)
    door = FrontDoor(echo, Pages.of(scheme), trio.Event(), frozenset({"twilio"}), Limits(heads=1), certificate)
    idle, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, door, far)
        await trio.testing.wait_all_tasks_blocked()
        async with connected(door) as stream, client_websocket(stream, HOST, "/media/twilio") as client:
            assert await idle.receive_some() == b""  # the older one has made room
            await client.send("x")
            assert await client.receive() == "x"


async def test_r40_clients_that_say_hello_in_the_same_moment_agree_on_keys_one_after_the_other(
    autojump_clock: trio.testing.MockClock, door: FrontDoor
) -> None:
    at = []

    async def agree() -> None:
        async with connected(door) as stream:
            await stream.do_handshake()
            at.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(agree)
    assert at == list(accumulate([0.0] + [GAP_S] * 4))
