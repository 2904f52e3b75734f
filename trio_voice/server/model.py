"""One Realtime session of a call, from the dialling to the end of its socket.

It runs in the call's nursery beside all else, reports `SessionReady` when the model has accepted our settings (and says so in its
echo), every event after that, and exactly one `SessionLost` when it is over, unless it was told to close.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

import structlog
import trio
from attrs import define, field, frozen

from trio_voice.audio.g711 import ulaw_to_pcm16
from trio_voice.audio.levels import rms_dbfs
from trio_voice.core.commands import AppendAudio, Command, event_id_of
from trio_voice.core.events import Event, ModelAudio, ModelErred, OutboxOverran, SendFailed, SessionLost, SessionReady
from trio_voice.errors import RemoteProtocolError
from trio_voice.realtime.codec import Decoded, RealtimeDecoder, SessionCreated, SessionUpdated, encode
from trio_voice.realtime.policy import close_is_retryable, is_benign, upgrade_is_retryable
from trio_voice.realtime.settings import SessionSettings, echo_differences, session_update
from trio_voice.server.outbox import Outbox
from trio_voice.server.websocket import MODEL_MESSAGE_BYTES, ConnectFailed, MessageSocket, SocketClosed, open_websocket

log = structlog.get_logger(__name__)

UPDATE_ID = "session-settings"
MUST_MATCH = ("session.audio.input.format", "session.audio.output.format", "session.audio.input.turn_detection")
"""Settings without which a call would be noise, or out of our hands. Other differences are logged."""
_AWAITED = {SessionCreated: "session.created", SessionUpdated: "session.updated"}
Agreed = TypeVar("Agreed", SessionCreated, SessionUpdated)
Feed = Callable[[Event], None]


class SessionRefused(Exception):  # noqa: N818 - a fact in the past tense, like SocketClosed
    """The model did not open the session as we need it; `retryable` says whether another attempt can help."""

    def __init__(self, sentence: str, *, retryable: bool) -> None:
        super().__init__(sentence)
        self.retryable = retryable


@frozen(kw_only=True)
class ModelEndpoint:
    """Where the model is: a WebSocket URL with everything in it but the credentials, which are in the headers."""

    url: str
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    connect_limit_s: float = 5.0
    answer_limit_s: float = 5.0
    """How long session.created, and then session.updated, may take."""


@define(eq=False)
class ModelSession:
    """Session number `number`. `send` does nothing before it is ready and after it is over."""

    number: int
    endpoint: ModelEndpoint
    settings: SessionSettings
    feed: Feed
    _scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _outbox: Outbox | None = field(default=None, init=False)
    _closing: bool = field(default=False, init=False)
    _last_error_code: str | None = field(default=None, init=False)

    def send(self, command: Command) -> None:
        """Hand a command to the session's socket."""
        if self._outbox is None:
            return
        if type(command) is AppendAudio:
            self._outbox.put(encode(command), droppable=True)
        else:
            self._outbox.put(encode(command), event_id=event_id_of(command))

    def close(self) -> None:
        """End the session; nothing of it is reported any more."""
        self._closing = True
        self._scope.cancel()

    async def run(self, delay_s: float = 0.0) -> None:
        """Open the session after `delay_s` seconds, and serve it until it ends."""
        lost: SessionLost | None = None
        with self._scope:
            await trio.sleep(delay_s)
            try:
                lost = await self._serve()
            except ConnectFailed as failure:
                lost = SessionLost(self.number, str(failure), retryable=upgrade_is_retryable(failure.status))
            except SessionRefused as refusal:
                lost = SessionLost(self.number, str(refusal), retryable=refusal.retryable)
        if not self._closing and lost is not None:
            log.warning("model session lost", session=self.number, reason=lost.reason, retryable=lost.retryable)
            self.feed(lost)

    async def _serve(self) -> SessionLost:
        async with open_websocket(
            self.endpoint.url,
            headers=self.endpoint.headers,
            max_message_bytes=MODEL_MESSAGE_BYTES,
            connect_timeout_s=self.endpoint.connect_limit_s,
        ) as socket:
            decoder = RealtimeDecoder(self.number)
            try:
                await self._agree_on_settings(socket, decoder)
            except SocketClosed as closed:
                return self._lost(closed)
            except RemoteProtocolError as error:
                return SessionLost(self.number, f"the model broke its protocol: {error}")
            return await self._talk(socket, decoder)

    async def _agree_on_settings(self, socket: MessageSocket, decoder: RealtimeDecoder) -> None:
        """Wait for session.created, send our settings, wait for session.updated, and compare what the model echoes."""
        await self._wait_for(SessionCreated, socket, decoder)
        await socket.send(session_update(self.settings, UPDATE_ID))
        updated = await self._wait_for(SessionUpdated, socket, decoder)
        differences = echo_differences(self.settings, updated.session_object)
        wrong = [sentence for sentence in differences if sentence.startswith(MUST_MATCH)]
        if wrong:
            raise SessionRefused("the model did not apply our settings: " + "; ".join(wrong), retryable=False)
        if differences:
            log.warning("the model applied other settings", session=self.number, differences=differences)

    async def _wait_for(self, kind: type[Agreed], socket: MessageSocket, decoder: RealtimeDecoder) -> Agreed:
        with trio.move_on_after(self.endpoint.answer_limit_s):
            while True:
                for fact in decoder.decode(await socket.receive()):
                    if isinstance(fact, kind):
                        return fact
                    self._see_error(fact)
                    if isinstance(fact, ModelErred) and fact.event_id == UPDATE_ID:
                        raise SessionRefused(f"the model refused our settings: {fact.message}", retryable=False)
        raise SessionRefused(f"no {_AWAITED[kind]} within {self.endpoint.answer_limit_s:g} s", retryable=True)

    async def _talk(self, socket: MessageSocket, decoder: RealtimeDecoder) -> SessionLost:
        outbox = Outbox(socket, on_overrun=self._overran, on_unsent=self._unsent)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.run)
            self._outbox = outbox
            self.feed(SessionReady(self.number))
            try:
                lost = await self._read(socket, decoder)
            finally:
                self._outbox = None
                nursery.cancel_scope.cancel()
        return lost

    async def _read(self, socket: MessageSocket, decoder: RealtimeDecoder) -> SessionLost:
        try:
            while True:
                for fact in decoder.decode(await socket.receive()):
                    self._see_error(fact)
                    if isinstance(fact, ModelAudio):
                        self.feed(_with_level(fact))
                    elif isinstance(fact, Event):
                        self.feed(fact)
        except SocketClosed as closed:
            return self._lost(closed)
        except RemoteProtocolError as error:
            return SessionLost(self.number, f"the model broke its protocol: {error}")

    def _lost(self, closed: SocketClosed) -> SessionLost:
        retryable = close_is_retryable(closed.code, closed.reason, self._last_error_code)
        return SessionLost(self.number, f"closed by the model ({closed.code} {closed.reason}".rstrip() + ")", retryable)

    def _see_error(self, fact: Decoded) -> None:
        if isinstance(fact, ModelErred):
            self._last_error_code = fact.code
            level = logging.DEBUG if is_benign(fact.code, fact.message) else logging.WARNING
            log.log(level, "model error", code=fact.code, text=fact.message, about=fact.event_id)

    def _overran(self) -> None:
        self.feed(OutboxOverran("model"))

    def _unsent(self, event_id: str) -> None:
        self.feed(SendFailed(self.number, event_id))


def _with_level(event: ModelAudio) -> ModelAudio:
    """The echo guard wants to know how loud the agent is; one level for a quarter of a second will do."""
    level_dbfs = round(rms_dbfs(ulaw_to_pcm16(event.audio)), 1)
    return ModelAudio(event.session, event.response_id, event.item_id, event.audio, level_dbfs)
