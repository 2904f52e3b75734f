"""One connection: a nursery around a session. It reads, writes, watches the clock and has the voice speak.

`feed` is a plain def between what happened and what is done about it. One task writes; whatever a peer does ends at most its own
session, and every wait has an end.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
import structlog
import trio
from attrs import define, field

from trio_voice.realtime_server.audio_formats import AudioFormat
from trio_voice.realtime_server.events import (
    CloseConnection,
    DropConnection,
    FallSilent,
    Output,
    Recognise,
    SendEvent,
    StartSpeech,
    StopSpeech,
)
from trio_voice.realtime_server.faults import FaultyWire
from trio_voice.realtime_server.recogniser import Recogniser
from trio_voice.realtime_server.session import Session
from trio_voice.realtime_server.socket_set import SocketSet
from trio_voice.realtime_server.voice import VoiceFailedError
from trio_voice.realtime_server.web_socket import WebSocket

PING_EVERY_S = 20.0
LONGEST_SILENCE_S = 3600.0
"""A half-open connection (a fault that was asked for) is ended after that."""

_encoder = msgspec.json.Encoder()


class Voice(Protocol):
    """Whatever speaks (see `voice.py`)."""

    def speech(
        self, text: str, *, voice: str, speed: float, audio_format: AudioFormat
    ) -> AbstractAsyncContextManager[AsyncIterable[bytes]]:
        """Have a text spoken; the pieces are in that format; leaving the block early ends the synthesis."""
        ...


@define
class Connection:
    """Runs one session over one WebSocket."""

    session: Session
    faults: FaultyWire
    socket: WebSocket
    voice: Voice
    recogniser: Recogniser | None = None
    log: Any = field(factory=structlog.get_logger)
    sockets: SocketSet | None = None
    """Who tells when there is something to read; None: the stream is waited for."""
    _nursery: trio.Nursery = field(init=False)
    _alarm_scope: trio.CancelScope | None = field(default=None, init=False)
    _alarm_at: float = field(default=math.inf, init=False)
    _speeches: dict[str, trio.CancelScope] = field(factory=dict, init=False)
    _dropped: bool = field(default=False, init=False)  # no CLOSE is to be sent
    _silent: bool = field(default=False, init=False)  # a fault: nothing is read, written or closed any more
    _deaf: bool = field(default=False, init=False)  # ... and something has come since

    async def run(self, unix_time_s: float) -> None:
        """Run until either side closes, then close the stream."""
        async with trio.open_nursery() as outer:
            writing = trio.CancelScope(shield=True)  # the goodbye has to leave when the whole server is cancelled, too
            outer.start_soon(self._write, writing)
            try:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._watch_the_clock)
                    self._nursery.start_soon(self._keep_alive)
                    self.feed(self.session.open(trio.current_time(), unix_time_s))
                    await self._read()
                    self._nursery.cancel_scope.cancel()
            finally:
                if not (self._dropped or self._silent):
                    self.socket.close(1001, "the server is going away")  # unless a CLOSE was sent already
                await self.socket.finish()
                writing.cancel()

    def feed(self, outputs: list[Output]) -> None:
        """Do what the session asked for, as far as the faults let it through."""
        now = trio.current_time()
        for output in self.faults.pass_on(outputs, now) if self.faults.active else outputs:
            self._perform(output)
        self.set_alarm()

    def set_alarm(self) -> None:
        """Look again when the session and the faults want to be called."""
        if self._alarm_scope is not None:
            at = min(self.session.next_deadline(), self.faults.next_deadline())
            if at != self._alarm_at:
                self._alarm_scope.deadline = self._alarm_at = at

    @property
    def speaking(self) -> int:
        """How many texts the voice is speaking for it."""
        return len(self._speeches)

    def act(self, output: Output) -> None:
        """Do something that the control call asks for, past session and faults."""
        self._perform(output)

    def _perform(self, output: Output) -> None:
        if self._silent:
            return
        match output:
            case SendEvent(event):
                self._send(event)
            case StartSpeech():
                self._nursery.start_soon(self._speak, output)
            case Recognise():
                self._nursery.start_soon(self._recognise, output)
            case StopSpeech(speech_id):
                if speech_id in self._speeches:
                    self._speeches[speech_id].cancel()
            case CloseConnection(code, reason):
                self.socket.close(code, reason)
                self._nursery.cancel_scope.cancel()
            case DropConnection(reset):
                if reset:
                    self.socket.reset()
                self._drop()
            case FallSilent():
                self._silent = True
                self.socket.fall_silent()

    def _send(self, event: dict[str, Any]) -> None:
        self.socket.send(_encoder.encode(event))
        if event["type"] == "error":
            self.log.info("error sent", code=event["error"]["code"], message=event["error"]["message"])
        if self.socket.overrun:
            self.log.warning("the client does not read: connection dropped")
            self._drop()

    def _drop(self) -> None:
        """End the connection without a CLOSE."""
        self._dropped = True
        self._nursery.cancel_scope.cancel()

    async def _write(self, scope: trio.CancelScope) -> None:
        with scope:
            await self.socket.write()

    async def _read(self) -> None:
        fileno = self.socket.fileno()
        if self.sockets is None or fileno is None:
            while self._take(await self.socket.receive()):
                pass
        elif self._take_now():  # what came behind the upgrade's head
            await self.sockets.watch(fileno, self._take_now)
        if self._deaf:
            await trio.sleep(LONGEST_SILENCE_S)

    def _take_now(self) -> bool:
        return self._take(self.socket.receive_now())

    def _take(self, messages: list[str | bytes]) -> bool:
        """Take messages in; return whether more are to be read."""
        if self._silent and messages:
            self._deaf = True
            return False
        now = trio.current_time()
        for message in messages:
            outputs = self.session.receive(message, now)
            if outputs:  # most messages are audio that says nothing; they change no deadline
                self.feed(outputs)
        return self.socket.ended is None

    async def _watch_the_clock(self) -> None:
        while True:
            self._alarm_at = min(self.session.next_deadline(), self.faults.next_deadline())
            with trio.CancelScope(deadline=self._alarm_at) as self._alarm_scope:
                await trio.sleep_forever()
            self._alarm_scope = None
            now = trio.current_time()
            for output in self.faults.handle_timer(now):
                self._perform(output)
            self.feed(self.session.handle_timer(now))

    async def _keep_alive(self) -> None:
        last: bytes | None = None
        while not self._silent:
            await trio.sleep(PING_EVERY_S)
            if last is not None and self.socket.pong != last:
                self.log.warning("no pong: connection dropped")
                self._drop()
            last = os.urandom(4)
            if not self._silent:
                self.socket.ping(last)

    async def _speak(self, speech: StartSpeech) -> None:
        with trio.CancelScope() as scope:
            self._speeches[speech.speech_id] = scope
            try:
                async with self.voice.speech(
                    speech.text, voice=speech.voice, speed=speech.speed, audio_format=speech.audio_format
                ) as pieces:
                    async for piece in pieces:
                        self.feed(self.session.voice_piece(speech.speech_id, piece, trio.current_time()))
                self.feed(self.session.voice_ended(speech.speech_id, trio.current_time()))
            except VoiceFailedError as error:
                self.log.warning("the voice failed", problem=str(error))
                self.feed(self.session.voice_failed(speech.speech_id, str(error), trio.current_time()))
            finally:
                del self._speeches[speech.speech_id]

    async def _recognise(self, turn: Recognise) -> None:
        assert self.recogniser is not None
        text = await self.recogniser.recognise(turn.pcm16_8khz)
        self.feed(self.session.recognised(turn.item_id, text, trio.current_time()))
