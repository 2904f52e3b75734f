"""The head of a request on the server's port: read within bounds, and told whether it is an upgrade.

The bytes that were read are replayed to whoever takes the connection over.
"""

from __future__ import annotations

import json
from typing import Any

import h11
import trio
from attrs import define, frozen

from trio_voice.errors import RemoteProtocolError

LONGEST_HEAD_BYTES = 16 * 1024
HEAD_TIMEOUT_S = 10.0


@frozen
class Head:
    """A request's first line and headers (names in lower case), and the bytes they were read from."""

    method: str
    target: str
    headers: dict[str, str]
    bytes_read: bytes

    @property
    def is_upgrade(self) -> bool:
        """Whether the client asks for a WebSocket."""
        return "websocket" in self.headers.get("upgrade", "").lower()


async def read_head(stream: trio.abc.Stream) -> Head | None:
    """Read a request's head; None when the peer closed without one.

    Raises RemoteProtocolError when it is no HTTP, longer than 16 KiB, or not there within 10 s.
    """
    data = b""
    with trio.move_on_after(HEAD_TIMEOUT_S) as scope:
        while b"\r\n\r\n" not in data:
            try:
                more = await stream.receive_some(4096)
            except trio.BrokenResourceError:
                return None
            if not more:
                return None
            data += more
            if len(data) > LONGEST_HEAD_BYTES:
                raise RemoteProtocolError(f"a request head of more than {LONGEST_HEAD_BYTES} bytes")
    if scope.cancelled_caught:
        raise RemoteProtocolError(f"no request within {HEAD_TIMEOUT_S:g} s")
    return parse_head(data)


def parse_head(data: bytes) -> Head:
    """Parse a complete head. Raises RemoteProtocolError."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD_BYTES)
    parser.receive_data(data)
    try:
        request = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise RemoteProtocolError(f"no HTTP request: {error}") from None
    if not isinstance(request, h11.Request):
        raise RemoteProtocolError("no HTTP request")
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in request.headers}
    return Head(request.method.decode("ascii"), request.target.decode("latin-1"), headers, data)


@define
class ReplayedStream(trio.abc.Stream):
    """A stream that first gives again what was read from it."""

    _stream: trio.abc.Stream
    _replay: bytes

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return bytes; those that were read before come first."""
        if self._replay:
            await trio.lowlevel.checkpoint()
            size = len(self._replay) if max_bytes is None else max_bytes
            data, self._replay = self._replay[:size], self._replay[size:]
            return data
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending might not block."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()


def response(status: int, reason: str, body: Any) -> bytes:
    """Return a whole HTTP response with a JSON body that ends the connection."""
    content = json.dumps(body).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + content
