"""Messages over a WebSocket: our own, over `wire` (bytes), `frames` (RFC 6455) and `handshake` (HTTP), for speed.

What the rest may rely on, on both sides of a connection:

- `SocketClosed` is the only exception of a `MessageSocket`, whoever ended it and however;
- `ConnectFailed` is the only exception of opening one, with a sentence that a person can act on;
- what the block of a context manager raises leaves it as it is, never wrapped in a group;
- closing is bounded, and says goodbye even under cancellation, unless a cancelled `send` left half a message behind: then there
  is no frame boundary left to say it at, and the connection is cut.

One task sends and one receives; anybody may close. A `send` that is cancelled half way tears the connection.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from math import inf

import trio
from attrs import define, field

from trio_voice.errors import LocalProtocolError
from trio_voice.server.allowance import Allowance
from trio_voice.server.connection import CLOSE_LIMIT_S, Connection
from trio_voice.server.dial import ConnectFailed, Target, dial
from trio_voice.server.frames import FrameDecoder, FrameEncoder
from trio_voice.server.handshake import ClientHandshake, HandshakeError, HandshakeRejected, ServerHandshake, UpgradeRequest
from trio_voice.server.message_socket import ABNORMAL_CLOSURE, GOING_AWAY, NORMAL_CLOSURE, MessageSocket, SocketClosed
from trio_voice.server.wire import Wire, wire_of

__all__ = [
    "ABNORMAL_CLOSURE",
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
FRAMES_AT_ONCE = 64
"""How many frames of a carrier are decoded before the others get their turn."""
MODEL_MESSAGE_BYTES = 16 * 1024 * 1024
"""The longest message that a model may send."""


# --- the server's side -------------------------------------------------------------------------------------------------


@define(eq=False)
class Upgrade:
    """A client's wish for a WebSocket; it is answered once, by `accept` or `reject`."""

    _request: UpgradeRequest
    _handshake: ServerHandshake | None
    """None: it is over."""
    _wire: Wire
    _max_message_bytes: int
    remote: str
    _allowance: Allowance | None = None
    socket: MessageSocket | None = field(default=None, init=False)
    """The open connection, once accepted."""
    status: int | None = field(default=None, init=False)
    """The HTTP status of the answer, once given."""

    @property
    def path(self) -> str:
        """The request's target: path and query as they were sent."""
        return self._request.target

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The request's headers, names in lower case; without `host` and the WebSocket's own."""
        return self._request.headers

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """The subprotocols that the client offers."""
        return self._request.subprotocols

    async def accept(self, subprotocol: str | None = None) -> MessageSocket:
        """Open the connection, without extensions, and without a subprotocol unless one of the offered is given.

        Raises SocketClosed when the client has gone.
        """
        handshake, self._handshake = self._of_the_handshake(), None
        self.status = 101
        try:
            await self._wire.send(handshake.accept(subprotocol))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise SocketClosed(ABNORMAL_CLOSURE, "the client left during the handshake") from None
        self._wire.unread(handshake.trailing)
        decoder = FrameDecoder(masked=True, limit_bytes=self._max_message_bytes, at_once=FRAMES_AT_ONCE)
        self.socket = Connection(self._wire, decoder, FrameEncoder(masked=False), self.remote, self._allowance)
        return self.socket

    async def reject(self, status: int, text: str) -> None:
        """Refuse with an HTTP status and a text for people."""
        handshake = self._of_the_handshake()
        self.status = status
        await _send_last_words(self._wire, handshake.reject(status, text))

    def _of_the_handshake(self) -> ServerHandshake:
        if self._handshake is None:
            raise LocalProtocolError("an upgrade is answered once")
        return self._handshake


@asynccontextmanager
async def answer_websocket(
    stream: trio.abc.Stream,
    *,
    remote: str = "",
    max_message_bytes: int = CARRIER_MESSAGE_BYTES,
    handshake_timeout_s: float = 10.0,
    received: bytes = b"",
    allowance: Allowance | None = None,
) -> AsyncIterator[Upgrade]:
    """Read a client's upgrade request from `stream`; the block answers it and may use the connection; its end closes both.

    `received` was already read from the stream; `allowance` bounds what the client may send once it is answered.
    Raises ConnectFailed when no valid request comes.
    """
    wire, handshake = wire_of(stream, at_the_door=True), ServerHandshake()
    try:
        request: UpgradeRequest | None = None
        with trio.move_on_after(handshake_timeout_s):
            request = await _request_of(wire, handshake, received)
        if request is None:
            raise ConnectFailed(f"no WebSocket handshake within {handshake_timeout_s:g} s")
        upgrade = Upgrade(request, handshake, wire, max_message_bytes, remote, allowance)
        del handshake  # it weighs more than the connection that it opens
        try:
            yield upgrade
        finally:
            if upgrade.socket is not None:
                is_cancelled = trio.current_effective_deadline() == -inf
                await upgrade.socket.close(GOING_AWAY if is_cancelled else NORMAL_CLOSURE)
    finally:
        await wire.aclose()


async def _request_of(wire: Wire, handshake: ServerHandshake, received: bytes) -> UpgradeRequest:
    """Read a request, whose beginning, or whole, was received already. Raises ConnectFailed."""
    try:
        request = handshake.receive(received) if received else None
        while request is None:
            request = handshake.receive(await wire.receive())
    except HandshakeError as error:
        await _send_last_words(wire, error.answer)
        raise ConnectFailed(str(error)) from None
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise ConnectFailed(_LEFT) from None
    return request


async def _send_last_words(wire: Wire, answer: bytes) -> None:
    try:
        await wire.send(answer)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


_LEFT = "the other side ended the connection during the WebSocket handshake"


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
    wire: Wire | None = None
    with trio.move_on_at(deadline):
        wire = await dial(target, ssl_context)
    if wire is None:
        raise ConnectFailed(f"cannot connect to {target}: no answer within {connect_timeout_s:g} s")
    left_s = max(0.0, deadline - trio.current_time())
    handshake = partial(ClientHandshake, target.authority, target.resource, headers or {})
    async with _client(wire, handshake, str(target), max_message_bytes, left_s) as socket:
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
    handshake = partial(ClientHandshake, host, path, headers or {})
    async with _client(wire_of(stream), handshake, name or host, max_message_bytes, handshake_timeout_s) as socket:
        yield socket


@asynccontextmanager
async def _client(
    wire: Wire, handshake: Callable[[], ClientHandshake], peer: str, max_message_bytes: int, handshake_timeout_s: float
) -> AsyncIterator[MessageSocket]:
    try:
        opened = False
        with trio.move_on_after(handshake_timeout_s):
            await _shake_hands(wire, handshake(), peer)
            opened = True
        if not opened:
            raise ConnectFailed(f"cannot connect to {peer}: no answer to the WebSocket handshake in time")
        socket = Connection(wire, FrameDecoder(masked=False, limit_bytes=max_message_bytes), FrameEncoder(masked=True), peer)
        try:
            yield socket
        finally:
            await socket.close()
    finally:
        await wire.aclose()


async def _shake_hands(wire: Wire, handshake: ClientHandshake, peer: str) -> None:
    """Open the connection. Raises ConnectFailed."""
    try:
        await wire.send(handshake.request())
        while not handshake.receive(data := await wire.receive()):
            if not data:
                raise ConnectFailed(f"cannot connect to {peer}: {_LEFT}")
    except HandshakeRejected as answer:
        said = f": {' '.join(answer.body.split())[:300]}" if answer.body else ""
        text = f"cannot connect to {peer}: the server answered HTTP {answer.status}{said}"
        raise ConnectFailed(text, status=answer.status, body=answer.body) from None
    except HandshakeError as error:
        text = f"cannot connect to {peer}: the other side does not speak the WebSocket protocol ({error})"
        raise ConnectFailed(text) from None
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise ConnectFailed(f"cannot connect to {peer}: {_LEFT}") from None
    wire.unread(handshake.trailing)
