"""One connection: a nursery around a session. It reads, writes, watches the clock and has the voice speak.

`feed` is a plain def between what happened and what is done about it. One task writes; whatever a peer does ends at most its own
session, and every wait has an end.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import deque
from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
import structlog
import trio
from attrs import define, field
from trio_websocket import ConnectionClosed, WebSocketConnection

from trio_voice.realtime_server.events import (
    CloseConnection,
    DropConnection,
    Output,
    SendEvent,
    StartSpeech,
    StopSpeech,
)
from trio_voice.realtime_server.session import Session
from trio_voice.realtime_server.voice import VoiceFailedError

PING_EVERY_S = 20.0
CLOSE_TIMEOUT_S = 5.0
SEND_TIMEOUT_S = 60.0
OUTBOX_LIMIT_BYTES = 64 * 1024 * 1024
_LONGEST_REASON_BYTES = 123

_encoder = msgspec.json.Encoder()


class Voice(Protocol):
    """Whatever speaks (see `voice.py`)."""

    def speech(self, text: str, *, voice: str, speed: float) -> AbstractAsyncContextManager[AsyncIterable[bytes]]:
        """Have a text spoken; the pieces are 24 kHz PCM16; leaving the block early ends the synthesis."""
        ...


@define
class Connection:
    """Runs one session over one WebSocket."""

    session: Session
    socket: WebSocketConnection
    voice: Voice
    log: Any = field(factory=structlog.get_logger)
    _nursery: trio.Nursery = field(init=False)
    _outbox: deque[str | CloseConnection] = field(factory=deque, init=False)
    _outbox_bytes: int = field(default=0, init=False)
    _filled: trio.Event = field(factory=trio.Event, init=False)
    _alarm_scope: trio.CancelScope | None = field(default=None, init=False)
    _speeches: dict[str, trio.CancelScope] = field(factory=dict, init=False)

    async def run(self, unix_time_s: float) -> None:
        """Run until either side closes."""
        async with trio.open_nursery() as self._nursery:
            self.feed(self.session.open(trio.current_time(), unix_time_s))
            self._nursery.start_soon(self._write)
            self._nursery.start_soon(self._watch_the_clock)
            self._nursery.start_soon(self._keep_alive)
            await self._read()
            self._nursery.cancel_scope.cancel()

    def feed(self, outputs: list[Output]) -> None:
        """Do what the session asked for."""
        for output in outputs:
            match output:
                case SendEvent(event):
                    self._post(_encoder.encode(event).decode())
                case CloseConnection():
                    self._post(output)
                case DropConnection():
                    self._nursery.cancel_scope.cancel()
                case StartSpeech():
                    self._nursery.start_soon(self._speak, output)
                case StopSpeech(speech_id):
                    if speech_id in self._speeches:
                        self._speeches[speech_id].cancel()
        if self._alarm_scope is not None:
            self._alarm_scope.deadline = self.session.next_deadline()

    def _post(self, message: str | CloseConnection) -> None:
        self._outbox.append(message)
        if isinstance(message, str):
            self._outbox_bytes += len(message)
            if self._outbox_bytes > OUTBOX_LIMIT_BYTES:
                self.log.warning("the client does not read: connection dropped", waiting_bytes=self._outbox_bytes)
                self._nursery.cancel_scope.cancel()
        self._filled.set()

    async def _read(self) -> None:
        while True:
            try:
                message = await self.socket.get_message()
            except ConnectionClosed:
                return
            self.feed(self.session.receive(message, trio.current_time()))

    async def _write(self) -> None:
        while True:
            await self._filled.wait()
            while self._outbox:
                message = self._outbox.popleft()
                if isinstance(message, CloseConnection):
                    await self._close(message)
                    return
                self._outbox_bytes -= len(message)
                try:
                    with trio.fail_after(SEND_TIMEOUT_S):
                        await self.socket.send_message(message)
                except (ConnectionClosed, trio.TooSlowError):
                    self._nursery.cancel_scope.cancel()
                    return
            self._filled = trio.Event()

    async def _close(self, close: CloseConnection) -> None:
        reason = close.reason.encode()[:_LONGEST_REASON_BYTES].decode(errors="ignore")
        with trio.move_on_after(CLOSE_TIMEOUT_S):
            await self.socket.aclose(close.code, reason)
        self._nursery.cancel_scope.cancel()

    async def _watch_the_clock(self) -> None:
        while True:
            with trio.CancelScope(deadline=self.session.next_deadline()) as self._alarm_scope:
                await trio.sleep(math.inf)
            self._alarm_scope = None
            self.feed(self.session.handle_timer(trio.current_time()))

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep(PING_EVERY_S)
            try:
                with trio.fail_after(PING_EVERY_S):
                    await self.socket.ping(os.urandom(4))
            except trio.TooSlowError:
                self.log.warning("no pong: connection dropped")
                self._nursery.cancel_scope.cancel()
            except ConnectionClosed:
                return

    async def _speak(self, speech: StartSpeech) -> None:
        with trio.CancelScope() as scope:
            self._speeches[speech.speech_id] = scope
            try:
                async with self.voice.speech(speech.text, voice=speech.voice, speed=speech.speed) as pieces:
                    async for piece in pieces:
                        self.feed(self.session.voice_piece(speech.speech_id, piece, trio.current_time()))
                self.feed(self.session.voice_ended(speech.speech_id, trio.current_time()))
            except VoiceFailedError as error:
                self.log.warning("the voice failed", problem=str(error))
                self.feed(self.session.voice_failed(speech.speech_id, str(error), trio.current_time()))
            finally:
                with contextlib.suppress(KeyError):
                    del self._speeches[speech.speech_id]
