"""One port for everything: web pages, webhooks and the carriers' media streams.

People put one tunnel or one load-balancer rule in front of such a server. So each connection's request head is read here, within
bounds, and decides: a WebSocket upgrade on a media path goes to the media handler, everything else to the web application.
One connection's failure is logged with its cause and ends that connection only.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import structlog
import trio
from attrs import define, field, frozen, validators

from trio_voice.dialects.registry import DIALECTS, MEDIA_PATH
from trio_voice.errors import UserError
from trio_voice.server.allowance import Allowance
from trio_voice.server.certificates import ServerCertificate
from trio_voice.server.http_head import Head, HeadError, answer_plainly, read_head
from trio_voice.server.pace import Pace, PacedListener
from trio_voice.server.pages import AsgiApp, Names, Pages
from trio_voice.server.tls import TlsWire
from trio_voice.server.websocket import (
    CARRIER_MESSAGE_BYTES,
    ConnectFailed,
    MessageSocket,
    SocketClosed,
    Upgrade,
    answer_websocket,
)
from trio_voice.server.wire import WireStream, wire_of

log = structlog.get_logger(__name__)

REFUSAL_LOG_EVERY_S = 10.0


@frozen(kw_only=True)
class Limits:
    """What a client may cost before it is known what it wants."""

    head_bytes: int = field(default=16 * 1024, validator=validators.ge(1024))
    """The longest request head."""
    head_s: float = 10.0
    """How long a request head may take, from the connection on."""
    heads: int = field(default=256, validator=validators.ge(1))
    """How many connections may be at their head or at a request's body at once; beyond it the one that has been there longest is
    closed without an answer."""
    message_bytes: int = CARRIER_MESSAGE_BYTES
    """The longest WebSocket message of a carrier."""


@define(eq=False)
class MediaRequest:
    """A carrier's wish for a media stream; it is answered once, by `accept` or `reject`."""

    dialect: str
    """The dialect's name, from the path."""
    path: str
    """The request's target, path and query as they were sent: what a carrier's signature is made over."""
    headers: Mapping[str, str]
    """Names in lower case."""
    remote: str
    """The address and port that the connection comes from."""
    _upgrade: Upgrade
    token: str = field(default="", kw_only=True)
    """The call token in the path, behind the dialect's name; "" for none."""

    async def accept(self, subprotocol: str | None = None) -> MessageSocket:
        """Open the stream, with one of the subprotocols that the carrier offers, or none. Raises SocketClosed if it has gone."""
        return await self._upgrade.accept(subprotocol)

    async def reject(self, status: int, text: str) -> None:
        """Refuse with an HTTP status and a text for people."""
        log.info("media stream refused", status=status, reason=text)
        await self._upgrade.reject(status, text)


MediaHandler = Callable[[MediaRequest], Awaitable[None]]
"""Answers a carrier; the connection ends when it returns."""


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Take the port, on every address of `host`; port 0 takes a free one, on the first address.

    Raises UserError with the fix when the port or the host cannot be had.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise UserError(why_no_port(error, host, port)) from None
    if port == 0:
        for listener in listeners[1:]:
            await listener.aclose()
        return listeners[:1]
    return listeners


def why_no_port(error: OSError, host: str, port: int) -> str:
    """Say why a port cannot be had, and what to do."""
    if isinstance(error, socket.gaierror):
        return f"the host {host!r} (server.host, --host) cannot be resolved; use 127.0.0.1 for this machine only, or 0.0.0.0"
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {port} on {host} is already in use, perhaps by another trio-voice; "
                f"stop that program, or take another port (server.port), for instance with --port {port + 1}"
            )
        case errno.EACCES:
            return f"port {port} needs privileges that this user does not have; take one above 1023 (server.port, --port)"
        case errno.EADDRNOTAVAIL:
            return f"this machine has no address {host} (server.host, --host); use 127.0.0.1, or 0.0.0.0 for all its addresses"
        case _:
            return f"cannot listen on {host} port {port} (server.host, server.port): {error.strerror or error}"


async def serve(
    listeners: list[trio.SocketListener],
    *,
    media: MediaHandler,
    app: AsgiApp,
    draining: trio.Event,
    dialects: Collection[str] = tuple(DIALECTS),
    limits: Limits | None = None,
    certificate: ServerCertificate | None = None,
    connections: trio.Nursery | None = None,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer every connection until cancelled; then each ends within a bounded time. While `draining` no new stream is taken.

    With a `certificate` all is spoken over TLS. Connections are answered in the nursery `connections`, where one is given: then
    they may outlive this, if there is a whole request on them.
    """
    pages = Pages.of(app, scheme="http" if certificate is None else "https")
    door = FrontDoor(media, pages, draining, frozenset(dialects), limits or Limits(), certificate)
    try:
        paced = [PacedListener(listener, door.arrivals) for listener in listeners]
        task_status.started(listeners)
        await trio.serve_listeners(door.answer, paced, handler_nursery=connections)
    finally:
        door.let_go()


async def serve_pages(listener: trio.SocketListener, app: AsgiApp) -> None:
    """Answer every connection until cancelled, with pages alone: no media stream is opened here."""

    async def no_media(request: MediaRequest) -> None:
        await request.reject(404, "no media streams here")

    await serve([listener], media=no_media, app=app, draining=trio.Event(), dialects=())


@define(eq=False)
class FrontDoor:
    """Answers connections."""

    _media: MediaHandler
    _pages: Pages
    _draining: trio.Event
    _dialects: frozenset[str]
    _limits: Limits
    _certificate: ServerCertificate | None = None
    arrivals: Pace = field(factory=Pace, init=False)
    """Of the connections that are accepted."""
    _agreements: Pace = field(factory=Pace, init=False)
    """Of the keys that are agreed on with clients who speak TLS."""
    _requests: Pace = field(factory=Pace, init=False)
    """Of the requests whose head is whole: many may have held theirs back, and end it in the same moment."""
    _heads: dict[trio.CancelScope, None] = field(factory=dict, init=False)
    """Those who are at their head or their body, the oldest first."""
    _refusal_logged_at: float = field(default=float("-inf"), init=False)

    async def answer(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Answer one connection. It raises nothing but cancellation; the caller closes the stream."""
        names = Names.of(stream)
        with structlog.contextvars.bound_contextvars(remote=str(names)):
            try:
                secured = await self._secured(stream)
                if secured is not None:
                    await self._answer(secured, names)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                log.debug("the client left")
            except* Exception:  # the guard of one connection: whatever went wrong in it must not end the others
                log.exception("a connection failed")

    async def _secured(self, stream: trio.abc.HalfCloseableStream) -> trio.abc.HalfCloseableStream | None:
        """Speak TLS, if we have a certificate; None: it has not come to that, within the limits of a request's head."""
        if self._certificate is None:
            return stream
        below, until = wire_of(stream, at_the_door=True), trio.current_time() + self._limits.head_s
        wire = TlsWire(below, self._certificate.context)
        is_heard = False
        try:
            with self._incomplete(), trio.move_on_at(until):
                below.unread(bytes(await below.receive()))
                is_heard = True
            if is_heard:
                await self._agreements.turn()
                with self._incomplete(), trio.move_on_at(until):
                    await wire.handshake()
                    return WireStream(wire)
        except ssl.SSLError as error:
            log.info("no TLS", reason=error.reason or str(error))
            if error.reason == "HTTP_REQUEST":
                await answer_plainly(stream, 400, "TLS is spoken here: use https:// (for media streams wss://)")
        return None

    async def _answer(self, stream: trio.abc.HalfCloseableStream, names: Names) -> None:
        head = None  # there is none, or the connection had to make room for a newer one
        try:
            with self._incomplete():
                head = await read_head(stream, max_bytes=self._limits.head_bytes, timeout_s=self._limits.head_s)
        except HeadError as error:
            log.info("bad request", status=error.status, reason=str(error))
            await answer_plainly(stream, error.status, str(error))
            return
        if head is None:
            return
        await self._requests.turn()
        dialect, token = self._dialect(head.path)
        if head.wants_websocket:
            await self._answer_upgrade(head, dialect, token, stream, names)
        elif dialect is not None:
            path = f"{MEDIA_PATH}{dialect}"
            text = f"{path} is a media stream: connect with a WebSocket (ws:// or wss://), as a carrier or `make call` does"
            await answer_plainly(stream, 426, text, {"Upgrade": "websocket", "Connection": "Upgrade, close"})
        else:
            await self._serve_page(head, stream, names)

    def _dialect(self, path: str) -> tuple[str | None, str]:
        """Take a media path apart: the dialect's name (None: it is no such path) and the call token behind it."""
        name, _, token = path.removeprefix(MEDIA_PATH).removesuffix("/").partition("/")
        return (name, token) if path.startswith(MEDIA_PATH) and name in self._dialects else (None, "")

    async def _serve_page(self, head: Head, stream: trio.abc.HalfCloseableStream, names: Names) -> None:
        with self._incomplete() as is_whole:
            if not head.has_body:
                is_whole()
            await self._pages.serve(head.without_upgrade(), stream, names, is_whole)

    @contextmanager
    def _incomplete(self) -> Iterator[Callable[[], object]]:
        """Count a connection whose request is not whole, until the end of the block or until what is given is called.

        Meanwhile it may have to make room for a newer one: then the block is cancelled, and what follows it goes on. A carrier
        sends its request at once: if newcomers were refused, a few hundred idle connections would keep every call out.
        """
        with trio.CancelScope() as scope:
            if len(self._heads) >= self._limits.heads:
                self._close_the_oldest()
            self._heads[scope] = None
            try:
                yield lambda: self._heads.pop(scope, None)
            finally:
                self._heads.pop(scope, None)

    def let_go(self) -> None:
        """Close the connections that have not asked anything yet: browsers open such, in case that they might want something."""
        for scope in self._heads:
            scope.cancel()

    def _close_the_oldest(self) -> None:
        oldest = next(iter(self._heads))
        del self._heads[oldest]
        oldest.cancel()
        now = trio.current_time()
        if now - self._refusal_logged_at >= REFUSAL_LOG_EVERY_S:
            self._refusal_logged_at = now
            log.warning("too many connections without a whole request: closing the oldest", limit=self._limits.heads)

    async def _answer_upgrade(
        self, head: Head, dialect: str | None, token: str, stream: trio.abc.HalfCloseableStream, names: Names
    ) -> None:
        if dialect is None:
            known = ", ".join(f"{MEDIA_PATH}{name}" for name in sorted(self._dialects))
            log.info("no media stream at this path", path=head.path)
            await answer_plainly(stream, 404, f"no media stream at {head.path}; there are: {known}")
        elif self._draining.is_set():
            log.info("media stream refused", status=503, reason="draining")
            await answer_plainly(stream, 503, "this server is ending and takes no new calls")
        else:
            await self._answer_media(head, dialect, token, stream, names)

    async def _answer_media(
        self, head: Head, dialect: str, token: str, stream: trio.abc.HalfCloseableStream, names: Names
    ) -> None:
        try:
            async with answer_websocket(
                stream,
                received=head.raw,
                remote=str(names),
                max_message_bytes=self._limits.message_bytes,
                handshake_timeout_s=self._limits.head_s,
                allowance=Allowance(),
            ) as upgrade:
                await self._run_media(MediaRequest(dialect, head.target, head.headers, str(names), upgrade, token=token), upgrade)
        except ConnectFailed as failed:
            log.info("bad WebSocket handshake", reason=str(failed))

    async def _run_media(self, request: MediaRequest, upgrade: Upgrade) -> None:
        try:
            await self._media(request)
        except* SocketClosed as closed:
            log.info("the carrier left", reason=str(closed.exceptions[0]))
        except* Exception:  # the guard of one call, for what the handler itself did not survive
            log.exception("a call failed")
            if upgrade.socket is not None:
                await upgrade.socket.close(1011, "internal error")
        if upgrade.status is None:
            await upgrade.reject(500, "this call could not be answered")
