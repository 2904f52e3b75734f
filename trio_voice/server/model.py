"""One Realtime session of a call, from the dialling to the end of its socket.

It runs in the call's nursery beside all else, reports `SessionReady` when the model has accepted our settings (and says so in its
echo), every event after that, and exactly one `SessionLost` when it is over. Once it is told to close it reports nothing more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog
import trio
from attrs import define, evolve, field, frozen

from trio_voice.audio.g711 import BYTES_PER_MS, ulaw_to_pcm16
from trio_voice.audio.levels import rms_dbfs
from trio_voice.core.commands import AppendAudio, Command, event_id_of
from trio_voice.core.events import (
    ChangeApplied,
    ChangeRefused,
    Event,
    ModelAudio,
    ModelErred,
    OutboxOverran,
    SendFailed,
    SessionLost,
    SessionReady,
)
from trio_voice.errors import RemoteProtocolError
from trio_voice.realtime.codec import Decoded, RealtimeDecoder, SessionCreated, SessionUpdated, append_message, encode
from trio_voice.realtime.policy import close_is_retryable, is_benign, upgrade_is_retryable
from trio_voice.realtime.settings import SessionSettings, echo_differences, session_update
from trio_voice.server.outbox import Outbox
from trio_voice.server.sign_of_life import watch_for_life
from trio_voice.server.transcoding import transcoder
from trio_voice.server.websocket import (
    ABNORMAL_CLOSURE,
    MODEL_MESSAGE_BYTES,
    ConnectFailed,
    MessageSocket,
    SocketClosed,
    open_websocket,
)

if TYPE_CHECKING:
    from trio_voice.server.model_audio import Transcoder

log = structlog.get_logger(__name__)

UPDATE_ID = "session-settings"
MERGED_MS = 60
"""While the model takes its messages slower than they come, the caller's frames go into messages of so much audio."""
LAST_WORDS_LIMIT_S = 1.0
"""How long a session that ends may take to send what waits, and to be read to its end."""
LOGGED_CHARACTERS = 160
"""Of the reason why a session was lost; the journal has it whole."""
MUST_MATCH = ("session.audio.input.format", "session.audio.output.format", "session.audio.input.turn_detection")
"""Settings without which a call would be noise, or out of our hands. Other differences are logged."""
_VOICE = "session.audio.output.voice"
_WRONG_KEY, _UNAUTHORIZED = "invalid_api_key", 401
_ABOUT_THE_KEY = "the model refuses the key: set the right one (OPENAI_API_KEY, TRIO_VOICE_MODEL_API_KEY or model.api_key_file)"
_AWAITED = {SessionCreated: "session.created", SessionUpdated: "session.updated"}
Agreed = TypeVar("Agreed", SessionCreated, SessionUpdated)
Feed = Callable[[Event], None]


class SessionRefused(Exception):  # noqa: N818 - a fact in the past tense, like SocketClosed
    """The model did not open the session as we need it; `retryable` says whether another attempt can help."""

    def __init__(self, sentence: str, *, retryable: bool) -> None:
        super().__init__(sentence)
        self.retryable = retryable


@frozen
class _Update:
    """New settings that the model was given and has not answered."""

    change: int
    event_id: str
    settings: SessionSettings


class Connect(Protocol):
    """Opens a WebSocket for the time of a block, as `open_websocket` does. Raises ConnectFailed."""

    def __call__(
        self, url: str, headers: Mapping[str, str], *, max_message_bytes: int, connect_timeout_s: float
    ) -> AbstractAsyncContextManager[MessageSocket]:
        """Connect to `url`."""
        ...


@frozen(kw_only=True)
class ModelEndpoint:
    """Where the model is: a WebSocket URL with everything in it but the credentials, which are in the headers."""

    url: str
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    connect_limit_s: float = 5.0
    answer_limit_s: float = 5.0
    """How long session.created, and then session.updated, may take."""
    ping_every_s: float = 0.0
    """A model from which nothing came for so long is asked for a sign of life; 0: it never is."""
    ping_limit_s: float = 1.5
    """How long it may take to give one; then the session is lost."""
    append_ms: int = 0
    """How much of the caller's audio goes into one message at least; 0: every frame goes as it comes."""
    connect: Connect = open_websocket


@define(eq=False)
class ModelSession:
    """Session number `number`; `feed` is told what happens in it."""

    number: int
    endpoint: ModelEndpoint
    settings: SessionSettings
    feed: Feed
    _scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _outbox: Outbox | None = field(default=None, init=False)
    _transcoder: Transcoder | None = field(init=False)
    _closing: bool = field(default=False, init=False)
    _is_retry: bool = field(default=False, init=False)
    _last_error_code: str | None = field(default=None, init=False)
    _key_refused: bool = field(default=False, init=False)
    _update: _Update | None = field(default=None, init=False)
    _unsent_audio: bytes = field(default=b"", init=False)
    """Of the caller's: not enough for a message yet."""

    _sends_as_it_comes: bool = field(init=False)
    """Audio need be neither converted nor gathered."""

    def __attrs_post_init__(self) -> None:
        self._transcoder = transcoder(self.settings.input_format, self.settings.output_format)
        self._sends_as_it_comes = self._transcoder is None and not self.endpoint.append_ms

    def send(self, command: Command) -> bool:
        """Hand a command to the session's socket; False: there is none (any more). `SendFailed` tells what fails later."""
        if self._outbox is None:
            return False
        if type(command) is AppendAudio:
            if self._sends_as_it_comes and not self._unsent_audio and not self._outbox.queued_bytes:
                return self._outbox.put(append_message(command.audio), droppable=True)
            return self._append(command, self._outbox)
        self._append_the_rest(self._outbox)
        return self._outbox.put(encode(command), event_id=event_id_of(command))

    def _append(self, command: AppendAudio, outbox: Outbox) -> bool:
        """Send audio, in larger messages where that is wanted, or where messages pile up."""
        if self._unsent_audio:
            command = evolve(command, audio=self._unsent_audio + command.audio)
            self._unsent_audio = b""
        least_ms = MERGED_MS if outbox.queued_bytes else self.endpoint.append_ms
        if len(command.audio) < least_ms * BYTES_PER_MS:
            self._unsent_audio = command.audio
            return True
        if self._transcoder is not None:
            command = evolve(command, audio=self._transcoder.to_model(command.audio))
        return outbox.put(encode(command), droppable=True)

    def _append_the_rest(self, outbox: Outbox) -> None:
        """Send what waits: what follows may be about it."""
        if self._unsent_audio:
            audio, self._unsent_audio = self._unsent_audio, b""
            audio = audio if self._transcoder is None else self._transcoder.to_model(audio)
            outbox.put(encode(AppendAudio(self.number, audio)), droppable=True)

    def update(self, settings: SessionSettings, change: int, event_id: str) -> bool:
        """Give the session other settings; `ChangeApplied` or `ChangeRefused` tells what came of it. False: there is no socket.

        A voice that stays is not sent again: a session that has spoken refuses the whole update for it.
        """
        if self._outbox is None:
            return False
        if settings.voice == self.settings.voice:
            self._update = _Update(change, event_id, evolve(settings, voice=None))
        else:
            self._update = _Update(change, event_id, settings)
        self._append_the_rest(self._outbox)
        return self._outbox.put(session_update(self._update.settings, event_id), event_id=event_id)

    def close(self) -> None:
        """End the session; nothing of it is reported any more. What waits still leaves, for a moment."""
        self._closing = True
        if self._outbox is None:
            self._scope.cancel()
        else:
            self._outbox.close_after()
            self._scope.deadline = trio.current_time() + LAST_WORDS_LIMIT_S

    async def run(self, delay_s: float = 0.0) -> None:
        """Open the session after `delay_s` seconds, and serve it until it ends."""
        self._is_retry = delay_s > 0
        with self._scope:
            await trio.sleep(delay_s)
            try:
                await self._serve()
            except ConnectFailed as failure:
                self._key_refused = failure.status == _UNAUTHORIZED
                self._end(SessionLost(self.number, str(failure), retryable=upgrade_is_retryable(failure.status)))

    async def _serve(self) -> None:
        """Serve a session, and tell of its end before its goodbye: a model that does not answer makes us wait for that."""
        async with self.endpoint.connect(
            self.endpoint.url,
            self.endpoint.headers,
            max_message_bytes=MODEL_MESSAGE_BYTES,
            connect_timeout_s=self.endpoint.connect_limit_s,
        ) as socket:
            decoder = RealtimeDecoder(self.number)
            try:
                await self._agree_on_settings(socket, decoder)
                lost = await self._talk(socket, decoder)
            except SessionRefused as refusal:
                lost = SessionLost(self.number, str(refusal), retryable=refusal.retryable)
            except (SocketClosed, RemoteProtocolError) as error:
                lost = self._lost(error)
            self._end(lost)

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
        self._outbox = outbox = Outbox(socket, on_overrun=self._overran, on_unsent=self._unsent)
        lost = SessionLost(self.number, "the model could not be written to, and said no more")
        self._tell(SessionReady(self.number, self.settings.transcription_model is not None))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, outbox, nursery.cancel_scope)
                if self.endpoint.ping_every_s:
                    nursery.start_soon(watch_for_life, socket, self.endpoint.ping_every_s, self.endpoint.ping_limit_s)
                lost = await self._read(socket, decoder)
                nursery.cancel_scope.cancel()
        finally:
            self._outbox = None
        outbox.give_up()
        return lost

    async def _write(self, outbox: Outbox, session: trio.CancelScope) -> None:
        """Write to the end of the socket; what the model said last is still read, but not waited for."""
        await outbox.run()
        session.deadline = trio.current_time() + LAST_WORDS_LIMIT_S

    async def _read(self, socket: MessageSocket, decoder: RealtimeDecoder) -> SessionLost:
        try:
            await socket.hand_over(partial(self._take, decoder))
        except (SocketClosed, RemoteProtocolError) as error:
            return self._lost(error)

    def _take(self, decoder: RealtimeDecoder, message: str | bytes) -> None:
        facts: Iterable[Decoded] = decoder.decode(message)
        if self._transcoder is not None:
            facts = self._transcoder.from_model(facts)
        for fact in facts:
            self._see_error(fact)
            if isinstance(fact, ModelAudio):
                self._tell(_with_level(fact))
            elif isinstance(fact, Event):
                self._tell(fact)
                self._look_for_a_refusal(fact)
            elif isinstance(fact, SessionUpdated):
                self._updated(fact)

    def _updated(self, fact: SessionUpdated) -> None:
        """Compare what the model applied with what it was given. Raises RemoteProtocolError if the call would become noise."""
        update, self._update = self._update, None
        if update is None:
            return
        differences = echo_differences(update.settings, fact.session_object)
        wrong = [sentence for sentence in differences if sentence.startswith(MUST_MATCH)]
        if wrong:
            raise RemoteProtocolError("an update changed more than it should: " + "; ".join(wrong))
        unheard = [sentence for sentence in differences if sentence.startswith(_VOICE)]
        if unheard:
            self._tell(ChangeRefused(self.number, update.change, unheard[0]))
            return
        if differences:
            log.warning("the model applied other settings", session=self.number, differences=differences)
        self.settings = evolve(update.settings, voice=update.settings.voice or self.settings.voice)
        self._tell(ChangeApplied(self.number, update.change))

    def _look_for_a_refusal(self, fact: Event) -> None:
        update = self._update
        if update is not None and isinstance(fact, ModelErred) and fact.event_id == update.event_id:
            self._update = None
            self._tell(ChangeRefused(self.number, update.change, f"the model refused: {fact.message}"))

    def _lost(self, error: SocketClosed | RemoteProtocolError) -> SessionLost:
        if isinstance(error, RemoteProtocolError):
            return SessionLost(self.number, f"the model broke its protocol: {error}")
        retryable = close_is_retryable(error.code, error.reason, self._last_error_code)
        self._key_refused = _WRONG_KEY in (self._last_error_code, *error.reason.split("."))
        if error.code == ABNORMAL_CLOSURE and error.reason:  # it is we who found that out
            return SessionLost(self.number, f"the connection to the model broke: {error.reason}", retryable)
        return SessionLost(self.number, f"closed by the model ({error.code} {error.reason}".rstrip() + ")", retryable)

    def _see_error(self, fact: Decoded) -> None:
        if isinstance(fact, ModelErred):
            self._last_error_code = fact.code
            level = logging.DEBUG if is_benign(fact.code, fact.message) else logging.WARNING
            log.log(level, "model error", code=fact.code, text=fact.message, about=fact.event_id)

    def _end(self, lost: SessionLost) -> None:
        if not self._closing:
            is_news = not (self._is_retry and lost.retryable)  # of a row of attempts the first
            reason = lost.reason if len(lost.reason) <= LOGGED_CHARACTERS else f"{lost.reason[:LOGGED_CHARACTERS]}..."
            hint = {"hint": _ABOUT_THE_KEY} if self._key_refused else {}
            level = logging.WARNING if is_news else logging.INFO
            log.log(level, "model session lost", reason=reason, retry=lost.retryable, **hint)
        self._tell(lost)

    def _tell(self, event: Event) -> None:
        if not self._closing:
            self.feed(event)

    def _overran(self) -> None:
        self._tell(OutboxOverran("model", self.number))

    def _unsent(self, event_id: str) -> None:
        self._tell(SendFailed(self.number, event_id))


def _with_level(event: ModelAudio) -> ModelAudio:
    """The echo guard wants to know how loud the agent is; one level for a quarter of a second will do."""
    level_dbfs = round(rms_dbfs(ulaw_to_pcm16(event.audio)), 1)
    return ModelAudio(event.session, event.response_id, event.item_id, event.audio, level_dbfs)
