"""Requests on the server's port: head and body, read within bounds. A connection carries one request; WebSockets live on it."""

from __future__ import annotations

import json
from typing import Any

import h11
import trio
from attrs import frozen

from trio_voice.errors import RemoteProtocolError

LONGEST_HEAD_BYTES = 16 * 1024
LONGEST_BODY_BYTES = 64 * 1024
REQUEST_TIMEOUT_S = 10.0
_END_OF_HEAD = b"\r\n\r\n"


@frozen
class Head:
    """A request's first line and headers (names in lower case), and the bytes that came behind it."""

    method: str
    target: str
    headers: dict[str, str]
    rest: bytes = b""

    @property
    def is_upgrade(self) -> bool:
        """Whether the client asks for a WebSocket."""
        return "websocket" in self.headers.get("upgrade", "").lower()


async def read_head(stream: trio.abc.ReceiveStream) -> Head | None:
    """Read a request's head; None when the peer closed without one.

    Raises RemoteProtocolError when it is no HTTP, longer than 16 KiB, or not there within 10 s.
    """
    data = bytearray()
    with trio.move_on_after(REQUEST_TIMEOUT_S) as scope:
        while _END_OF_HEAD not in data:
            more = await stream.receive_some(4096)
            if not more:
                return None
            data += more
            if len(data) > LONGEST_HEAD_BYTES and _END_OF_HEAD not in data:
                raise RemoteProtocolError(f"a request head of more than {LONGEST_HEAD_BYTES} bytes")
    if scope.cancelled_caught:
        raise RemoteProtocolError(f"no request within {REQUEST_TIMEOUT_S:g} s")
    return parse_head(bytes(data))


def parse_head(data: bytes) -> Head:
    """Parse a complete head and keep what is behind it. Raises RemoteProtocolError."""
    head, _, rest = data.partition(_END_OF_HEAD)
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD_BYTES)
    try:
        parser.receive_data(head + _END_OF_HEAD)
        request = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise RemoteProtocolError(f"no HTTP request: {error}") from None
    if not isinstance(request, h11.Request):
        raise RemoteProtocolError("no HTTP request")
    headers: dict[str, str] = {}
    for name, value in request.headers:  # h11 gives names in lower case; repeated headers are one list (RFC 9110)
        key, text = name.decode("ascii"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Head(request.method.decode("ascii"), request.target.decode("latin-1"), headers, rest)


async def read_body(stream: trio.abc.ReceiveStream, head: Head, *, longest_bytes: int = LONGEST_BODY_BYTES) -> bytes:
    """Read a request's body by its Content-Length.

    Raises RemoteProtocolError when it is longer than `longest_bytes`, has no plain length, or is not there within 10 s.
    """
    length_text = head.headers.get("content-length", "0")
    if "transfer-encoding" in head.headers or not length_text.isdecimal():
        raise RemoteProtocolError("a body needs a Content-Length")
    length = int(length_text)
    if length > longest_bytes:
        raise RemoteProtocolError(f"a body of more than {longest_bytes} bytes")
    data = bytearray(head.rest)
    with trio.move_on_after(REQUEST_TIMEOUT_S) as scope:
        while len(data) < length:
            more = await stream.receive_some(4096)
            if not more:
                raise RemoteProtocolError("the body is shorter than its Content-Length")
            data += more
    if scope.cancelled_caught:
        raise RemoteProtocolError(f"no body within {REQUEST_TIMEOUT_S:g} s")
    return bytes(data[:length])


def response(status: int, reason: str, body: Any) -> bytes:
    """Return a whole HTTP response with a JSON body that ends the connection."""
    content = json.dumps(body).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + content
