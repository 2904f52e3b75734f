"""How the bench's model takes its callers' audio in: every session hears all of it, as cheaply as a load test needs it.

Taken in one by one, each through all that a client may have sent, twelve thousand appends a second cost more than the server
under test, whose callers share the model's processor. Here an append that comes alone in a frame, as nearly all do, is looked at
once, for its stamps; and what goes on as it did, quiet while nobody speaks or speech in a turn, is handed to the session 200 ms
at a time. A frame that may begin a turn or end it is heard in the moment in which it is read, together with all before it: turns
begin and end as they would. Everything else goes the server's own way.
"""

# ruff: noqa: SLF001 - it stands in the place of a part of the model's connection

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from trio_voice.audio.g711 import ulaw_to_pcm16
from trio_voice.audio.levels import rms_dbfs
from trio_voice.realtime_server.frames import mask

if TYPE_CHECKING:
    from bench.model_process import Seen
    from trio_voice.realtime_server.connection import Connection
    from trio_voice.realtime_server.frames import FrameReader
    from trio_voice.realtime_server.session import Session
    from trio_voice.realtime_server.turn_taking import TurnTaking

MOST_UNHEARD_BYTES = 1600
"""200 ms of quiet."""
_QUIET = bytes(range(0x70, 0x80)) + bytes(range(0xF0, 0x100))
"""In mu-law, the values below -48 dBFS; LevelJudge takes what is above -40 dBFS for speech."""
_SPEECH_DBFS = -30.0
_APPEND, _APPEND_END = b'{"type":"input_audio_buffer.append","audio":"', b'"}'
_TEXT, _MASKED_16_BIT_LENGTH = 0x81, 0xFE


def appended(data: bytes) -> bytes | None:
    """The audio, if the bytes are just one frame with one append, written as our server and the relay do; None: anything else."""
    if len(data) < 8 or data[0] != _TEXT or data[1] != _MASKED_16_BIT_LENGTH or data[2] << 8 | data[3] != len(data) - 8:
        return None
    message = mask(data[8:], data[4:8])
    if not (message.startswith(_APPEND) and message.endswith(_APPEND_END)):
        return None
    try:
        return a2b_base64(message[len(_APPEND) : -len(_APPEND_END)], strict_mode=True)
    except Error:
        return None  # the session says what is wrong with it


@define(eq=False)
class ModelEar:
    """Takes in what comes for one session."""

    connection: Connection
    seen: Seen
    over: trio.Event = field(factory=trio.Event, init=False)
    _session: Session = field(init=False)
    _reader: FrameReader = field(init=False)
    _turns: TurnTaking = field(init=False)
    _unheard: bytearray = field(factory=bytearray, init=False)

    def __attrs_post_init__(self) -> None:
        self._session = self.connection.session
        self._reader, self._turns = self.connection.socket._reader, self._session._turns

    def take(self, data: bytes, arrived_ns: int) -> None:
        """Take bytes in that came at that moment of the monotonic clock; nothing: the connection is over."""
        audio = appended(data) if self._reader.between_messages else None
        if self.connection._silent and data:
            return
        if audio is None:
            self._take_anything(data, arrived_ns)
            return
        self.seen.audio(audio, arrived_ns, self._session.id)
        self._unheard += audio
        if len(self._unheard) >= MOST_UNHEARD_BYTES or not self._goes_on(audio):
            self._let_hear()

    def _goes_on(self, audio: bytes) -> bool:
        """Whether this is what was there before: quiet while nobody speaks, or speech in a turn."""
        if self._turns.spoken_item_id is None:
            return not audio.translate(None, _QUIET)
        return rms_dbfs(ulaw_to_pcm16(audio)) > _SPEECH_DBFS

    def _let_hear(self) -> None:
        message = _APPEND + b2a_base64(self._unheard, newline=False) + _APPEND_END
        self._unheard.clear()
        self._receive(message.decode())

    def _take_anything(self, data: bytes, arrived_ns: int) -> None:
        socket = self.connection.socket
        for message in socket._take(data) if data else ():
            if self._unheard:
                self._let_hear()
            self.seen.client_event(message, arrived_ns, self._session.id)
            self._receive(message)
        if not data:
            socket.ended = (1006, "the connection was lost")
        if socket.ended is not None:
            self.over.set()

    def _receive(self, message: str | bytes) -> None:
        outputs = self._session.receive(message, trio.current_time())
        if outputs:
            self.connection.feed(outputs)
