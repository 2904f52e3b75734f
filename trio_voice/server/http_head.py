"""The head of an HTTP request, read within bounds, and the short answers that need no web application."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import h11
import trio
from attrs import define, frozen

from trio_voice.errors import RemoteProtocolError

READ_BYTES = 4096
LINGER_S = 1.0
"""How long a refused client may take to read its answer."""
LINGER_BYTES = 64 * 1024
"""How much of what it still sends is read meanwhile."""


class HeadError(RemoteProtocolError):
    """The client did not send an acceptable request head; `status` is the HTTP answer to it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@frozen
class Head:
    """A parsed request head."""

    method: str
    target: str
    """Path and query, as sent."""
    http_version: str
    headers: Mapping[str, str]
    """Names in lower case; the values of a repeated header are joined, as HTTP allows."""
    raw: bytes
    """Everything that was read to get here: the head, and `rest`."""
    rest: bytes
    """What came in the same piece behind the head."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def wants_websocket(self) -> bool:
        """The client asks for an upgrade to a WebSocket (RFC 6455, section 4.2.1)."""
        tokens = {token.strip().lower() for token in self.headers.get("connection", "").split(",")}
        return "upgrade" in tokens and self.headers.get("upgrade", "").lower() == "websocket"

    @property
    def has_body(self) -> bool:
        """A body follows (RFC 9112, section 6.3)."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"

    def without_upgrade(self) -> bytes:
        """Everything that was read, with any wish for another protocol (HTTP/2 in the clear) taken out of the head.

        A server may ignore such a wish (RFC 9110, section 7.8).
        """
        if "upgrade" not in self.headers:
            return self.raw
        kept = [(name, value) for name, value in self.headers.items() if name not in ("upgrade", "connection", "http2-settings")]
        lines = [f"{self.method} {self.target} HTTP/{self.http_version}", *(f"{name}: {value}" for name, value in kept)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.rest


async def read_head(stream: trio.abc.ReceiveStream, *, max_bytes: int, timeout_s: float) -> Head | None:
    """Read a request head from a new connection; None when the client left without a request.

    Raises HeadError: 400 for what is no HTTP, 408 after `timeout_s`, 431 beyond `max_bytes`, 505 for another version than 1.
    """
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=max_bytes)
    raw = b""
    with trio.move_on_after(timeout_s):
        while True:
            data = await stream.receive_some(min(READ_BYTES, max_bytes - len(raw)))
            if not data:
                return None
            raw += data
            request = _parse(parser, data)
            if request is not None:
                return _head(request, raw, parser.trailing_data[0])
            if len(raw) >= max_bytes:
                raise HeadError(431, f"the request head is longer than {max_bytes} bytes")
    raise HeadError(408, f"no complete request head within {timeout_s:g} s")


def _parse(parser: h11.Connection, data: bytes | bytearray) -> h11.Request | None:
    try:
        parser.receive_data(bytes(data))
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise HeadError(error.error_status_hint, f"not a valid HTTP request: {error}") from None
    return event if isinstance(event, h11.Request) else None


def _head(request: h11.Request, raw: bytes, rest: bytes) -> Head:
    version = request.http_version.decode("ascii")
    if version not in ("1.0", "1.1"):
        raise HeadError(505, f"HTTP/{version} is not spoken here, only HTTP/1.1")
    headers: dict[str, str] = {}
    for key, value in request.headers:
        name, text = key.decode("latin-1").lower(), value.decode("latin-1")
        separator = "; " if name == "cookie" else ", "
        headers[name] = f"{headers[name]}{separator}{text}" if name in headers else text
    return Head(request.method.decode("ascii"), request.target.decode("ascii"), version, headers, raw, rest)


async def answer_plainly(
    stream: trio.abc.HalfCloseableStream, status: int, text: str, headers: Mapping[str, str] | None = None
) -> None:
    """Send a short text as the whole answer, and wait a moment for the client to take it.

    Closing at once would reset the connection when something of the client's is still unread, and its answer would be lost.
    """
    body = f"{text}\n".encode()
    fields = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **(headers or {}),
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    with trio.move_on_after(LINGER_S):
        await stream.send_all("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        await stream.send_eof()
        left = LINGER_BYTES
        while left > 0 and (data := await stream.receive_some(min(READ_BYTES, left))):
            left -= len(data)


@define(eq=False)
class ReplayingStream(trio.abc.HalfCloseableStream):
    """A stream that first gives what was already read from it, so that another reader can start from the beginning."""

    _replay: bytes
    _stream: trio.abc.HalfCloseableStream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive what was replayed, then what comes."""
        if not self._replay:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = len(self._replay) if max_bytes is None else max_bytes
        data, self._replay = self._replay[:size], self._replay[size:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, as the stream does."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait, as the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Send no more, as the stream does."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
