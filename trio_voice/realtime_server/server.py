"""The embedded Realtime server: a listener, a nursery per connection, one voice for all of them.

`serve_model` runs until it is cancelled. Paths: `/v1/realtime` (WebSocket) and `/healthz`.
"""

from __future__ import annotations

import random
import time
from typing import Any

import msgspec
import structlog
import trio
from attrs import define, field, frozen
from trio_websocket import WebSocketConnection, WebSocketRequest, wrap_server_stream

from trio_voice.errors import RemoteProtocolError, UserError
from trio_voice.realtime_server.admission import DEFAULT_MODELS, PATH, Admitted, Upgrade, admit, chosen_subprotocol
from trio_voice.realtime_server.connection import CLOSE_TIMEOUT_S, Connection, Voice
from trio_voice.realtime_server.errors_on_the_wire import Refusal
from trio_voice.realtime_server.http_head import Head, ReplayedStream, read_head, response
from trio_voice.realtime_server.identifiers import Identifiers
from trio_voice.realtime_server.script import Script, default_script
from trio_voice.realtime_server.scripted_thinking import ScriptedThinking
from trio_voice.realtime_server.session import Session
from trio_voice.realtime_server.voice import VoicePool

MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024
HANDSHAKE_TIMEOUT_S = 10.0
LONGEST_REQUEST_S = 10.0
_EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound


@frozen
class ModelServerSettings:
    """How the embedded Realtime server is started."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port."""
    script: Script = field(factory=default_script)
    """What it answers, and its switches."""
    api_key: str | None = None
    """The key that clients must give; None: none is asked for."""
    models: tuple[str, ...] = DEFAULT_MODELS
    """The models that it pretends to be, as patterns."""
    most_sessions: int = 1000
    message_limit_bytes: int = MESSAGE_LIMIT_BYTES
    seed: int | None = None
    """Makes identifiers, obfuscation and random times repeatable."""


@define
class ModelServer:
    """What all connections share."""

    settings: ModelServerSettings
    voice: Voice
    sessions: dict[str, Connection] = field(factory=dict)
    served: int = 0
    log: Any = field(factory=lambda: structlog.get_logger("trio_voice.realtime_server"))

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one TCP connection; never raises for what a peer does."""
        log = self.log.bind(peer=_peer(stream))
        try:
            head = await read_head(stream)
            if head is None:
                return
            if head.is_upgrade and Upgrade(head.target, head.headers).path == PATH:
                await self._serve_websocket(ReplayedStream(stream, head.bytes_read), log)
            else:
                await _answer(stream, self._plain_answer(head))
        except RemoteProtocolError as error:
            log.info("not a request", problem=str(error))
            await _answer(stream, response(400, "Bad Request", {"error": str(error)}))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.info("connection lost")
        finally:
            with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
                await stream.aclose()

    def _plain_answer(self, head: Head) -> bytes:
        path = Upgrade(head.target, head.headers).path
        if path == "/healthz":
            return response(200, "OK", {"status": "ok", "sessions": len(self.sessions), "served": self.served})
        if path == PATH:
            return response(426, "Upgrade Required", {"error": "this is a WebSocket endpoint"})
        return response(404, "Not Found", {"error": f"nothing here; the Realtime API is at {PATH}"})

    async def _serve_websocket(self, stream: trio.abc.Stream, log: Any) -> None:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(HANDSHAKE_TIMEOUT_S) as handshake:
                request = await wrap_server_stream(nursery, stream, 16, self.settings.message_limit_bytes, 65536)
                upgrade = _upgrade(request)
                if len(self.sessions) >= self.settings.most_sessions:
                    await request.reject(503, body=b"too many sessions\n")
                    log.warning("refused: too many sessions", most_sessions=self.settings.most_sessions)
                    return
                socket = await request.accept(subprotocol=chosen_subprotocol(upgrade.subprotocols))
            if handshake.cancelled_caught:
                log.info("no handshake in time")
                nursery.cancel_scope.cancel()
                return
            admission = admit(upgrade, self.settings.api_key, self.settings.models)
            if isinstance(admission, Refusal):
                await self._refuse(socket, admission, log)
            else:
                await self._run_session(socket, admission, log)
            nursery.cancel_scope.cancel()

    async def _refuse(self, socket: WebSocketConnection, refusal: Refusal, log: Any) -> None:
        log.info("refused", code=refusal.close_code, reason=refusal.close_reason)
        error = {"type": "error", "event_id": Identifiers(random.Random()).new("event"), "error": refusal.error.wire(None)}
        with trio.move_on_after(CLOSE_TIMEOUT_S):
            await socket.send_message(msgspec.json.encode(error).decode())
            await socket.aclose(refusal.close_code, refusal.close_reason)

    async def _run_session(self, socket: WebSocketConnection, admitted: Admitted, log: Any) -> None:
        self.served += 1
        seed = None if self.settings.seed is None else self.settings.seed + self.served
        session = Session(
            admitted.model,
            ScriptedThinking(self.settings.script),
            self.settings.script.switches,
            random.Random(seed),
        )
        log = log.bind(session=session.id)
        connection = Connection(session, socket, self.voice, log)
        self.sessions[session.id] = connection
        log.info("session began", model=admitted.model)
        try:
            await connection.run(time.time())
        finally:
            del self.sessions[session.id]
            closed = socket.closed
            log.info("session ended", code=int(closed.code) if closed else None, reason=closed.reason if closed else None)
            with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
                await socket.aclose(1001, "the server is going away")


async def serve_model(settings: ModelServerSettings, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve until cancelled; `task_status.started` gives the URL, `ws://127.0.0.1:PORT/v1/realtime`.

    Raises UserError when it cannot listen there.
    """
    try:
        listeners = await trio.open_tcp_listeners(settings.port, host=settings.host)
    except OSError as error:
        raise UserError(
            f"the Realtime server cannot listen on {settings.host} port {settings.port} ({error.strerror or error}); "
            "choose another port (0: any free one)"
        ) from None
    port = listeners[0].socket.getsockname()[1]
    async with VoicePool() as voice:
        server = ModelServer(settings, voice)
        server.log.info("listening", url=url_of(settings.host, port), script=settings.script.name, voice=voice.describe())
        task_status.started(url_of(settings.host, port))
        await trio.serve_listeners(server.handle, listeners)


def url_of(host: str, port: int) -> str:
    """Return the server's URL as a client on this machine writes it."""
    shown = "127.0.0.1" if host in _EVERY_ADDRESS else f"[{host}]" if ":" in host else host
    return f"ws://{shown}:{port}{PATH}"


def _upgrade(request: WebSocketRequest) -> Upgrade:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers}
    return Upgrade(request.path, headers, request.proposed_subprotocols)


async def _answer(stream: trio.SocketStream, data: bytes) -> None:
    with trio.move_on_after(LONGEST_REQUEST_S):
        await stream.send_all(data)
        await stream.send_eof()


def _peer(stream: trio.SocketStream) -> str:
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:
        return "unknown"
    return f"{host}:{port}"
