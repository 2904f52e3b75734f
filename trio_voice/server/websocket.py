"""Messages over a WebSocket. This file, and the reader beside it, alone know that trio-websocket is under them.

What the rest may rely on, on both sides of a connection:

- `SocketClosed` is the only exception of a `MessageSocket`, whoever ended it and however;
- `ConnectFailed` is the only exception of opening one, with a sentence that a person can act on;
- what the block of a context manager raises leaves it as it is, never wrapped in a group;
- closing is bounded, and says goodbye even under cancellation, unless a cancelled `send` left half a message behind: then there
  is no frame boundary left to say it at, and the connection is cut.

One task sends and one receives. A `send` that is cancelled half way tears the connection.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import Protocol, cast

import trio
import wsproto.utilities
from attrs import define, field
from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    wrap_client_stream,
    wrap_server_stream,
)

from trio_voice.errors import TrioVoiceError
from trio_voice.server.dial import ConnectFailed, Target, dial
from trio_voice.server.websocket_reader import Reader, WatchedStream, nursery_for

__all__ = [
    "CARRIER_MESSAGE_BYTES",
    "CLOSE_LIMIT_S",
    "MODEL_MESSAGE_BYTES",
    "ConnectFailed",
    "MessageSocket",
    "SocketClosed",
    "Upgrade",
    "answer_websocket",
    "client_websocket",
    "open_websocket",
]

CARRIER_MESSAGE_BYTES = 64 * 1024
"""The longest message that a carrier may send."""
MODEL_MESSAGE_BYTES = 16 * 1024 * 1024
"""The longest message that a model may send."""
CLOSE_LIMIT_S = 2.0
"""How long a peer may take to answer our Close before the connection is cut."""
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002


class SocketClosed(TrioVoiceError):  # noqa: N818 - a fact in the past tense, like trio.Cancelled
    """The connection is over: closed by either side, cut, or broken.

    `code` is the WebSocket close code (RFC 6455, section 7.4.1; 1006 when there was no Close at all), `reason` its text.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"the connection was closed ({code}{': ' + reason if reason else ''})")
        self.code = int(code)  # trio-websocket has an enum for some codes, which looks like one in a log
        self.reason = reason


class MessageSocket(Protocol):
    """A connection that carries whole messages, text or binary."""

    @property
    def remote(self) -> str:
        """Who is at the other end, for people and logs: `address:port`."""

    async def receive(self) -> str | bytes:
        """Wait for the next message. Raises SocketClosed."""

    async def send(self, message: str | bytes) -> None:
        """Hand a message to the network; waits while the peer does not read. Raises SocketClosed."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection, within a bounded time, also when cancelled; closing twice does nothing."""


# --- an open connection ------------------------------------------------------------------------------------------------


@define(eq=False)
class _TrioWebSocket:
    """A `MessageSocket` over trio-websocket."""

    _connection: WebSocketConnection
    _stream: WatchedStream
    _reader: Reader
    remote: str
    _closed_with: SocketClosed | None = field(default=None, init=False)

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.get_message()
        except ConnectionClosed as closed:
            raise self._closed(closed.reason) from None

    async def send(self, message: str | bytes) -> None:
        try:
            await self._connection.send_message(message)
        except ConnectionClosed as closed:
            raise self._closed(closed.reason) from None
        except wsproto.utilities.LocalProtocolError:  # the protocol's state is ahead of the connection's
            raise self._closed(self._connection.closed) from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self._closed_with is None and self._connection.closed is None:
            self._closed_with = SocketClosed(code, reason)
        with trio.CancelScope(shield=True):
            with trio.move_on_after(CLOSE_LIMIT_S):
                await self._say_goodbye(code, reason)
            await trio.aclose_forcefully(self._stream)

    async def _say_goodbye(self, code: int, reason: str) -> None:
        if self._stream.torn:
            return
        try:
            await self._connection.aclose(code, reason or None)
        except wsproto.utilities.LocalProtocolError:
            return
        await self._reader.ended.wait()

    def _closed(self, reason: CloseReason | None) -> SocketClosed:
        if self._closed_with is not None:
            return SocketClosed(self._closed_with.code, self._closed_with.reason)
        if reason is None:
            return SocketClosed(PROTOCOL_ERROR, "the peer broke the WebSocket protocol")
        return SocketClosed(reason.code, reason.reason or "")


# --- the server's side -------------------------------------------------------------------------------------------------


@define(eq=False)
class Upgrade:
    """A client's wish for a WebSocket; it is answered once, by `accept` or `reject`."""

    _request: WebSocketRequest
    _stream: WatchedStream
    _reader: Reader
    remote: str
    socket: MessageSocket | None = field(default=None, init=False)
    """The open connection, once accepted."""
    status: int | None = field(default=None, init=False)
    """The HTTP status of the answer, once given."""

    @property
    def path(self) -> str:
        """The request's target: path and query as they were sent."""
        return self._request.path

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The request's headers, names in lower case; without `host` and the WebSocket's own lists."""
        return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in self._request.headers)

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """The subprotocols that the client offers."""
        return self._request.proposed_subprotocols

    async def accept(self, subprotocol: str | None = None) -> MessageSocket:
        """Open the connection, without extensions, and without a subprotocol unless one of the offered is given.

        Raises SocketClosed when the client has gone.
        """
        self.status = 101
        try:
            connection = await self._request.accept(subprotocol=subprotocol)
        except ConnectionClosed as closed:
            reason = closed.reason
            raise SocketClosed(reason.code if reason else PROTOCOL_ERROR, "the client left during the handshake") from None
        self.socket = _TrioWebSocket(connection, self._stream, self._reader, self.remote)
        return self.socket

    async def reject(self, status: int, text: str) -> None:
        """Refuse with an HTTP status and a text for people."""
        self.status = status
        headers = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Connection", b"close")]
        try:
            await self._request.reject(status, extra_headers=headers, body=f"{text}\n".encode())
        except ConnectionClosed:
            return


@asynccontextmanager
async def answer_websocket(
    stream: trio.abc.Stream,
    *,
    remote: str = "",
    max_message_bytes: int = CARRIER_MESSAGE_BYTES,
    handshake_timeout_s: float = 10.0,
) -> AsyncIterator[Upgrade]:
    """Read a client's upgrade request from `stream`; the block answers it and may use the connection; its end closes both.

    `max_message_bytes` counts characters in a text message. Raises ConnectFailed when no valid request comes.
    """
    watched = WatchedStream(stream)
    reader = Reader(watched)

    def start(nursery: trio.Nursery) -> Awaitable[WebSocketRequest]:
        return wrap_server_stream(nursery, watched, max_message_size=max_message_bytes)

    try:
        async with nursery_for(reader) as nursery:
            request: WebSocketRequest | None = None
            with trio.move_on_after(handshake_timeout_s):
                request = await nursery.start(reader.run, start)
            if request is None:
                raise ConnectFailed(f"no WebSocket handshake within {handshake_timeout_s:g} s")
            upgrade = Upgrade(request, watched, reader, remote)
            try:
                yield upgrade
            finally:
                if upgrade.socket is not None:
                    await upgrade.socket.close(GOING_AWAY if trio.current_effective_deadline() == -inf else 1000)
    finally:
        await trio.aclose_forcefully(watched)


# --- the client's side -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_websocket(
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    max_message_bytes: int = MODEL_MESSAGE_BYTES,
    connect_timeout_s: float = 10.0,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[MessageSocket]:
    """Connect to `url` (ws or wss) for the time of the block; its end closes the connection.

    `connect_timeout_s` covers name lookup, TCP, TLS and handshake together. Raises ConnectFailed.
    """
    target = Target.of(url)
    deadline = trio.current_time() + connect_timeout_s
    stream: trio.abc.Stream | None = None
    with trio.move_on_at(deadline):
        stream = await dial(target, ssl_context)
    if stream is None:
        raise ConnectFailed(f"cannot connect to {target}: no answer within {connect_timeout_s:g} s")
    async with client_websocket(
        stream,
        target.authority,
        target.resource,
        headers,
        max_message_bytes=max_message_bytes,
        handshake_timeout_s=max(0.0, deadline - trio.current_time()),
        name=str(target),
    ) as socket:
        yield socket


@asynccontextmanager
async def client_websocket(
    stream: trio.abc.Stream,
    host: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    max_message_bytes: int = MODEL_MESSAGE_BYTES,
    handshake_timeout_s: float = 10.0,
    name: str = "",
) -> AsyncIterator[MessageSocket]:
    """Open a WebSocket over a stream that is already connected, for the time of the block; its end closes both.

    Raises ConnectFailed; `name` stands for the peer in its sentence.
    """
    watched = WatchedStream(stream)
    reader = Reader(watched)
    extra = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in (headers or {}).items()]
    peer = name or host

    def start(nursery: trio.Nursery) -> Awaitable[WebSocketConnection]:
        # The annotation of trio-websocket is narrower than its code: it uses nothing but the Stream interface.
        return wrap_client_stream(
            nursery, cast("trio.SocketStream", watched), host, path, extra_headers=extra, max_message_size=max_message_bytes
        )

    try:
        async with nursery_for(reader) as nursery:
            connection: WebSocketConnection | None = None
            try:
                with trio.move_on_after(handshake_timeout_s):
                    connection = await nursery.start(reader.run, start)
            except ConnectFailed as failed:
                raise ConnectFailed(f"cannot connect to {peer}: {failed}", status=failed.status, body=failed.body) from None
            if connection is None:
                raise ConnectFailed(f"cannot connect to {peer}: no answer to the WebSocket handshake in time")
            socket = _TrioWebSocket(connection, watched, reader, peer)
            try:
                yield socket
            finally:
                await socket.close()
    finally:
        await trio.aclose_forcefully(watched)
