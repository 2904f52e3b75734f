"""Hypercorn on a stream of ours: what its glue relies on, and the habits of it that are bounded."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from trio_voice.server.pages import SEND_LIMIT_S, Names, Pages

NAMES = Names(socket.AF_INET, ("192.0.2.7", 4711), ("192.0.2.1", 8080))
POST = b"POST /p%20q?r=s HTTP/1.1\r\nHost: example.com\r\nContent-Length: 6\r\n\r\n"


async def echo(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answer with what was asked."""
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        more = message["more_body"]
    text = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} {scope['client']} {body.decode()}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text, "more_body": False})


async def endless(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answer without an end."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})


async def broken(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    raise ZeroDivisionError


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    answer = b""
    while data := await stream.receive_some():
        answer += data
    return answer


async def test_a_request_whose_head_was_already_read_is_answered_with_its_body(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Pages.of(echo).serve, POST + b"abc", far, NAMES)
        await near.send_all(b"def")
        answer = await read_all(near)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"POST /p q r=s ('192.0.2.7', 4711) abcdef"
    assert b"hypercorn" not in head
    assert trio.current_time() == began


async def test_a_connection_carries_one_request_so_that_the_next_one_meets_the_front_door() -> None:
    near, far = trio.testing.memory_stream_pair()
    request = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Pages.of(echo).serve, request + request, far, NAMES)
        answer = await read_all(near)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"\r\nconnection: close\r\n" in answer.lower()


@pytest.mark.parametrize("app", [endless, echo])
async def test_cancellation_ends_a_connection_at_once_even_in_a_send_that_nobody_reads(
    autojump_clock: trio.testing.MockClock, app: Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
) -> None:
    _near, far = trio.testing.lockstep_stream_pair()
    began = trio.current_time()
    with trio.move_on_after(5.0):
        await Pages.of(app).serve(POST, far, NAMES)
    assert trio.current_time() - began == 5.0


async def test_a_client_that_does_not_read_is_given_up_after_exactly_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    _near, far = trio.testing.lockstep_stream_pair()
    began = trio.current_time()
    with trio.fail_after(2 * SEND_LIMIT_S):
        await Pages.of(endless).serve(POST, far, NAMES)
    assert trio.current_time() - began == SEND_LIMIT_S


async def test_an_application_that_fails_answers_500_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Pages.of(broken).serve, POST, far, NAMES)
        assert (await read_all(near)).startswith(b"HTTP/1.1 500 ")
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


def test_a_peer_is_named_by_address_and_port() -> None:
    assert str(NAMES) == "192.0.2.7:4711"
    assert str(Names(socket.AF_INET6, ("2001:db8::1", 80, 0, 0), ())) == "[2001:db8::1]:80"
    near, _far = trio.testing.memory_stream_pair()
    assert Names.of(near) == Names(socket.AF_UNSPEC, (), ())
    assert str(Names.of(near)) == "unknown"
