"""The journal of a call: every event, every deadline and every command, one JSON line each. Pure: text out, text in.

The first line is the header:

    {"journal": 1, "call_id": ..., "call_sid": ..., "started_at": ISO 8601, "version": ..., "settings": {...}, "leg": {...}}

Every other line has `t`, the seconds since the call began (six decimals, exactly the `now` that the state machine was told), and
one of

    "event": the name of a class in core.events, with its fields
    "timer": the name of the deadline that acted
    "command": the name of a class in core.commands, with its fields
    "remark": something that the shell did or saw (a log line of the call's own)

Commands follow the event or deadline that they answer. Audio is left out: its size and CRC-32 stand in its place, or, when the
journal was asked to keep it, its base64 text too. Readers ignore fields and lines that they do not know.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import attrs
import msgspec
from attrs import define, field, frozen

from trio_voice.core import commands as core_commands
from trio_voice.core import events as core_events
from trio_voice.core.commands import Command
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import CallerAudio, Event
from trio_voice.core.settings import CallSettings, Wording
from trio_voice.errors import UserError

FORMAT = 1
Kind = TypeVar("Kind")
_encode = msgspec.json.Encoder().encode


@frozen(kw_only=True)
class Header:
    """What a call was when it began; enough, with the lines that follow, to live it again."""

    call_id: str
    call_sid: str
    started_at: str
    version: str
    settings: CallSettings = field(factory=CallSettings)
    wording: Wording = field(factory=Wording)
    marks: bool = True
    bytes_per_ms: int = 8
    apology_bytes: int = 0


def _by_name(module: object, base: type) -> dict[str, type[Any]]:
    return {name: value for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, base)}


EVENTS: Mapping[str, type[Event]] = _by_name(core_events, Event)
COMMANDS: Mapping[str, type[Command]] = _by_name(core_commands, Command)


def _plain(value: Any, *, keep_audio: bool) -> Any:
    if isinstance(value, bytes):
        summary: dict[str, object] = {"bytes": len(value), "crc32": zlib.crc32(value)}
        if keep_audio:
            summary["base64"] = b64encode(value).decode()
        return summary
    return value.value if isinstance(value, Enum) else value


def _fields_of(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(kind))


_FIELDS: Mapping[type[Any], tuple[str, ...]] = {kind: _fields_of(kind) for kind in (*EVENTS.values(), *COMMANDS.values())}


@define
class JournalWriter:
    """Turns what happens into lines. `keep_audio` puts the audio itself in."""

    keep_audio: bool = False

    def header(self, header: Header) -> str:
        """The first line."""
        fields = {name: object.__getattribute__(header, name) for name in _fields_of(Header)}
        return _encode({"journal": FORMAT, **fields}).decode()

    def event(self, now: float, event: Event) -> str:
        """The line of an event."""
        if type(event) is CallerAudio and not self.keep_audio:  # fifty a second and call: no dictionary for these
            size, crc = len(event.audio), zlib.crc32(event.audio)
            level = "null" if event.level_dbfs is None else f"{event.level_dbfs:.1f}"
            return f'{{"t":{now},"event":"CallerAudio","audio":{{"bytes":{size},"crc32":{crc}}},"level_dbfs":{level}}}'
        return self._line(now, "event", event)

    def command(self, now: float, command: Command) -> str:
        """The line of a command."""
        return self._line(now, "command", command)

    def timer(self, now: float, timer: Timer) -> str:
        """The line of a deadline that acts."""
        return f'{{"t":{now},"timer":"{timer.value}"}}'

    def remark(self, now: float, text: str) -> str:
        """The line of something that the shell did or saw."""
        return _encode({"t": now, "remark": text}).decode()

    def _line(self, now: float, key: str, value: Event | Command) -> str:
        kind = type(value)
        line: dict[str, Any] = {"t": now, key: kind.__name__}
        for name in _FIELDS[kind]:
            line[name] = _plain(object.__getattribute__(value, name), keep_audio=self.keep_audio)
        return _encode(line).decode()


@frozen
class EventLine:
    """An event, as it was recorded."""

    t: float
    event: Event


@frozen
class TimerLine:
    """A deadline that acted."""

    t: float
    timer: Timer


@frozen
class CommandLine:
    """A command, as it was recorded."""

    t: float
    command: Command


@frozen
class RemarkLine:
    """Something that the shell did or saw."""

    t: float
    text: str


Line = EventLine | TimerLine | CommandLine | RemarkLine


def read_header(line: str) -> Header:
    """Read the first line. Raises UserError when it is none, or of a format that this version does not know."""
    try:
        raw = msgspec.json.decode(line)
        found = raw.get("journal") if isinstance(raw, dict) else None
        if not isinstance(found, int):
            raise UserError("this is no journal of trio-voice: its first line has no 'journal' number")
        if found > FORMAT:
            raise UserError(f"the journal has format {found}, this version reads up to {FORMAT}: install a newer trio-voice")
        return msgspec.convert(raw, Header)
    except msgspec.DecodeError as error:
        raise UserError(f"this is no journal of trio-voice: its first line is not readable ({error})") from None
    except msgspec.ValidationError as error:
        raise UserError(f"the journal's header is not readable: {error}") from None


def read_line(line: str) -> Line | None:
    """Read any line but the first; None for one of a kind that this version does not know.

    Audio that was left out comes back as zeros of the recorded size. Raises UserError for a line that is broken.
    """
    try:
        raw = msgspec.json.decode(line, type=dict[str, Any])
        t = float(raw.pop("t"))
        if (name := raw.pop("event", None)) in EVENTS:
            return EventLine(t, _revive(EVENTS[name], raw))
        if (name := raw.pop("command", None)) in COMMANDS:
            return CommandLine(t, _revive(COMMANDS[name], raw))
        if "timer" in raw:
            return TimerLine(t, Timer(raw["timer"]))
        if "remark" in raw:
            return RemarkLine(t, str(raw["remark"]))
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"a line of the journal is not readable ({error}): {line[:120]}") from None
    return None


def _revive(kind: type[Kind], raw: dict[str, Any]) -> Kind:
    audio = raw.get("audio")
    if isinstance(audio, dict):
        raw["audio"] = audio["base64"] if "base64" in audio else b64encode(bytes(int(audio["bytes"]))).decode()
    return msgspec.convert(raw, kind)
