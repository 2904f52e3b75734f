"""Web pages on a connection whose first bytes were already read: the glue to Hypercorn, which has no public interface for that.

`TCPServer` serves one stream. Used here are its constructor, `run`, and what it asks of a stream: `socket`'s names, `send_all`,
`receive_some`, `send_eof`, `aclose`. pyproject.toml pins Hypercorn's minor version, and the tests beside this file fail when one
of these changes. The application's lifespan events are not sent.

Two of its habits are bounded here. It shields its sends from cancellation, so that a client that stops reading would hold a
task, and the server's end, as long as TCP likes: a send has a time limit, and cancellation cuts the connection. And it keeps
connections alive, where a second request would pass the front door by, although a proxy may well send a WebSocket upgrade there:
every connection carries one request.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
import trio
from attrs import define, frozen
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import LifespanState

from trio_voice.server.http_head import ReplayingStream

log = structlog.get_logger(__name__)

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application; every library has types of its own for its three arguments."""

SEND_LIMIT_S = 30.0
"""How long a client may leave a piece of an answer unread."""


@frozen
class Names:
    """What a server wants to know of a socket, asked once: a peer that has gone has no name any more."""

    family: int
    peer: tuple[Any, ...]
    own: tuple[Any, ...]

    @classmethod
    def of(cls, stream: trio.abc.Stream) -> Names:
        """The names of the socket under a stream; of AF_UNSPEC when there is none."""
        if isinstance(stream, trio.SSLStream):
            return cls.of(stream.transport_stream)
        if isinstance(stream, trio.SocketStream):
            try:
                return cls(stream.socket.family, stream.socket.getpeername(), stream.socket.getsockname())
            except OSError:
                pass  # it has gone already
        return cls(socket.AF_UNSPEC, (), ())

    def getpeername(self) -> tuple[Any, ...]:
        """The address of the other side, as a socket would tell it."""
        return self.peer

    def getsockname(self) -> tuple[Any, ...]:
        """Our own address, as a socket would tell it."""
        return self.own

    def __str__(self) -> str:
        """The other side for people: address and port."""
        if not self.peer:
            return "unknown"
        return f"[{self.peer[0]}]:{self.peer[1]}" if self.family == socket.AF_INET6 else f"{self.peer[0]}:{self.peer[1]}"


@define(eq=False)
class _PageStream(ReplayingStream):
    """The stream as Hypercorn wants it. That it has no `do_handshake` tells Hypercorn that TLS is no business of its."""

    socket: Names
    _give_up: Callable[[], None]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, but not for ever to a client that does not read."""
        with trio.move_on_after(SEND_LIMIT_S) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            log.info("a page was not read and is given up", limit_s=SEND_LIMIT_S)
            self._give_up()
            raise trio.BrokenResourceError(f"the client read nothing for {SEND_LIMIT_S:g} s")


@frozen
class _Watched:
    """An application that tells when its client owes it nothing more: the body is here, or the answer begins without it."""

    _app: AsgiApp
    _scheme: str
    _on_request: Callable[[], object]

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        async def receive_and_tell() -> Any:
            message = await receive()
            if not message.get("more_body", False):
                self._on_request()
            return message

        async def tell_and_send(message: Any) -> None:
            self._on_request()
            await send(message)

        await self._app({**scope, "scheme": self._scheme}, receive_and_tell, tell_and_send)


@define(eq=False)
class Pages:
    """An ASGI application, served one connection at a time."""

    _app: AsgiApp
    _config: Config
    _context: WorkerContext
    _scheme: str = "http"

    @classmethod
    def of(cls, app: AsgiApp, *, scheme: str = "http") -> Pages:
        """Serve `app`; `scheme` is what it is told that its clients speak."""
        config = Config()
        config.errorlog = logging.getLogger("hypercorn.error")
        config.include_server_header = False
        config.keep_alive_max_requests = 0
        return cls(app, config, WorkerContext(None), scheme)

    async def serve(
        self,
        replay: bytes,
        stream: trio.abc.HalfCloseableStream,
        names: Names,
        on_request: Callable[[], object] = lambda: None,
    ) -> None:
        """Serve one request, of which `replay` was already read. The connection is closed at the end.

        `on_request` is called, perhaps more than once, when the whole request is here or the answer begins.
        """
        async with trio.open_nursery() as nursery:
            page_stream = _PageStream(replay, stream, names, nursery.cancel_scope.cancel)
            # Hypercorn's annotation is narrower than its code, which takes a plain stream as well.
            tls_stream = cast("trio.SSLStream[trio.SocketStream]", page_stream)
            app = ASGIWrapper(_Watched(self._app, self._scheme, on_request))
            server = TCPServer(app, self._config, self._context, LifespanState({}), tls_stream)
            nursery.start_soon(_cut_when_cancelled, stream)
            await server.run()
            nursery.cancel_scope.cancel()


async def _cut_when_cancelled(stream: trio.abc.AsyncResource) -> None:
    try:
        await trio.sleep_forever()
    finally:
        await trio.aclose_forcefully(stream)
