"""The embedded Realtime server: a listener, a nursery per connection, one voice for all of them.

`serve_model` runs until it is cancelled. Paths: `/v1/realtime` (WebSocket), `/v1/chat/completions` (see chat_completions.py),
`/healthz`, and `/control/` (see control.py).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import structlog
import trio
from attrs import define, field, frozen

from trio_voice.errors import RemoteProtocolError, UserError
from trio_voice.realtime_server import errors_on_the_wire as errors
from trio_voice.realtime_server.admission import (
    DEFAULT_MODELS,
    PATH,
    Admitted,
    Upgrade,
    admit,
    chosen_subprotocol,
)
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.chat_completions import CHAT_BODY_BYTES, CHAT_PATH, ChatCompletions
from trio_voice.realtime_server.connection import Connection, Voice
from trio_voice.realtime_server.control import Control
from trio_voice.realtime_server.errors_on_the_wire import Refusal
from trio_voice.realtime_server.faults import FaultyWire
from trio_voice.realtime_server.hearing import Hearing, HearingSettings
from trio_voice.realtime_server.http_head import Head, read_body, read_head, response
from trio_voice.realtime_server.identifiers import Identifiers
from trio_voice.realtime_server.level_judge import LevelJudge
from trio_voice.realtime_server.recogniser import Recogniser, recognising
from trio_voice.realtime_server.script import Script, default_script
from trio_voice.realtime_server.scripted_thinking import ScriptedThinking
from trio_voice.realtime_server.session import Session
from trio_voice.realtime_server.socket_set import SocketSet, serving
from trio_voice.realtime_server.switches import Switches
from trio_voice.realtime_server.upgrade import accept, offered
from trio_voice.realtime_server.voice import VoicePool, VoiceSettings
from trio_voice.realtime_server.web_socket import CLOSE_TIMEOUT_S, WebSocket

if TYPE_CHECKING:  # they want numpy, which weighs 10 MB: imported where the settings ask for them
    from trio_voice.realtime_server.hearing_silero import SileroModel
    from trio_voice.realtime_server.prepared_speech import PreparedSpeech

MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024
OUTBOX_LIMIT_BYTES = 64 * 1024 * 1024
ANSWER_TIMEOUT_S = 10.0
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
    outbox_limit_bytes: int = OUTBOX_LIMIT_BYTES
    cheap: bool = False
    """For load tests: prepared audio instead of a voice, and turns told by the level alone."""
    control: bool = True
    """Offer `/control/`, with the same key."""
    seed: int | None = None
    """Makes identifiers, obfuscation and random times repeatable."""
    voice: VoiceSettings = field(factory=VoiceSettings)
    detector: Literal["telephone", "silero"] = "telephone"
    """What hears turns: webrtcvad and the level over the line's noise, or the Silero network (the extra [silero])."""


@define
class ModelServer:
    """What all connections share."""

    settings: ModelServerSettings
    voice: Voice
    switches: Switches
    """Of sessions that begin from now on."""
    silero: SileroModel | None = None
    """The network that all sessions share, where the settings ask for it."""
    recogniser: Recogniser | None = None
    """The one process that tells all sessions' words, where the script lists phrases."""
    sockets: SocketSet | None = None
    """Who tells all sessions that something has come, where the system has epoll."""
    sessions: dict[str, Connection] = field(factory=dict)
    served: int = 0
    log: Any = field(factory=lambda: structlog.get_logger("trio_voice.realtime_server"))
    chat: ChatCompletions = field(init=False)
    _prepared: PreparedSpeech | None = field(init=False)
    _refused_upgrades: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.chat = ChatCompletions(self.settings.script.chat, self.settings.api_key, random.Random(self.settings.seed))
        self._prepared = _prepared_speech() if self.settings.cheap else None

    # --- one TCP connection ----------------------------------------------------------------------------------------

    async def handle(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Serve one connection; whatever a peer does ends here."""
        log = self.log.bind(peer=_peer(stream))
        try:
            await self._serve_request(stream, log)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            log.info("connection lost")
        except Exception:  # the guard: a bug in one session must not end the others
            log.exception("a connection failed")
        finally:
            with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
                await stream.aclose()

    async def _serve_request(self, stream: trio.abc.HalfCloseableStream, log: Any) -> None:
        try:
            head = await read_head(stream)
            if head is not None:
                await self._serve(stream, head, log)
        except RemoteProtocolError as error:
            log.info("not a request", problem=str(error))
            await _answer(stream, response(400, "Bad Request", {"error": str(error)}))

    async def _serve(self, stream: trio.abc.HalfCloseableStream, head: Head, log: Any) -> None:
        upgrade = _upgrade(head)
        if upgrade.path == PATH and head.is_upgrade:
            await self._serve_websocket(stream, head, upgrade, log)
        elif upgrade.path.startswith("/control/") and self.settings.control:
            body = await read_body(stream, head)
            await _answer(stream, Control(self, self.settings.api_key).answer(head, upgrade, body))
        elif upgrade.path == CHAT_PATH:
            await self._serve_chat(stream, head, upgrade)
        else:
            await _answer(stream, self._plain_answer(upgrade.path))

    async def _serve_chat(self, stream: trio.abc.HalfCloseableStream, head: Head, upgrade: Upgrade) -> None:
        body = await read_body(stream, head, longest_bytes=CHAT_BODY_BYTES)
        reply = self.chat.reply(head.method, upgrade, body, time.time())
        await trio.sleep(reply.delay_s)
        with trio.move_on_after(ANSWER_TIMEOUT_S + reply.pause_s * len(reply.pieces)):
            await stream.send_all(reply.head)
            for piece in reply.pieces:
                await stream.send_all(piece)
                await trio.sleep(reply.pause_s)
            await stream.send_eof()

    def _plain_answer(self, path: str) -> bytes:
        if path == "/healthz":
            return response(200, "OK", {"status": "ok", "sessions": len(self.sessions), "served": self.served})
        if path == PATH:
            return response(426, "Upgrade Required", {"error": "this is a WebSocket endpoint"})
        return response(404, "Not Found", {"error": f"nothing here; the Realtime API is at {PATH}"})

    async def _serve_websocket(self, stream: trio.abc.HalfCloseableStream, head: Head, upgrade: Upgrade, log: Any) -> None:
        refused = self._refused_upgrade(upgrade, log)
        if refused is not None:
            await _answer(stream, refused)
            return
        acceptance = accept(head.headers, chosen_subprotocol(upgrade.subprotocols))
        with trio.fail_after(ANSWER_TIMEOUT_S):
            await stream.send_all(acceptance.response)
        limits = (self.settings.message_limit_bytes, self.settings.outbox_limit_bytes)
        socket = WebSocket(stream, *limits, acceptance.deflated, head.rest)
        admission = self._admit(upgrade)
        if isinstance(admission, Refusal):
            log.info("refused", code=admission.close_code, reason=admission.close_reason)
            await _refuse(socket, admission)
        else:
            await self._run_session(socket, admission, log)

    def _refused_upgrade(self, upgrade: Upgrade, log: Any) -> bytes | None:
        """Return the plain HTTP answer of an upgrade that does not become a WebSocket."""
        if self._refused_upgrades < self.switches.refuse_upgrades:
            self._refused_upgrades += 1
            return response(self.switches.upgrade_status, "Refused", {"error": "refused, as the switches ask"})
        if upgrade.query("call_id") is not None:
            return response(404, "Not Found", {"error": "no such call; this server has no WebRTC or SIP calls to join"})
        if len(self.sessions) >= self.settings.most_sessions:
            log.warning("refused: too many sessions", most_sessions=self.settings.most_sessions)
            return response(503, "Service Unavailable", {"error": "too many sessions"})
        return None

    def _admit(self, upgrade: Upgrade) -> Admitted | Refusal:
        if self.switches.no_quota:
            return errors.insufficient_quota()
        return admit(upgrade, self.settings.api_key, self.settings.models, refuse_beta=self.switches.refuse_beta)

    def _hearing(self) -> Callable[[HearingSettings], Hearing]:
        """Return what makes one session's ear."""
        if self.settings.cheap:
            return partial(Hearing, judge=LevelJudge())
        return Hearing if self.silero is None else partial(Hearing, judge=self.silero.judge())

    async def _run_session(self, socket: WebSocket, admitted: Admitted, log: Any) -> None:
        self.served += 1
        rng = random.Random(None if self.settings.seed is None else self.settings.seed + self.served)
        session = Session(
            admitted.model,
            ScriptedThinking(self.settings.script),
            Behaviour(self.switches),
            rng,
            self._hearing(),
            recognises=self.recogniser is not None,
            prepared=self._prepared,
        )
        log = log.bind(session=session.id)
        faults = FaultyWire(session.behaviour, trio.current_time(), rng)
        connection = Connection(session, faults, socket, self.voice, self.recogniser, log, self.sockets)
        self.sessions[session.id] = connection
        log.info("session began", model=admitted.model or "transcription")
        try:
            await connection.run(time.time())
        finally:
            del self.sessions[session.id]
            code, reason = socket.closed_with or socket.ended or (1006, "dropped by the server")
            log.info("session ended", code=code, reason=reason)


async def serve_model(
    settings: ModelServerSettings,
    *,
    tell_voice: Callable[[str], None] | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; `task_status.started` gives the URL, `ws://127.0.0.1:PORT/v1/realtime`.

    `tell_voice` is told before that, in a sentence, what speaks. Raises UserError when it cannot listen there, or when the
    detector or the recogniser that is asked for is not installed.
    """
    silero = _silero() if settings.detector == "silero" and not settings.cheap else None
    voice_settings = VoiceSettings(engine="tones") if settings.cheap else settings.voice
    problem: UserError | None = None
    try:
        async with VoicePool(voice_settings) as voice, _understanding(settings) as recogniser, serving() as sockets:
            listeners = await _listen(settings)
            url = url_of(settings.host, listeners[0].socket.getsockname()[1])
            server = ModelServer(settings, voice, settings.script.switches, silero, recogniser, sockets)
            facts = {"url": url, "script": settings.script.name, "voice": voice.describe()}
            if tell_voice is None:
                server.log.info("listening", **facts)
            else:  # who is told says it in words of their own
                server.log.debug("listening", **facts)
                tell_voice(voice.describe())
            task_status.started(url)
            await trio.serve_listeners(server.handle, listeners)
    except* UserError as group:
        problem = first_user_error(group)
    if problem is not None:
        raise problem


def _silero() -> SileroModel:
    from trio_voice.realtime_server.hearing_silero import SileroModel  # noqa: PLC0415 - see above

    return SileroModel.load()


def _prepared_speech() -> PreparedSpeech:
    from trio_voice.realtime_server.prepared_speech import PreparedSpeech  # noqa: PLC0415 - see above

    return PreparedSpeech()


async def _listen(settings: ModelServerSettings) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(settings.port, host=settings.host, backlog=1024)
    except OSError as error:
        raise UserError(
            f"the Realtime server cannot listen on {settings.host} port {settings.port} ({error.strerror or error}); "
            "choose another port (0: any free one)"
        ) from None


def _understanding(settings: ModelServerSettings) -> AbstractAsyncContextManager[Recogniser | None]:
    """Run the recogniser that the script needs, if it needs one."""
    phrases = [] if settings.cheap else settings.script.phrases
    return recognising(phrases) if phrases else nullcontext()


def first_user_error(group: BaseExceptionGroup[UserError]) -> UserError:
    """Return the first of a group of errors, however deep it lies."""
    error = group.exceptions[0]
    return first_user_error(error) if isinstance(error, BaseExceptionGroup) else error


def url_of(host: str, port: int) -> str:
    """Return the server's URL as a client on this machine writes it."""
    shown = "127.0.0.1" if host in _EVERY_ADDRESS else f"[{host}]" if ":" in host else host
    return f"ws://{shown}:{port}{PATH}"


async def _refuse(socket: WebSocket, refusal: Refusal) -> None:
    """Say why, and close."""
    event_id = Identifiers(random.Random()).new("event")
    error = {"type": "error", "event_id": event_id, "error": refusal.error.wire(None)}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.write)
        socket.send(msgspec.json.encode(error))
        socket.close(refusal.close_code, refusal.close_reason)
        await socket.finish()
        nursery.cancel_scope.cancel()


def _upgrade(head: Head) -> Upgrade:
    return Upgrade(head.target, head.headers, offered(head.headers.get("sec-websocket-protocol", "")))


async def _answer(stream: trio.abc.HalfCloseableStream, data: bytes) -> None:
    with trio.move_on_after(ANSWER_TIMEOUT_S):
        await stream.send_all(data)
        await stream.send_eof()


def _peer(stream: trio.abc.Stream) -> str:
    if not isinstance(stream, trio.SocketStream):
        return "in memory"
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:
        return "unknown"
    return f"{host}:{port}"
