"""The journal of a call: every event, every deadline and every command, one JSON line each. Pure: text out.

The first line is the header:

    {"journal": 1, "call_id": ..., "call_sid": ..., "started_at": ISO 8601, "version": ..., "settings": {...}, "wording": {...},
     "marks": true, "bytes_per_ms": 8, "apology": {...}, "comfort": {...}, "beep": {...}}

Every other line has `t`, the seconds since the call began (exactly the `now` that the state machine was told), and one of

    "event": the name of a class in core.events, with its fields
    "timer": the name of the deadline that acted
    "command": the name of a class in core.commands, with its fields
    "remark": something that the shell did or saw (a log line of the call's own)

Commands follow the event or deadline that they answer. The payload of audio is left out: its size and CRC-32 stand in its place,
`{"bytes": 160, "crc32": 123456}`, and, when the journal was asked to keep it, its `base64` too. A command that hands on the audio
of the event that it answers says only how much: `{"bytes": 160}`.

Where lines were lost, because the disk failed or did not keep up, `{"lost_lines": 12}` stands in their place.

Readers ignore fields and lines that they do not know (`journal_reader`). `docs/journal.md` and its schema are kept in step with
the classes by a test.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from zlib import crc32

import attrs
import msgspec
from attrs import define, field, frozen

from trio_voice.core import commands as core_commands
from trio_voice.core import events as core_events
from trio_voice.core.commands import AppendAudio, Command, PlayAudio
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import CallerAudio, Event, ModelAudio
from trio_voice.core.settings import CallSettings, Wording

FORMAT = 1
JOURNAL = "call.jsonl"
"""The journal's name in the folder of its call."""
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
    apology: bytes = b""
    comfort: bytes = b""
    beep: bytes = b""


def _by_name(module: object, base: type) -> dict[str, type[Any]]:
    """The classes that are no base of others."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and not value.__subclasses__()
    }


EVENTS: Mapping[str, type[Event]] = _by_name(core_events, Event)
"""What can stand under "event"."""
COMMANDS: Mapping[str, type[Command]] = _by_name(core_commands, Command)
"""What can stand under "command"."""


@lru_cache(maxsize=256)
def _quoted(text: str) -> str:
    """A string as JSON; the ids in the lines of audio are the same many times over."""
    return _encode(text).decode()


def python_frame_lines(now: float, audio: bytes, level_dbfs: float | None, session: int, /) -> str:
    """The two lines of a caller's frame that is handed on as it came to session number `session`, with a newline between them."""
    t, size, level = repr(now), len(audio), "null" if level_dbfs is None else level_dbfs
    return (
        f'{{"t":{t},"event":"CallerAudio","audio":{{"bytes":{size},"crc32":{crc32(audio)}}},"level_dbfs":{level}}}'
        f'\n{{"t":{t},"command":"AppendAudio","session":{session},"audio":{{"bytes":{size}}}}}'
    )


try:
    from trio_voice._speedups import frame_lines as compiled_frame_lines
except ImportError:  # it was installed where nothing could compile it
    frame_lines = python_frame_lines
else:
    frame_lines = compiled_frame_lines


@define
class JournalWriter:
    """Turns what happens into lines; one for each call, told everything in the order in which it happened.

    `keep_audio` puts the audio itself in. The four lines that come with every frame are written without a dictionary: they are
    most of a journal, and on the way of the audio.
    """

    keep_audio: bool = False
    _audio: bytes = field(default=b"", init=False)
    """The audio of the event that the next commands answer."""
    _now: float = field(default=-1.0, init=False)
    _t: str = field(default="", init=False)

    def header(self, header: Header) -> str:
        """The first line."""
        return _encode({"journal": FORMAT, **self._fields_of(header)}).decode()

    def event(self, now: float, event: Event) -> str:
        """The line of an event."""
        if isinstance(event, CallerAudio):
            self._audio = event.audio
            level_dbfs = "null" if event.level_dbfs is None else event.level_dbfs
            return (
                f'{{"t":{self._time(now)},"event":"CallerAudio","audio":{self._size_and_hash(event.audio)}'
                f',"level_dbfs":{level_dbfs}}}'
            )
        if isinstance(event, ModelAudio):
            self._audio = event.audio
            level_dbfs = "null" if event.level_dbfs is None else event.level_dbfs
            return (
                f'{{"t":{self._time(now)},"event":"ModelAudio","session":{event.session}'
                f',"response_id":{_quoted(event.response_id)},"item_id":{_quoted(event.item_id)}'
                f',"audio":{self._size_and_hash(event.audio)},"level_dbfs":{level_dbfs}}}'
            )
        self._audio = b""
        return self._line(now, "event", event)

    def command(self, now: float, command: Command) -> str:
        """The line of a command."""
        if isinstance(command, AppendAudio):
            return (
                f'{{"t":{self._time(now)},"command":"AppendAudio","session":{command.session}'
                f',"audio":{self._handed_on(command.audio)}}}'
            )
        if isinstance(command, PlayAudio):
            return (
                f'{{"t":{self._time(now)},"command":"PlayAudio","response_id":{_quoted(command.response_id)}'
                f',"item_id":{_quoted(command.item_id)},"audio":{self._handed_on(command.audio)}}}'
            )
        return self._line(now, "command", command)

    def frame(self, now: float, event: CallerAudio, command: AppendAudio) -> str:
        """The two lines of a caller's frame that is handed on as it came, with a newline between them."""
        self._audio = event.audio
        if self.keep_audio or command.audio is not event.audio or not event.audio:
            return f"{self.event(now, event)}\n{self.command(now, command)}"
        return frame_lines(now, event.audio, event.level_dbfs, command.session)

    def timer(self, now: float, timer: Timer) -> str:
        """The line of a deadline that acts."""
        self._audio = b""
        return f'{{"t":{self._time(now)},"timer":"{timer.value}"}}'

    def remark(self, now: float, text: str) -> str:
        """The line of something that the shell did or saw."""
        return f'{{"t":{self._time(now)},"remark":{_encode(text).decode()}}}'

    def _time(self, now: float) -> str:
        if now != self._now:  # a command's moment is its event's: written once
            self._now, self._t = now, repr(now)
        return self._t

    def _size_and_hash(self, audio: bytes) -> str:
        kept = f',"base64":"{b64encode(audio).decode()}"' if self.keep_audio else ""
        return f'{{"bytes":{len(audio)},"crc32":{crc32(audio)}{kept}}}'

    def _handed_on(self, audio: bytes) -> str:
        return f'{{"bytes":{len(audio)}}}' if audio is self._audio and audio else self._size_and_hash(audio)

    def _fields_of(self, value: Header | Event | Command) -> dict[str, Any]:
        fields = attrs.asdict(value, recurse=False)
        for name, content in fields.items():
            if isinstance(content, bytes):
                fields[name] = msgspec.Raw(self._size_and_hash(content).encode())
        return fields

    def _line(self, now: float, key: str, value: Event | Command) -> str:
        return _encode({"t": now, key: type(value).__name__, **self._fields_of(value)}).decode()
