"""The carrier's half of a Twilio media stream, without I/O and without a clock: time is an argument.

One `Carrier` is one answered call, from `answer` to `stop`. What it knows is a play buffer, the marks in it, and two recordings
on one time axis (sample 0 is the answer; 8000 samples a second):

- `heard`: what the caller heard. Sample n is what came out of the telephone at n / 8000 s: the buffer's audio in the order of its
  arrival, and mu-law silence whenever the buffer was empty. Time alone moves it forward.
- `said`: what the caller said, one 20 ms frame after the other.

The rules (Twilio Media Streams documentation):

- `media` is appended to the buffer, however long it is. The buffer holds ten minutes; what does not fit is discarded, warning
  31931.
- `mark` is echoed when the audio that was queued before it has been played, at once if the buffer is empty.
- `clear` empties the buffer, and every mark that waits in it is echoed at once.
- A binary message is warning 31950. Text that is no JSON object of a known type with exactly its fields, or that names another
  stream, is warning 31951. Neither has any other effect. Twilio reports each code once per stream, so that later faults are
  invisible; here every one is kept.

Every number that the carrier sends is a JSON string, but for those in `mediaFormat`.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from enum import Enum
from secrets import token_hex

import msgspec
from attrs import define, field, frozen

from trio_voice.audio.g711 import BYTES_PER_MS, SAMPLE_RATE_HZ, ULAW_SILENCE
from trio_voice.errors import LocalProtocolError

BUFFER_LIMIT_S = 600
BUFFER_OVERFLOW = 31931
BINARY_MESSAGE = 31950
INVALID_MESSAGE = 31951
_BUFFER_LIMIT_BYTES = BUFFER_LIMIT_S * SAMPLE_RATE_HZ
_SILENCE = bytes([ULAW_SILENCE])
_A_SAMPLE_S = 1.0 / SAMPLE_RATE_HZ
_ROUNDING_SAMPLES = 1e-3  # a clock that says 2.4999999999 s means the sample that begins at 2.5 s


class Happening(Enum):
    """What can happen on the line, as the caller's side sees it."""

    ANSWERED = "answered"
    AGENT_HEARD = "agent heard"
    AGENT_SILENT = "agent silent"
    CALLER_SPEAKS = "caller speaks"
    CALLER_SILENT = "caller silent"
    DIGIT = "digit"
    MARK_QUEUED = "mark queued"
    MARK_PLAYED = "mark played"
    MARK_FLUSHED = "mark flushed"
    CLEARED = "cleared"
    WARNING = "warning"
    STOPPED = "stopped"
    CLOSED = "closed"


@frozen
class LineEvent:
    """Something happened `at_s` seconds after the answer; `detail` is text for people, or the name of a mark."""

    at_s: float
    what: Happening
    detail: str = ""


@frozen
class CarrierWarning:
    """A fault in what the server sent, with the code that Twilio reports it under."""

    at_s: float
    code: int
    text: str


@frozen
class Identity:
    """Who a call is to the carrier: the three ids of the `start` message, and the `<Parameter>`s of the TwiML."""

    account_sid: str
    call_sid: str
    stream_sid: str
    parameters: Mapping[str, str] = field(factory=dict)

    @classmethod
    def made_up(cls, parameters: Mapping[str, str] | None = None) -> Identity:
        """Return ids in Twilio's shape: a prefix of two letters and 32 hexadecimal digits."""
        return cls("AC" + token_hex(16), "CA" + token_hex(16), "MZ" + token_hex(16), dict(parameters or {}))


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    payload: bytes


class _Name(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="event", rename={"stream_sid": "streamSid"}):
    stream_sid: str


class _Media(_Message, frozen=True, tag="media"):
    media: _Payload


class _Mark(_Message, frozen=True, tag="mark"):
    mark: _Name


class _Clear(_Message, frozen=True, tag="clear"):
    pass


_decoder = msgspec.json.Decoder(_Media | _Mark | _Clear)


class _State(Enum):
    RINGING = "ringing"
    STREAMING = "streaming"
    STOPPED = "stopped"


@define(eq=False)
class Carrier:
    """One call's media stream from the carrier's side. Methods return the messages to send, in order.

    `now` is any clock in seconds that never goes backwards. Every method raises LocalProtocolError outside its state: `answer`
    comes first and once, `stop` last. After `stop`, `advance` and `receive` do nothing.
    """

    identity: Identity
    heard: bytearray = field(factory=bytearray, init=False)
    said: bytearray = field(factory=bytearray, init=False)
    events: list[LineEvent] = field(factory=list, init=False)
    warnings: list[CarrierWarning] = field(factory=list, init=False)
    _state: _State = field(default=_State.RINGING, init=False)
    _answered_at: float = field(default=0.0, init=False)
    _buffer: deque[bytes] = field(factory=deque, init=False)
    _first_offset: int = field(default=0, init=False)
    _buffered_bytes: int = field(default=0, init=False)
    _marks: deque[tuple[int, str]] = field(factory=deque, init=False)  # (the sample that a mark is due at, its name)
    _sequence_number: int = field(default=0, init=False)
    _chunk: int = field(default=0, init=False)

    # --- the call's beginning and end

    def answer(self, now: float) -> list[str]:
        """Begin the stream: `connected` and `start`. The call's clock and both recordings begin here."""
        if self._state is not _State.RINGING:
            raise LocalProtocolError("the call was answered before")
        self._state, self._answered_at = _State.STREAMING, now
        self.tell(0.0, Happening.ANSWERED, self.identity.call_sid)
        who = self.identity
        start = {
            "accountSid": who.account_sid,
            "streamSid": who.stream_sid,
            "callSid": who.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": SAMPLE_RATE_HZ, "channels": 1},
            "customParameters": dict(who.parameters),
        }
        return [
            _text({"event": "connected", "protocol": "Call", "version": "1.0.0"}),
            self._numbered("start", {"start": start}),
        ]

    def stop(self, now: float) -> list[str]:
        """End the stream as when the caller hangs up: `stop`. Nothing is played after it."""
        self._streaming()
        echoes = self.advance(now)
        stop = {"accountSid": self.identity.account_sid, "callSid": self.identity.call_sid}
        message = self._numbered("stop", {"stop": stop})
        self.cut_off(now)
        return [*echoes, message]

    def cut_off(self, now: float) -> None:
        """End the stream without a word: the socket is gone. What was still to be played is never heard."""
        self.advance(now)
        if self._state is _State.STREAMING:
            self._state = _State.STOPPED
            self._drop_buffer()
            self._marks.clear()
            self.tell(self.heard_s, Happening.STOPPED)

    # --- from the caller

    def speak(self, ulaw: bytes) -> str:
        """Return the `media` message for the caller's next frame (mu-law, by Twilio's habit 160 bytes: 20 ms)."""
        self._streaming()
        self._chunk += 1
        timestamp_ms = len(self.said) // BYTES_PER_MS
        self.said += ulaw
        self._sequence_number += 1
        return (
            f'{{"event":"media","sequenceNumber":"{self._sequence_number}","streamSid":"{self.identity.stream_sid}",'
            f'"media":{{"track":"inbound","chunk":"{self._chunk}","timestamp":"{timestamp_ms}",'
            f'"payload":"{b64encode(ulaw).decode("ascii")}"}}}}'
        )

    def press(self, digit: str, now: float) -> str:
        """Return the `dtmf` message for one key."""
        self._streaming()
        self.tell(now - self._answered_at, Happening.DIGIT, digit)
        return self._numbered("dtmf", {"dtmf": {"track": "inbound_track", "digit": digit}})

    # --- from the server

    def receive(self, message: str | bytes, now: float) -> list[str]:
        """Take one message of the server in; faults become warnings. Returns the marks to echo."""
        echoes = self.advance(now)
        if self._state is not _State.STREAMING:
            return echoes
        if isinstance(message, bytes):
            self._warn(BINARY_MESSAGE, f"binary message of {len(message)} bytes")
            return echoes
        try:
            decoded = _decoder.decode(message)
        except msgspec.DecodeError as error:
            self._warn(INVALID_MESSAGE, f"{error}: {message[:200]}")
            return echoes
        if decoded.stream_sid != self.identity.stream_sid:
            self._warn(INVALID_MESSAGE, f"foreign streamSid {decoded.stream_sid[:40]!r}: {message[:200]}")
            return echoes
        match decoded:
            case _Media(media=media):
                self._queue(media.payload)
            case _Mark(mark=mark):
                self.tell(self.heard_s, Happening.MARK_QUEUED, mark.name)
                self._marks.append((len(self.heard) + self._buffered_bytes, mark.name))
                echoes += self._echo_marks(len(self.heard), Happening.MARK_PLAYED)
            case _Clear():
                flushed_ms = self._buffered_bytes // BYTES_PER_MS
                self.tell(self.heard_s, Happening.CLEARED, f"{flushed_ms} ms and {len(self._marks)} marks flushed")
                self._drop_buffer()
                echoes += self._echo_marks(None, Happening.MARK_FLUSHED)
        return echoes

    # --- time

    @property
    def answered_at(self) -> float:
        """The clock's time at the answer: sample 0 of both recordings."""
        return self._answered_at

    @property
    def heard_s(self) -> float:
        """How much of the call has been heard so far, in seconds since the answer."""
        return len(self.heard) / SAMPLE_RATE_HZ

    @property
    def buffered_ms(self) -> int:
        """How much audio waits to be played."""
        return self._buffered_bytes // BYTES_PER_MS

    @property
    def streaming(self) -> bool:
        """Between the answer and the end."""
        return self._state is _State.STREAMING

    def next_deadline(self) -> float | None:
        """When the next mark is due, on the clock of `now`; None: no mark waits."""
        return self._answered_at + self._marks[0][0] * _A_SAMPLE_S if self._marks else None

    def advance(self, now: float) -> list[str]:
        """Play until `now`; returns the marks that were reached."""
        if self._state is not _State.STREAMING:
            return []
        position = int((now - self._answered_at) * SAMPLE_RATE_HZ + _ROUNDING_SAMPLES)
        self._play(position - len(self.heard))
        return self._echo_marks(position, Happening.MARK_PLAYED) if self._marks else []

    def tell(self, at_s: float, what: Happening, detail: str = "") -> None:
        """Note something that happened on the line."""
        self.events.append(LineEvent(at_s, what, detail))

    # --- the play buffer

    def _play(self, samples: int) -> None:
        while samples > 0 and self._buffer:
            chunk = self._buffer[0]
            played = chunk[self._first_offset : self._first_offset + samples]
            self.heard += played
            samples -= len(played)
            self._buffered_bytes -= len(played)
            self._first_offset += len(played)
            if self._first_offset == len(chunk):
                self._buffer.popleft()
                self._first_offset = 0
        if samples > 0:
            self.heard += _SILENCE * samples

    def _queue(self, audio: bytes) -> None:
        room = _BUFFER_LIMIT_BYTES - self._buffered_bytes
        if len(audio) > room:
            self._warn(BUFFER_OVERFLOW, f"play buffer full: {(len(audio) - room) // BYTES_PER_MS} ms discarded")
            audio = audio[:room]
        if audio:
            self._buffer.append(audio)
            self._buffered_bytes += len(audio)

    def _drop_buffer(self) -> None:
        self._buffer.clear()
        self._first_offset = self._buffered_bytes = 0

    def _echo_marks(self, until_sample: int | None, why: Happening) -> list[str]:
        echoes = []
        while self._marks and (until_sample is None or self._marks[0][0] <= until_sample):
            due_sample, name = self._marks.popleft()
            self.tell(self.heard_s if until_sample is None else due_sample / SAMPLE_RATE_HZ, why, name)
            echoes.append(self._numbered("mark", {"mark": {"name": name}}))
        return echoes

    # --- small things

    def _streaming(self) -> None:
        if self._state is not _State.STREAMING:
            raise LocalProtocolError(f"the stream is {self._state.value}")

    def _numbered(self, event: str, rest: Mapping[str, object]) -> str:
        self._sequence_number += 1
        return _text(
            {
                "event": event,
                "sequenceNumber": str(self._sequence_number),
                "streamSid": self.identity.stream_sid,
                **rest,
            }
        )

    def _warn(self, code: int, text: str) -> None:
        self.warnings.append(CarrierWarning(self.heard_s, code, text))
        self.tell(self.heard_s, Happening.WARNING, f"{code} {text}")


def _text(message: Mapping[str, object]) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
