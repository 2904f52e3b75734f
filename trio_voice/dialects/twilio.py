"""Twilio Media Streams, bidirectional (`<Connect><Stream>`). Source: the Twilio Media Streams documentation.

Upstream, one JSON object per text message: `connected`, `start`, then `media`, `dtmf` and `mark` in any order, then `stop`.
Numbers arrive as JSON strings, except in `mediaFormat`; both forms are read. Unknown events and unknown fields are ignored.

Downstream there are three messages, and Twilio's schema for them is strict: one field too many and the message is dropped, with
a warning that is given once per stream. So they are built from exact templates, by concatenation.

Twilio echoes a mark when the audio before it has been played, and all pending marks at once when playback is cleared; the echo
does not say which. Telling them apart is the playback ledger's business.
"""

from __future__ import annotations

from binascii import b2a_base64
from enum import Enum
from typing import Annotated, ClassVar

import msgspec
from attrs import define, field

from trio_voice.core.commands import ClearPlayback, Command, PlayAudio, SendMark
from trio_voice.dialects.base import (
    MALFORMED,
    MALFORMED_LIMIT,
    Capabilities,
    ClearSource,
    DigitReceived,
    Encoding,
    MarkEchoed,
    MarksAfterClear,
    MarkSource,
    Oddity,
    OddityKind,
    StreamAudio,
    StreamEvent,
    StreamFault,
    StreamStarted,
    StreamStopped,
)
from trio_voice.errors import LocalProtocolError

CAPABILITIES = Capabilities(
    encodings=(Encoding.PCMU,),
    sample_rate_hz=8000,
    binary=False,
    clear=ClearSource.NATIVE,
    mark=MarkSource.NATIVE,
    marks_after_clear=MarksAfterClear.ECHOED,
    marks_every_ms=200,
    frame_multiple_bytes=160,
    max_lead_ms=600_000,
    reorder=False,
    sends_stop=True,
    close_hangs_up=True,
    dtmf_in=True,
    dtmf_out=False,
    subprotocol=None,
)

MEDIA_LIMIT_BYTES = 144 * 160
"""The most audio in one message (2.88 s, 30,720 characters of base64): Twilio does not say how long a message may be."""

_TEXT_LIMIT = 160
_DIGITS = frozenset("0123456789*#ABCD")


# --- upstream messages -------------------------------------------------------------------------------------------------
# Wire names in camel case. What the call does not need is left out: msgspec skips it without building it.

_Id = Annotated[str, msgspec.Meta(max_length=256)]


class _Upstream(msgspec.Struct, tag_field="event", rename="camel"):
    pass


class _Connected(_Upstream, tag="connected"):
    pass


class _MediaFormat(msgspec.Struct, frozen=True, rename="camel"):
    encoding: str = "audio/x-mulaw"
    sample_rate: int = 8000
    channels: int = 1

    @property
    def text(self) -> str:
        return f"{self.encoding} at {self.sample_rate} Hz with {self.channels} channel(s)"


class _StartBody(msgspec.Struct, rename="camel"):
    call_sid: _Id
    account_sid: _Id = ""
    stream_sid: _Id = ""
    media_format: _MediaFormat = _MediaFormat()
    custom_parameters: dict[str, str | int | float | bool | None] | None = None


class _Start(_Upstream, tag="start"):
    start: _StartBody
    stream_sid: _Id = ""


class _MediaBody(msgspec.Struct, gc=False):
    payload: bytes
    track: str = "inbound"
    chunk: int | None = None
    timestamp: int | None = None


class _Media(_Upstream, tag="media"):
    media: _MediaBody
    stream_sid: str = ""


class _MarkBody(msgspec.Struct):
    name: str


class _Mark(_Upstream, tag="mark"):
    mark: _MarkBody
    stream_sid: str = ""


class _DtmfBody(msgspec.Struct):
    digit: str


class _Dtmf(_Upstream, tag="dtmf"):
    dtmf: _DtmfBody
    stream_sid: str = ""


class _Stop(_Upstream, tag="stop"):
    stream_sid: str = ""


class _AnyEvent(msgspec.Struct):
    event: str


_decode_message = msgspec.json.Decoder(_Connected | _Start | _Media | _Mark | _Dtmf | _Stop, strict=False).decode
_decode_event_name = msgspec.json.Decoder(_AnyEvent).decode
_EVENTS = frozenset({"connected", "start", "media", "mark", "dtmf", "stop"})


class _Phase(Enum):
    EXPECTING_START = "expecting start"
    STREAMING = "streaming"
    STOPPED = "stopped"
    FAULTY = "faulty"


_STREAMING, _FAULTY = _Phase.STREAMING, _Phase.FAULTY  # on the way of a frame: Python 3.11 takes 0.15 us to find a member


# --- the codec ---------------------------------------------------------------------------------------------------------


@define
class TwilioDialect:
    """The codec of one Twilio stream."""

    name: ClassVar[str] = "twilio"
    capabilities: ClassVar[Capabilities] = CAPABILITIES

    malformed_limit: int = MALFORMED_LIMIT
    _phase: _Phase = field(default=_Phase.EXPECTING_START, init=False)
    _stream_sid: str = field(default="", init=False)
    _malformed: int = field(default=0, init=False)
    _media_prefix: str = field(default="", init=False)
    _mark_prefix: str = field(default="", init=False)
    _clear: str = field(default="", init=False)

    def decode(self, message: str | bytes) -> tuple[StreamEvent, ...]:
        """Read one WebSocket message of Twilio's. It never raises, whatever the message is."""
        if self._phase is _FAULTY:
            return ()
        if isinstance(message, bytes):
            return self._ignore(OddityKind.BINARY, f"a binary message of {len(message)} bytes")
        try:
            wire = _decode_message(message)
        except msgspec.ValidationError as error:
            return self._ignore(*_what_is_wrong(message, error))
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            return self._ignore(OddityKind.NOT_JSON, f"{len(message)} characters that are not JSON: {error}")
        if type(wire) is _Media and self._phase is _STREAMING and wire.stream_sid == self._stream_sid:
            media = wire.media
            if media.track == "inbound":
                return (StreamAudio(media.payload, media.timestamp, media.chunk),)
        return self._other(wire)

    def encode(self, command: Command) -> tuple[str, ...]:
        """Write the messages that carry out `PlayAudio`, `SendMark` or `ClearPlayback`; none once the stream stopped.

        Raises LocalProtocolError for any other command, and before the stream has started.
        """
        if not self._stream_sid:
            raise LocalProtocolError(f"{type(command).__name__} before the stream has started")
        if isinstance(command, PlayAudio):
            messages = self._play(command.audio)
        elif isinstance(command, SendMark):
            messages = (self._mark_prefix + _json_text(command.name) + "}}",)
        elif isinstance(command, ClearPlayback):
            messages = (self._clear,)
        else:
            raise LocalProtocolError(f"{type(command).__name__} is no command to a media stream")
        return () if self._phase is _Phase.STOPPED else messages

    def _play(self, audio: bytes) -> tuple[str, ...]:
        if 0 < len(audio) <= MEDIA_LIMIT_BYTES:
            return (self._media_prefix + b2a_base64(audio, newline=False).decode("ascii") + '"}}',)
        pieces = [audio[start : start + MEDIA_LIMIT_BYTES] for start in range(0, len(audio), MEDIA_LIMIT_BYTES)]
        return tuple(message for piece in pieces for message in self._play(piece))

    def _media(self, media: _MediaBody) -> tuple[StreamEvent, ...]:
        if media.track != "inbound":
            return self._ignore(OddityKind.WRONG_TRACK, f"audio of track {media.track!r}")
        return (StreamAudio(media.payload, media.timestamp, media.chunk),)

    def _other(self, wire: _Upstream) -> tuple[StreamEvent, ...]:
        """Everything but a media message of the running stream."""
        event = type(wire).__struct_config__.tag
        if self._phase is _Phase.STOPPED:
            return self._ignore(OddityKind.AFTER_STOP, f"{event!r} after stop")
        if isinstance(wire, _Connected):
            return () if self._phase is _Phase.EXPECTING_START else self._ignore(OddityKind.REPEATED, "a second 'connected'")
        if isinstance(wire, _Start):
            return self._start(wire.stream_sid or wire.start.stream_sid, wire.start)
        if self._phase is _Phase.EXPECTING_START:
            return self._ignore(OddityKind.BEFORE_START, f"{event!r} before start")
        assert isinstance(wire, _Media | _Mark | _Dtmf | _Stop)
        if wire.stream_sid not in ("", self._stream_sid):
            return self._ignore(OddityKind.FOREIGN_STREAM, f"{event!r} of stream {wire.stream_sid!r}")
        return self._of_this_stream(wire)

    def _of_this_stream(self, wire: _Media | _Mark | _Dtmf | _Stop) -> tuple[StreamEvent, ...]:
        if isinstance(wire, _Media):
            return self._media(wire.media)
        if isinstance(wire, _Mark):
            return (MarkEchoed(wire.mark.name),)
        if isinstance(wire, _Dtmf):
            digit = wire.dtmf.digit.upper()
            return (DigitReceived(digit),) if digit in _DIGITS else self._ignore(OddityKind.WRONG_SHAPE, f"digit {digit!r}")
        self._phase = _Phase.STOPPED
        return (StreamStopped("the carrier sent stop"),)

    def _start(self, stream_sid: str, body: _StartBody) -> tuple[StreamEvent, ...]:
        if self._phase is _Phase.STREAMING and stream_sid == self._stream_sid:
            return self._ignore(OddityKind.REPEATED, "a second 'start' of the same stream")
        if self._phase is _Phase.STREAMING:
            return self._fail(f"a second stream, {stream_sid!r}, was started on the socket of {self._stream_sid!r}")
        if not stream_sid or not body.call_sid:
            return self._ignore(OddityKind.WRONG_SHAPE, "'start' without a streamSid or a callSid")
        if body.media_format != _MediaFormat():
            return self._fail(f"the stream announces {body.media_format.text}; this dialect carries {_MediaFormat().text}")
        self._phase = _Phase.STREAMING
        self._stream_sid = stream_sid
        quoted = _json_text(stream_sid)
        self._media_prefix = f'{{"event":"media","streamSid":{quoted},"media":{{"payload":"'
        self._mark_prefix = f'{{"event":"mark","streamSid":{quoted},"mark":{{"name":'
        self._clear = f'{{"event":"clear","streamSid":{quoted}}}'
        given = body.custom_parameters or {}
        parameters = {name: _parameter_text(value) for name, value in given.items() if value is not None}
        numbers = {name.lower(): value for name, value in parameters.items() if value}
        return (StreamStarted(stream_sid, body.call_sid, body.account_sid, parameters, numbers.get("from"), numbers.get("to")),)

    def _ignore(self, kind: OddityKind, text: str) -> tuple[StreamEvent, ...]:
        oddity = Oddity(kind, _shortened(text))
        if kind not in MALFORMED:
            return (oddity,)
        self._malformed += 1
        if self._malformed < self.malformed_limit:
            return (oddity,)
        return (oddity, *self._fail(f"{self._malformed} malformed messages, the last one {text}"))

    def _fail(self, text: str) -> tuple[StreamEvent, ...]:
        self._phase = _Phase.FAULTY
        return (StreamFault(_shortened(text)),)


def _what_is_wrong(message: str, error: msgspec.ValidationError) -> tuple[OddityKind, str]:
    """Name what is wrong with JSON that is no message of ours: an event of the future, or a known one with wrong fields."""
    try:
        event = _decode_event_name(message).event
    except (msgspec.DecodeError, RecursionError):
        return OddityKind.WRONG_SHAPE, f"JSON that is no event: {error}"
    if event not in _EVENTS:
        return OddityKind.UNKNOWN_EVENT, repr(event)
    is_base64 = "base64" not in str(error)  # msgspec has one class for all that is wrong with a value
    return (OddityKind.WRONG_SHAPE if is_base64 else OddityKind.NOT_BASE64), f"{event!r}: {error}"


def _shortened(text: str) -> str:
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 1] + "…"


def _parameter_text(value: str | float) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _json_text(text: str) -> str:
    return msgspec.json.encode(text).decode()
