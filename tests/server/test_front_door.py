"""One port: what comes in decides who answers it, and nobody's failure is anybody else's."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import accumulate
from typing import NoReturn, cast

import pytest
import structlog
import trio
import trio.testing
from attrs import define, field
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from trio_voice.errors import UserError
from trio_voice.server.front_door import FrontDoor, Limits, MediaHandler, MediaRequest, open_listeners, serve
from trio_voice.server.pace import GAP_S
from trio_voice.server.pages import AsgiApp, Pages
from trio_voice.server.websocket import MessageSocket, SocketClosed, client_websocket

PLAIN = b"Host: example.com\r\n\r\n"
UPGRADE = (
    b"Host: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def hello(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """A web application that answers its path."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"page {scope['path']}".encode(), "more_body": False})


async def echo(request: MediaRequest) -> None:
    """A media handler that sends everything back."""
    media = await request.accept()
    while True:
        await media.send(await media.receive())


def door(
    media: MediaHandler = echo, limits: Limits | None = None, draining: trio.Event | None = None, app: AsgiApp = hello
) -> FrontDoor:
    return FrontDoor(
        media, Pages.of(app), trio.Event() if draining is None else draining, frozenset({"twilio"}), limits or Limits()
    )


async def answer(front_door: FrontDoor, stream: trio.abc.HalfCloseableStream) -> None:
    """Answer a connection as trio.serve_listeners has it answered."""
    try:
        await front_door.answer(stream)
    finally:
        await trio.aclose_forcefully(stream)


async def exchange(front_door: FrontDoor, request: bytes) -> bytes:
    """Everything that a client gets which sends `request` and reads to the end."""
    near, far = trio.testing.memory_stream_pair()
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, front_door, far)
        await near.send_all(request)
        while data := await near.receive_some():
            received += data
        await near.aclose()
    return received


@asynccontextmanager
async def connected(front_door: FrontDoor, path: str = "/media/twilio") -> AsyncIterator[MessageSocket]:
    """A carrier's socket through the front door."""
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, front_door, far)
        async with client_websocket(near, "example.com", path, {"X-Twilio-Signature": "abc"}) as client:
            yield client


# --- who answers -------------------------------------------------------------------------------------------------------


async def test_a_plain_request_gets_its_page(autojump_clock: trio.testing.MockClock) -> None:
    received = await exchange(door(), b"GET /some/where HTTP/1.1\r\n" + PLAIN)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"page /some/where" in received


@pytest.mark.parametrize("path", ["/media/twilio", "/media/twilio/", "/media/twilio?a=b"])
async def test_an_upgrade_on_a_media_path_reaches_the_media_handler(path: str) -> None:
    seen: list[MediaRequest] = []

    async def media(request: MediaRequest) -> None:
        seen.append(request)
        await echo(request)

    async with connected(door(media), path) as client:
        await client.send("héllo")
        assert await client.receive() == "héllo"
    assert [(request.dialect, request.path, request.remote) for request in seen] == [("twilio", path, "unknown")]
    assert seen[0].headers["x-twilio-signature"] == "abc"
    assert seen[0].headers["host"] == "example.com"


@pytest.mark.parametrize(
    ("path", "token"), [("/media/twilio", ""), ("/media/twilio/abc-_9", "abc-_9"), ("/media/twilio/abc/?x=/y", "abc")]
)
async def test_what_follows_the_dialect_is_a_call_token(path: str, token: str) -> None:
    seen: list[str] = []

    async def media(request: MediaRequest) -> None:
        seen.append(request.token)
        await echo(request)

    async with connected(door(media), path):
        pass
    assert seen == [token]


async def test_a_token_is_not_repeated_in_an_answer() -> None:
    received = await exchange(door(), b"GET /media/twilio/a-token HTTP/1.1\r\n" + PLAIN)
    assert received.startswith(b"HTTP/1.1 426 ")
    assert b"a-token" not in received


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
async def test_plain_http_on_a_media_path_is_426_and_says_what_to_do(method: bytes) -> None:
    received = await exchange(door(), method + b" /media/twilio HTTP/1.1\r\n" + PLAIN)
    assert received.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"\r\nUpgrade: websocket\r\n" in received
    assert b"connect with a WebSocket (ws:// or wss://)" in received


@pytest.mark.parametrize("path", [b"/media/nobody", b"/media/", b"/media", b"/", b"/x/media/twilio"])
async def test_an_upgrade_on_an_unknown_path_is_404_and_names_the_known_ones(path: bytes) -> None:
    received = await exchange(door(), b"GET " + path + b" HTTP/1.1\r\n" + UPGRADE)
    assert received.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert received.endswith(b"no media stream at " + path + b"; there are: /media/twilio\n")


async def test_a_wish_for_http2_is_answered_with_http_1(autojump_clock: trio.testing.MockClock) -> None:
    head = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n"
    received = await exchange(door(), head)
    assert received.startswith(b"HTTP/1.1 200 ")


async def test_a_draining_server_takes_no_new_stream_but_still_serves_pages(autojump_clock: trio.testing.MockClock) -> None:
    draining = trio.Event()
    front_door = door(draining=draining)
    async with connected(front_door) as running:
        draining.set()
        assert (await exchange(front_door, b"GET /media/twilio HTTP/1.1\r\n" + UPGRADE)).startswith(b"HTTP/1.1 503 ")
        assert (await exchange(front_door, b"GET / HTTP/1.1\r\n" + PLAIN)).startswith(b"HTTP/1.1 200 ")
        await running.send("still here")
        assert await running.receive() == "still here"


# --- bad clients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, b"431 Request Header Fields Too Large"),
        (b"GET / HTTP/1.1\r\n", b"408 Request Timeout"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505 HTTP Version Not Supported"),
    ],
)
async def test_a_bad_head_gets_its_status_a_log_line_and_the_end(
    autojump_clock: trio.testing.MockClock, request_bytes: bytes, status: bytes
) -> None:
    with structlog.testing.capture_logs() as logs:
        received = await exchange(door(), request_bytes)
    assert received.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert [(entry["event"], entry["status"]) for entry in logs] == [("bad request", int(status[:3]))]


async def test_a_head_that_does_not_come_is_given_up_after_exactly_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, door(limits=Limits(head_s=4.0)), far)
        began = trio.current_time()
        assert (await near.receive_some()).startswith(b"HTTP/1.1 408 ")
        assert trio.current_time() - began == 4.0
        await near.aclose()


async def test_a_bad_websocket_handshake_is_answered_and_logged() -> None:
    with structlog.testing.capture_logs() as logs:
        received = await exchange(door(), b"GET /media/twilio HTTP/1.1\r\n" + UPGRADE.replace(b"13", b"8", 1))
    assert received.startswith(b"HTTP/1.1 426 ")
    assert b"sec-websocket-version: 13" in received.lower()
    assert [entry["event"] for entry in logs] == ["bad WebSocket handshake"]


async def test_beyond_the_limit_of_heads_the_oldest_makes_room_and_one_line_says_so(
    autojump_clock: trio.testing.MockClock,
) -> None:
    front_door = door(limits=Limits(heads=2))
    async with trio.open_nursery() as nursery:
        waiting = [trio.testing.memory_stream_pair() for _ in range(2)]
        for _, far in waiting:
            nursery.start_soon(answer, front_door, far)
            await trio.testing.wait_all_tasks_blocked()
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                assert (await exchange(front_door, b"GET / HTTP/1.1\r\n" + PLAIN)).startswith(b"HTTP/1.1 200 ")
        assert [entry["event"] for entry in logs] == ["too many connections without a whole request: closing the oldest"]
        assert await waiting[0][0].receive_some() == b""
        await waiting[1][0].send_all(b"GET / HTTP/1.1\r\n" + PLAIN)
        assert (await waiting[1][0].receive_some()).startswith(b"HTTP/1.1 200 ")
        await waiting[1][0].aclose()


async def reader(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """A web application that reads a body, and then takes its time."""
    more = True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        more = message["more_body"]
    await trio.sleep(5)
    await hello(scope, receive, send)


POST = b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 6\r\n\r\nabc"


async def test_beyond_the_limit_of_heads_the_oldest_body_makes_room_and_a_whole_one_does_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    front_door = door(limits=Limits(heads=2), app=reader)
    async with trio.open_nursery() as nursery:
        clients = []
        for sent in [POST, b"GET / HTTP/1.1\r\n" + PLAIN, POST + b"def", POST]:
            near, far = trio.testing.memory_stream_pair()
            nursery.start_soon(answer, front_door, far)
            await near.send_all(sent)
            await trio.testing.wait_all_tasks_blocked()
            clients.append(near)
        slow, bodiless, whole, newer = clients
        near, far = trio.testing.memory_stream_pair()
        nursery.start_soon(answer, front_door, far)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(1):
            assert await slow.receive_some() == b""
        await newer.send_all(b"def")
        for client in (bodiless, whole, newer):
            assert (await client.receive_some()).startswith(b"HTTP/1.1 200 ")
            await client.aclose()
        await near.aclose()


async def test_at_the_end_those_who_have_asked_nothing_are_let_go_and_those_who_have_are_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def slow(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await trio.sleep(1)
        await hello(scope, receive, send)

    front_door = door(app=slow)
    idle, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, front_door, far)

        async def ask() -> None:
            assert b"page /x" in await exchange(front_door, b"GET /x HTTP/1.1\r\n" + PLAIN)

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        front_door.let_go()
        assert await idle.receive_some() == b""
        assert trio.current_time() == 0
    assert trio.current_time() == 1


async def test_an_answer_that_needs_no_body_ends_the_connection() -> None:
    assert (await exchange(door(), POST)).startswith(b"HTTP/1.1 200 ")


async def test_idle_connections_do_not_keep_a_call_out() -> None:
    front_door = door(limits=Limits(heads=20))
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(answer, front_door, trio.testing.memory_stream_pair()[1])
        await trio.testing.wait_all_tasks_blocked()
        async with connected(front_door) as carrier:
            await carrier.send("hello")
            assert await carrier.receive() == "hello"
        nursery.cancel_scope.cancel()


async def test_r40_heads_that_are_ended_in_the_same_moment_are_answered_one_after_the_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    front_door, at = door(), []

    async def ask(client: trio.abc.ReceiveStream) -> None:
        assert (await client.receive_some()).startswith(b"HTTP/1.1 101 ")
        at.append(trio.current_time())

    async with trio.open_nursery() as connections:
        clients = [trio.testing.memory_stream_pair() for _ in range(20)]
        for near, far in clients:
            connections.start_soon(answer, front_door, far)
            await near.send_all(b"GET /media/twilio HTTP/1.1\r\n")
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            for near, _ in clients:
                nursery.start_soon(ask, near)
                await near.send_all(UPGRADE)
        connections.cancel_scope.cancel()
    assert at == list(accumulate([1.0] + [GAP_S] * 19))


# --- handlers that fail ------------------------------------------------------------------------------------------------


async def test_a_handler_that_fails_before_it_answers_is_500_and_logged_with_its_cause() -> None:
    async def media(request: MediaRequest) -> NoReturn:
        raise ZeroDivisionError

    with structlog.testing.capture_logs() as logs:
        received = await exchange(door(media), b"GET /media/twilio HTTP/1.1\r\n" + UPGRADE)
    assert received.startswith(b"HTTP/1.1 500 ")
    assert [(entry["event"], entry["exc_info"]) for entry in logs] == [("a call failed", True)]


async def test_a_handler_that_fails_in_its_call_closes_it_with_1011_and_the_others_go_on() -> None:
    async def media(request: MediaRequest) -> None:
        socket = await request.accept()
        if await socket.receive() == "fail":
            async with trio.open_nursery():
                raise ZeroDivisionError
        await echo_on(socket)

    async def echo_on(socket: MessageSocket) -> None:
        while True:
            await socket.send(await socket.receive())

    front_door = door(media)
    async with connected(front_door) as well, connected(front_door) as ill:
        await well.send("go on")
        with structlog.testing.capture_logs() as logs:
            await ill.send("fail")
            with pytest.raises(SocketClosed) as closed:
                await ill.receive()
        assert (closed.value.code, closed.value.reason) == (1011, "internal error")
        assert [entry["event"] for entry in logs] == ["a call failed"]
        await well.send("still here")
        assert await well.receive() == "still here"


async def test_a_handler_that_never_answers_is_500() -> None:
    async def media(request: MediaRequest) -> None:
        return

    assert (await exchange(door(media), b"GET /media/twilio HTTP/1.1\r\n" + UPGRADE)).startswith(b"HTTP/1.1 500 ")


async def test_a_handler_can_refuse_with_a_status_and_a_text() -> None:
    async def media(request: MediaRequest) -> None:
        await request.reject(403, "no valid signature")

    received = await exchange(door(media), b"GET /media/twilio HTTP/1.1\r\n" + UPGRADE)
    assert received.startswith(b"HTTP/1.1 403 ")
    assert received.endswith(b"no valid signature\n")


async def test_a_carrier_that_hangs_up_is_no_error_of_the_handler() -> None:
    with structlog.testing.capture_logs() as logs:
        async with connected(door()) as client:
            await client.close()
        await trio.testing.wait_all_tasks_blocked()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("the carrier left", "info")]


# --- the server as a whole ---------------------------------------------------------------------------------------------


@define(eq=False)
class MemoryListener(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    """A listener whose clients connect over memory streams."""

    _arrivals: trio.MemorySendChannel[trio.abc.HalfCloseableStream] = field(init=False)
    _waiting: trio.MemoryReceiveChannel[trio.abc.HalfCloseableStream] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._arrivals, self._waiting = trio.open_memory_channel[trio.abc.HalfCloseableStream](10)

    def connect(self) -> trio.abc.HalfCloseableStream:
        near, far = trio.testing.memory_stream_pair()
        self._arrivals.send_nowait(far)
        return near

    async def accept(self) -> trio.abc.HalfCloseableStream:
        return await self._waiting.receive()

    async def aclose(self) -> None:
        await self._waiting.aclose()


async def test_a_cancelled_server_ends_its_pages_at_once_and_says_goodbye_to_its_calls(
    autojump_clock: trio.testing.MockClock,
) -> None:
    listener = MemoryListener()
    codes: list[int] = []

    async def be_called(task_status: trio.TaskStatus[None]) -> None:
        async with client_websocket(listener.connect(), "example.com", "/media/twilio") as client:
            task_status.started()
            try:
                await client.receive()
            except SocketClosed as closed:
                codes.append(closed.code)

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as server:
                listeners = cast("list[trio.SocketListener]", [listener])
                await server.start(partial(serve, listeners, media=echo, app=hello, draining=trio.Event()))
                idle = listener.connect()
                await nursery.start(be_called)
                await trio.testing.wait_all_tasks_blocked()
                began = trio.current_time()
                scope.cancel()
        assert trio.current_time() == began
        assert await idle.receive_some() == b""
    assert codes == [1001]


# --- taking the port ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (
            errno.EADDRINUSE,
            "port 8080 on 127.0.0.1 is already in use, perhaps by another trio-voice; stop that program, or take another port",
        ),
        (errno.EACCES, "port 8080 needs privileges"),
        (errno.EADDRNOTAVAIL, "this machine has no address 127.0.0.1 (server.host, --host)"),
        (errno.ENOBUFS, "cannot listen on 127.0.0.1 port 8080 (server.host, server.port)"),
    ],
)
async def test_a_port_that_cannot_be_had_is_a_sentence_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    async def refuse(port: int, host: str) -> NoReturn:
        raise OSError(number, "text")

    monkeypatch.setattr(trio, "open_tcp_listeners", refuse)
    with pytest.raises(UserError) as error:
        await open_listeners("127.0.0.1", 8080)
    assert str(error.value).startswith(says)


async def test_a_host_that_is_none_is_a_sentence_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(port: int, host: str) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "text")

    monkeypatch.setattr(trio, "open_tcp_listeners", refuse)
    with pytest.raises(UserError, match=r"the host 'nowhere' \(server.host, --host\) cannot be resolved"):
        await open_listeners("nowhere", 8080)
