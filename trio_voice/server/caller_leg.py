"""The caller's leg of a call: the carrier's messages become events, and the commands about the caller its messages."""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio
from attrs import define, field

from trio_voice.audio.g711 import FRAME_BYTES, ulaw_to_pcm16
from trio_voice.audio.levels import rms_dbfs, ulaw_frame_level_dbfs
from trio_voice.core.commands import ClearPlayback, HangUp, PlayAudio, SendDigits, SendMark
from trio_voice.core.events import CallerAudio, CallerHungUp, DigitPressed, Event, OutboxOverran, PlaybackMarked
from trio_voice.dialects.base import (
    Dialect,
    DigitReceived,
    MarkEchoed,
    Oddity,
    StreamAudio,
    StreamEvent,
    StreamFault,
    StreamStarted,
    StreamStopped,
)
from trio_voice.server.message_socket import GOING_AWAY, NORMAL_CLOSURE, POLICY_VIOLATION, MessageSocket, SocketClosed
from trio_voice.server.oddities import Oddities
from trio_voice.server.outbox import Outbox

log = structlog.get_logger(__name__)

ORDINARY_CLOSES = frozenset({NORMAL_CLOSURE, GOING_AWAY, 1005})
"""Close codes that need no explanation; 1005 stands for a Close without a code (RFC 6455, section 7.4.1)."""
LEVEL_EVERY_FRAMES = 2

ForCaller = PlayAudio | SendMark | SendDigits | ClearPlayback | HangUp


@define(eq=False)
class CallerLeg:
    """One carrier's stream. `feed` is told what happens in it, `note` what was odd; `is_over`: the call has ended."""

    socket: MessageSocket
    dialect: Dialect
    feed: Callable[[Event], None]
    note: Callable[[str], None]
    is_over: Callable[[], bool]
    oddities: Oddities = field(factory=Oddities)
    _outbox: Outbox = field(init=False)
    _goodbye: tuple[int, str] = field(default=(NORMAL_CLOSURE, ""), init=False)
    _frames: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._outbox = Outbox(
            self.socket, on_overrun=lambda: self.feed(OutboxOverran("caller")), on_unsent=lambda _event_id: None
        )

    @property
    def queued_bytes(self) -> int:
        """How much waits to be read by the carrier."""
        return self._outbox.queued_bytes

    # --- out

    def perform(self, command: ForCaller) -> None:
        """Send what carries out a command. Raises LocalProtocolError for what the dialect cannot say."""
        if isinstance(command, HangUp):
            self._outbox.close_after(reason=command.reason)
        elif isinstance(command, ClearPlayback):
            for message in self.dialect.encode(command):
                self._outbox.put_first(message)
        else:
            for message in self.dialect.encode(command):
                self._outbox.put(message, droppable=True)

    async def write(self) -> None:
        """Write to the end of the socket, and close it in any case: when the call ends, and when the server does."""
        try:
            await self._outbox.run()
        except trio.Cancelled:
            if not self.is_over():
                self._goodbye = (GOING_AWAY, "the server is ending")
                self.feed(CallerHungUp("the server is ending"))
            raise
        finally:
            await self.socket.close(*self._goodbye)

    # --- in

    async def read(self) -> None:
        """Read to the end of the socket."""
        try:
            await self.socket.hand_over(self._take, patient=True)
        except SocketClosed as closed:
            if closed.code not in ORDINARY_CLOSES:
                self._remark("the caller's line broke", code=closed.code, reason=closed.reason)
            self.feed(CallerHungUp(f"the caller's line was closed ({closed.code}{closed.reason and ': '}{closed.reason})"))

    def _take(self, message: str | bytes) -> None:
        for event in self.dialect.decode(message):
            if type(event) is not StreamAudio:
                self._hear(event)
            elif event.audio:
                self._frames += 1
                is_measured = self._frames % LEVEL_EVERY_FRAMES == 0
                self.feed(CallerAudio(event.audio, self._level_dbfs(event.audio) if is_measured else None))

    def _hear(self, event: StreamEvent) -> None:
        match event:
            case MarkEchoed(name=name):
                self.feed(PlaybackMarked(name))
            case DigitReceived(digit=digit):
                self.feed(DigitPressed(digit))
            case StreamStopped(reason=reason):
                self.feed(CallerHungUp(reason))
            case Oddity(kind=kind, text=text):
                if self.oddities.add(event):
                    self.note(f"the carrier sent something odd ({kind.value}: {text})")
            case StreamFault(text=text):
                self._remark("the carrier broke its protocol", detail=text)
                self._goodbye = (POLICY_VIOLATION, text)
                self.feed(CallerHungUp(text))
            case StreamAudio() | StreamStarted():
                pass

    def _level_dbfs(self, audio: bytes) -> float | None:
        return ulaw_frame_level_dbfs(audio) if len(audio) == FRAME_BYTES else round(rms_dbfs(ulaw_to_pcm16(audio)), 1)

    def _remark(self, event: str, **facts: object) -> None:
        log.warning(event, **facts)
        self.note(f"{event} ({', '.join(f'{name}: {value}' for name, value in facts.items())})")
