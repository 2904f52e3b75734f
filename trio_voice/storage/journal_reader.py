"""Reads a journal back, line by line. Pure: text in, what happened out.

A journal is read by later versions than the one that wrote it, and after crashes. So: fields and lines that are not known are
passed over; a setting that is missing has its default; a name or a value of an event or a command that this version does not
know is an `UnknownLine`, which a table can show and a replay must stop at; lines that were lost are a `GapLine`; a last line that
was cut off is left out, and `JournalReader.cut` tells of it. Everything else that cannot be read is the file's fault: UserError,
with the number of the line.

Audio whose payload was left out comes back as a stand-in of the recorded size, made from the recorded CRC-32: pieces that were
the same are the same, pieces that were not are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import UnionType
from typing import Annotated, Any, get_args, get_type_hints

import attrs
import msgspec
from attrs import define, field

from trio_voice.core.commands import Command
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import Event
from trio_voice.errors import UserError
from trio_voice.storage.journal import COMMANDS, EVENTS, FORMAT, Header

LARGEST_AUDIO = 64 * 1024 * 1024
SHOWN = 120
_UNREADABLE = (msgspec.DecodeError, msgspec.ValidationError, UnicodeError)


class _Line(msgspec.Struct, frozen=True):
    """`number` counts from 1, `t` is in seconds since the call began, `text` is the line as it stands."""

    number: int
    t: float
    text: str


class EventLine(_Line, frozen=True):
    """An event."""

    event: Event


class TimerLine(_Line, frozen=True):
    """A deadline that acted."""

    timer: Timer


class CommandLine(_Line, frozen=True):
    """A command. `exact`: its audio, if it has any, is known byte by byte, not only by size."""

    command: Command
    exact: bool = True


class RemarkLine(_Line, frozen=True):
    """Something that the shell did or saw."""

    remark: str


class UnknownLine(_Line, frozen=True):
    """An event, deadline or command that this version does not know; `problem` says what of it."""

    problem: str


class GapLine(_Line, frozen=True):
    """`lost` lines are missing here."""

    lost: int


Line = EventLine | TimerLine | CommandLine | RemarkLine | UnknownLine | GapLine


class _Audio(msgspec.Struct):
    size: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_AUDIO)] = msgspec.field(name="bytes")
    crc32: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] | None = None
    base64: bytes | None = None

    def content(self, of_event: bytes) -> bytes:
        """The payload, or what stands in for it."""
        if self.base64 is not None:
            return self.base64
        if self.crc32 is None:
            return of_event if len(of_event) == self.size else bytes(self.size)
        return (self.crc32.to_bytes(4, "big") * (self.size // 4 + 1))[: self.size]


class _AnyLine(msgspec.Struct):
    t: float | None = None
    event: str | None = None
    command: str | None = None
    timer: str | None = None
    remark: str | None = None
    lost_lines: int | None = None


class _RawHeader(msgspec.Struct):
    journal: int


_decode_any = msgspec.json.Decoder(_AnyLine).decode


def _enum_in(hint: Any) -> type[Enum] | None:
    """The enum that a field of this type holds, if it does."""
    if isinstance(hint, UnionType):
        return next(filter(None, map(_enum_in, get_args(hint))), None)
    return hint if isinstance(hint, type) and issubclass(hint, Enum) else None


def _wire_type(hint: Any) -> Any:
    """How a field of this type stands in a line: audio as its summary, enums as text."""
    if _enum_in(hint) is not None:
        return str | None if isinstance(hint, UnionType) else str
    return _Audio if hint is bytes else hint


@define
class _Shape:
    """How lines of one class are read: by a decoder of its own, which is three times as fast as a dictionary."""

    kind: type[Any]
    decode: Callable[[str], msgspec.Struct] = field(init=False)
    audio: int | None = field(default=None, init=False)
    enums: dict[int, type[Enum]] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        hints = get_type_hints(self.kind)
        fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [("t", float)]
        for place, each in enumerate(attrs.fields(self.kind)):
            hint = hints[each.name]
            wire = _wire_type(hint)
            fields.append((each.name, wire) if each.default is attrs.NOTHING else (each.name, wire, each.default))
            if wire is _Audio:
                self.audio = place
            elif (enum := _enum_in(hint)) is not None:
                self.enums[place] = enum
        self.decode = msgspec.json.Decoder(msgspec.defstruct(self.kind.__name__, fields, kw_only=True)).decode


_SHAPES: Mapping[tuple[str, str], _Shape] = {
    (what, name): _Shape(kind) for what, kinds in (("event", EVENTS), ("command", COMMANDS)) for name, kind in kinds.items()
}


def read_header(line: str) -> Header:
    """Read the first line. Raises UserError when it is none, or of a format that this version does not know."""
    try:
        found = msgspec.json.decode(line, type=_RawHeader).journal
    except _UNREADABLE as error:
        raise UserError(f"this is no journal of trio-voice: its first line is no header ({_told(error)})") from None
    if found > FORMAT:
        raise UserError(f"the journal has format {found}, this version reads up to {FORMAT}: install a newer trio-voice")
    try:
        fields = msgspec.json.decode(line, type=dict[str, Any])
        for name in ("apology", "comfort", "beep"):
            if name in fields:
                fields[name] = msgspec.convert(fields[name], _Audio).content(b"")
        return msgspec.convert(fields, Header)
    except _UNREADABLE as error:
        raise UserError(f"the journal's header cannot be read: {_told(error)}") from None


def _told(error: Exception) -> str:
    text = str(error)
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


@define
class JournalReader:
    """Iterate over it: every line of the journal but the header, as a `Line`. Raises UserError, with the line's number."""

    _lines: Iterator[str]
    header: Header = field(init=False)
    cut: bool = field(default=False, init=False)
    """After the last line: it was cut off in the middle, as by a crash."""
    _event_audio: bytes = field(default=b"", init=False)
    _t: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        first = next(self._lines, "")
        if not first.strip():
            raise UserError("the file is empty: this is no journal of trio-voice")
        self.header = read_header(first)

    def __iter__(self) -> Iterator[Line]:
        """Read on."""
        broken: UserError | None = None
        for number, text in enumerate(self._lines, start=2):
            text = text.strip()
            if not text:
                continue
            try:
                line = self._read(number, text)
            except _UNREADABLE as error:
                if broken is not None:
                    raise broken from None
                broken = UserError(f"line {number} of the journal cannot be read ({_told(error)}): {text[:SHOWN]}")
                continue
            if broken is not None and not isinstance(line, GapLine):
                raise broken
            broken = None  # what was being written when the disk failed is a part of the gap
            if line is not None:
                self._t = line.t
                yield line
        self.cut = broken is not None

    def _read(self, number: int, text: str) -> Line | None:
        parts = text.split('"', 6)  # as the writer writes it: {"t":1.5,"event":"CallStarted",...
        if len(parts) == 7 and parts[1] == "t":
            shape = _SHAPES.get((parts[3], parts[5]))
            if shape is not None:
                return self._revive(shape, parts[3], number, text)
        return self._read_any(number, text)

    def _read_any(self, number: int, text: str) -> Line | None:
        raw = _decode_any(text)
        if raw.lost_lines is not None:
            return GapLine(number, self._t if raw.t is None else raw.t, text, raw.lost_lines)
        if raw.t is None:
            return None
        for what, name in (("event", raw.event), ("command", raw.command)):
            if name is not None:
                shape = _SHAPES.get((what, name))
                if shape is not None:
                    return self._revive(shape, what, number, text)
                return UnknownLine(number, raw.t, text, f"this version knows no {what} {name}")
        if raw.timer is not None:
            self._event_audio = b""
            try:
                return TimerLine(number, raw.t, text, Timer(raw.timer))
            except ValueError:
                return UnknownLine(number, raw.t, text, f"this version knows no timer {raw.timer}")
        if raw.remark is not None:
            return RemarkLine(number, raw.t, text, raw.remark)
        return None

    def _revive(self, shape: _Shape, what: str, number: int, text: str) -> Line:
        t, *fields = msgspec.structs.astuple(shape.decode(text))
        exact = True
        audio = b""
        if shape.audio is not None:
            summary = fields[shape.audio]
            exact = summary.crc32 is None or summary.base64 is not None
            audio = fields[shape.audio] = summary.content(self._event_audio)
        for place, enum in shape.enums.items():
            try:
                fields[place] = None if fields[place] is None else enum(fields[place])
            except ValueError:
                return UnknownLine(number, t, text, f"this version knows no {enum.__name__} {fields[place]}")
        if what == "command":
            return CommandLine(number, t, text, shape.kind(*fields), exact)
        self._event_audio = audio
        return EventLine(number, t, text, shape.kind(*fields))
