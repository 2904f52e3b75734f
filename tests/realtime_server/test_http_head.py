from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_voice.errors import RemoteProtocolError
from trio_voice.realtime_server.http_head import (
    LONGEST_HEAD_BYTES,
    REQUEST_TIMEOUT_S,
    Head,
    parse_head,
    read_body,
    read_head,
    response,
)


async def head_of(*pieces: bytes) -> Head | None:
    client, server = trio.testing.memory_stream_pair()
    for piece in pieces:
        await client.send_all(piece)
    await client.send_eof()
    return await read_head(server)


async def test_a_head_in_pieces_and_what_is_behind_it(autojump_clock: trio.testing.MockClock) -> None:
    head = await head_of(b"GET /x?y=1 HTTP/1.1\r\nHo", b"st: a\r\nUpgrade: WebSocket\r\n\r\n\x81\x80rest")
    assert head == Head("GET", "/x?y=1", {"host": "a", "upgrade": "WebSocket"}, b"\x81\x80rest")
    assert head.is_upgrade


async def test_nothing_is_no_request(autojump_clock: trio.testing.MockClock) -> None:
    assert await head_of() is None
    assert await head_of(b"GET / HT") is None


async def test_a_head_is_bounded_in_bytes_and_time(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(RemoteProtocolError, match="more than 16384 bytes"):
        await head_of(b"GET / HTTP/1.1\r\nX: " + b"x" * LONGEST_HEAD_BYTES)
    _client, server = trio.testing.memory_stream_pair()
    started = trio.current_time()
    with pytest.raises(RemoteProtocolError, match="within 10 s"):
        await read_head(server)
    assert trio.current_time() - started == REQUEST_TIMEOUT_S


def test_garbage_is_no_http() -> None:
    with pytest.raises(RemoteProtocolError, match="no HTTP request"):
        parse_head(b"\x16\x03\x01\r\n\r\n")


def test_repeated_headers_are_one_list() -> None:
    head = parse_head(b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n\r\n")
    assert head.headers["sec-websocket-protocol"] == "a, b"


async def test_a_body_is_read_by_its_length(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()
    head = Head("POST", "/", {"content-length": "6"}, b"abc")
    await client.send_all(b"defghi")
    assert await read_body(server, head) == b"abcdef"
    for headers in ({"content-length": "-1"}, {"transfer-encoding": "chunked"}, {"content-length": "65537"}):
        with pytest.raises(RemoteProtocolError):
            await read_body(server, Head("POST", "/", headers))
    await client.send_eof()
    with pytest.raises(RemoteProtocolError, match="shorter"):
        await read_body(server, Head("POST", "/", {"content-length": "99"}))


def test_a_response_says_its_length() -> None:
    assert response(404, "Not Found", {"a": 1}) == (
        b'HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{"a": 1}\n'
    )
