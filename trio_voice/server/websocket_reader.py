"""trio-websocket's reader task, kept so that its troubles are nobody else's.

Left alone, it would wait for ever for a handshake that cannot come any more, raise into the nursery when a peer breaks the
protocol, close on unread data so that the peer does not learn why, and end with the first cancellation, before the answer to our
Close is in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import h11
import trio
import wsproto.utilities
from attrs import define, field
from trio_websocket import ConnectionClosed, ConnectionRejected

from trio_voice.server.dial import ConnectFailed

_READER_FAILURES = (
    ConnectionClosed,
    wsproto.utilities.LocalProtocolError,
    wsproto.utilities.RemoteProtocolError,
    h11.LocalProtocolError,
    UnicodeError,
)
"""What trio-websocket's reader lets escape when a peer breaks the protocol: the answer that it tries is illegal by then."""

Opened = TypeVar("Opened")


def _nothing() -> None:
    """Do nothing."""


@define(eq=False)
class WatchedStream(trio.abc.Stream):
    """A stream that says when it is over, and knows whether a cancelled send left half a message behind."""

    _stream: trio.abc.Stream
    on_over: Callable[[], None] = field(default=_nothing, init=False)
    torn: bool = field(default=False, init=False)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, as the stream does; a cancelled send leaves the connection torn."""
        try:
            await self._stream.send_all(data)
        except trio.Cancelled:
            self.torn = True
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """Wait, as the stream does."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive, as the stream does, and say when it is over."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.on_over()
            raise
        if not data:
            self.on_over()
        return data

    async def aclose(self) -> None:
        """Close the stream, and say that it is over."""
        self.on_over()
        await self._stream.aclose()

    async def drain(self) -> None:
        """Send no more; read and drop what still comes, to its end."""
        try:
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            while await self._stream.receive_some(65536):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            return


async def _shake_hands(
    stream: WatchedStream, nursery: trio.Nursery, start: Callable[[trio.Nursery], Awaitable[Opened]]
) -> Opened:
    """Wait for trio-websocket's handshake, or for the end of the stream, which trio-websocket would not notice."""
    with trio.CancelScope() as scope:
        stream.on_over = scope.cancel
        opened = await start(nursery)
        stream.on_over = _nothing
        return opened
    raise ConnectFailed("the other side ended the connection during the WebSocket handshake")


@define(eq=False)
class Reader:
    """Runs trio-websocket's reader task for one connection.

    Once the connection is open the task outlives a cancellation of the block around it, for it is needed to hear the answer to
    our Close; the end of the block stops it.
    """

    _stream: WatchedStream
    _scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    ended: trio.Event = field(factory=trio.Event, init=False)

    async def run(self, start: Callable[[trio.Nursery], Awaitable[Opened]], *, task_status: trio.TaskStatus[Opened]) -> None:
        """Open the connection, which `task_status` gets, and read it to its end.

        Raises ConnectFailed before it is open, and nothing afterwards: a failed reader is seen as a closed connection.
        """
        opened: Opened | None = None
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    opened = await _shake_hands(self._stream, nursery, start)
                    self._scope.shield = True
                    task_status.started(opened)
                # The reader gives up after an oversized message. What is still on its way is dropped here: closing a socket with
                # unread data resets the connection, and the peer would not learn why.
                await self._stream.drain()
        except BaseExceptionGroup as group:
            _, others = group.split((*_READER_FAILURES, ConnectionRejected, ConnectFailed))
            if others is not None:
                raise others from None
            if opened is None:
                raise _connect_failed(group) from None
        finally:
            self.ended.set()

    def stop(self) -> None:
        """End the task, wherever it is."""
        self._scope.cancel()


def _connect_failed(group: BaseExceptionGroup[BaseException]) -> ConnectFailed:
    error = group.exceptions[0]
    if isinstance(error, ConnectFailed):
        return error
    if isinstance(error, ConnectionRejected):
        body = (error.body or b"").decode(errors="replace").strip()
        said = f": {' '.join(body.split())[:300]}" if body else ""
        return ConnectFailed(f"the server answered HTTP {error.status_code}{said}", status=error.status_code, body=body)
    return ConnectFailed(f"the other side does not speak the WebSocket protocol ({error})")


@asynccontextmanager
async def nursery_for(reader: Reader) -> AsyncIterator[trio.Nursery]:
    """Open a nursery for the reader, which ends with the block; what the block raises leaves as it is, not in a group."""
    group: BaseExceptionGroup[BaseException] | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            finally:
                reader.stop()
    except BaseExceptionGroup as raised:
        group = raised
    if group is not None:
        serious = [error for error in group.exceptions if not isinstance(error, trio.Cancelled)]
        raise group if len(serious) > 1 else (serious or group.exceptions)[0]
