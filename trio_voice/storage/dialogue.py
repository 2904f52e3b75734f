"""A journal as a dialogue that a person can read: one row for each thing said or done. Pure: lines in, rows out.

What comes many times a second is folded: frames of audio, playback marks and pieces of a transcript become one row each, with
their duration, number or text, at the moment of the first. A fold ends where something else happens. Everything else is shown
under the name of its class in `core.events` or `core.commands`, with the fields that are not at their defaults.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Any

import attrs
from attrs import define, field, frozen

from trio_voice.core.commands import (
    AppendAudio,
    CancelResponse,
    ClearPlayback,
    Command,
    DeleteItem,
    Discard,
    Note,
    PlayAudio,
    Refuse,
    SendMark,
    TruncateItem,
)
from trio_voice.core.events import (
    CallerAudio,
    CallerHungUp,
    CallStarted,
    DigitPressed,
    Event,
    FatalErrorRaised,
    HangUpAsked,
    ModelAudio,
    ModelErred,
    ModelTranscript,
    OutboxOverran,
    PlaybackMarked,
    SessionLost,
    TextInjected,
    ToolFinished,
)
from trio_voice.storage.journal_reader import CommandLine, EventLine, GapLine, Line, RemarkLine, TimerLine, UnknownLine

LONGEST_VALUE = 60
FRAME_MS = 20


class Who(Enum):
    """Whose doing a row is. `SHELL` is what surrounds the state machine: sockets, tools, the operator."""

    CALLER = "caller"
    MODEL = "model"
    SHELL = "shell"
    TIMER = "timer"
    US = "us"


class Tone(Enum):
    """What a row means for the call."""

    PLAIN = "plain"
    REFUSAL = "refusal"
    CUT = "cut"
    FAULT = "fault"


@frozen
class Row:
    """`t` is in seconds since the call began."""

    t: float
    who: Who
    what: str
    tone: Tone = Tone.PLAIN


_FROM_CALLER = (CallStarted, CallerAudio, PlaybackMarked, DigitPressed, CallerHungUp)
_FROM_SHELL = (HangUpAsked, ToolFinished, TextInjected, OutboxOverran, FatalErrorRaised)
_REFUSALS = (Discard, Refuse)
_CUTS = (ClearPlayback, CancelResponse, TruncateItem, DeleteItem)
_FAULTS = (SessionLost, ModelErred, OutboxOverran, FatalErrorRaised)


@define
class _Audio:
    """Frames that follow one another."""

    began: float | None = None
    size: int = 0
    loudest_dbfs: float | None = None

    def add(self, t: float, audio: bytes, level_dbfs: float | None = None) -> None:
        if self.began is None:
            self.began = t
        self.size += len(audio)
        if level_dbfs is not None and (self.loudest_dbfs is None or level_dbfs > self.loudest_dbfs):
            self.loudest_dbfs = level_dbfs


@define
class _Names:
    """Marks that follow one another."""

    began: float | None = None
    first: str = ""
    last: str = ""

    def add(self, t: float, name: str) -> None:
        if self.began is None:
            self.began, self.first = t, name
        self.last = name

    def __str__(self) -> str:
        return f"mark {self.first}" if self.first == self.last else f"marks {self.first} to {self.last}"


@define
class _Fold:
    """What has been folded since the last row."""

    caller: _Audio = field(factory=_Audio)
    handed_on: _Audio = field(factory=_Audio)
    model: _Audio = field(factory=_Audio)
    played: _Audio = field(factory=_Audio)
    sent: _Names = field(factory=_Names)
    echoed: _Names = field(factory=_Names)
    words: str = ""
    words_began: float | None = None
    refusals: Counter[str] = field(factory=Counter)
    refused_at: dict[str, float] = field(factory=dict)

    def rows(self, bytes_per_ms: int) -> list[Row]:
        """Everything as rows, in the order of their beginnings."""

        def seconds(audio: _Audio) -> str:
            return f"{audio.size / bytes_per_ms / 1000:.2f} s"

        def level(audio: _Audio) -> str:
            return "" if audio.loudest_dbfs is None else f", up to {audio.loudest_dbfs:.0f} dBFS"

        found: list[Row] = []
        late = self.handed_on.size - self.caller.size
        slack = FRAME_MS * bytes_per_ms  # a frame is handed on after what it made us do, and then belongs to the next fold
        if self.caller.began is not None:
            kept = f", {seconds(self.handed_on)} of it handed to the model" if late < -slack else ""
            found.append(Row(self.caller.began, Who.CALLER, f"{seconds(self.caller)} of caller audio{level(self.caller)}{kept}"))
        if self.handed_on.began is not None and late > slack:
            found.append(Row(self.handed_on.began, Who.US, f"{seconds(self.handed_on)} of caller audio handed to the model"))
        if self.model.began is not None:
            found.append(Row(self.model.began, Who.MODEL, f"{seconds(self.model)} of model audio{level(self.model)}"))
        if self.words_began is not None:
            found.append(Row(self.words_began, Who.MODEL, f'says "{self.words.strip()}"'))
        if self.played.began is not None:
            found.append(Row(self.played.began, Who.US, f"{seconds(self.played)} sent to be played"))
        if self.sent.began is not None:
            found.append(Row(self.sent.began, Who.US, f"{self.sent} sent"))
        if self.echoed.began is not None:
            found.append(Row(self.echoed.began, Who.CALLER, f"{self.echoed} echoed"))
        for what, count in self.refusals.items():
            times = f" ({count} times)" if count > 1 else ""
            found.append(Row(self.refused_at[what], Who.US, what + times, Tone.REFUSAL))
        return sorted(found, key=lambda row: row.t)


@define
class Dialogue:
    """`take` each line of a journal and get the rows that it completes; `finish` gives the last."""

    bytes_per_ms: int = 8
    _fold: _Fold = field(factory=_Fold, init=False)
    _folding: bool = field(default=False, init=False)
    """The last event was folded, and so are the refusals that answer it."""
    _said: dict[str, str] = field(factory=dict, init=False)
    """What was said piece by piece, by item: the whole of it is not shown again."""

    def take(self, line: Line) -> list[Row]:
        """Take the next line in."""
        if isinstance(line, EventLine):
            self._folding = self._folds_event(line.t, line.event)
            folded = self._folding
        elif isinstance(line, CommandLine):
            folded = self._folds_command(line.t, line.command)
        else:
            folded = self._folding = False
        return [] if folded else [*self.finish(), _row(line)]

    def finish(self) -> list[Row]:
        """Complete what is being folded."""
        fold, self._fold = self._fold, _Fold()
        return fold.rows(self.bytes_per_ms)

    def _folds_event(self, t: float, event: Event) -> bool:
        fold = self._fold
        match event:
            case CallerAudio():
                fold.caller.add(t, event.audio, event.level_dbfs)
            case ModelAudio():
                fold.model.add(t, event.audio, event.level_dbfs)
            case PlaybackMarked():
                fold.echoed.add(t, event.name)
            case ModelTranscript(final=False):
                if fold.words_began is None:
                    fold.words_began = t
                fold.words += event.text
                self._said[event.item_id] = self._said.get(event.item_id, "") + event.text
            case ModelTranscript():
                return self._said.pop(event.item_id, None) == event.text
            case _:
                return False
        return True

    def _folds_command(self, t: float, command: Command) -> bool:
        fold = self._fold
        match command:
            case AppendAudio():
                fold.handed_on.add(t, command.audio)
            case PlayAudio():
                fold.played.add(t, command.audio)
            case SendMark():
                fold.sent.add(t, command.name)
            case Discard() if self._folding:
                what = _told(command)
                fold.refusals[what] += 1
                fold.refused_at.setdefault(what, t)
            case _:
                return False
        return True


def _row(line: Line) -> Row:
    match line:
        case EventLine(event=event):
            who = Who.CALLER if isinstance(event, _FROM_CALLER) else Who.SHELL if isinstance(event, _FROM_SHELL) else Who.MODEL
            return Row(line.t, who, _told(event), Tone.FAULT if isinstance(event, _FAULTS) else Tone.PLAIN)
        case CommandLine(command=Note(text=text)):
            return Row(line.t, Who.US, f"({text})", Tone.PLAIN)
        case CommandLine(command=command):
            tone = Tone.REFUSAL if isinstance(command, _REFUSALS) else Tone.CUT if isinstance(command, _CUTS) else Tone.PLAIN
            return Row(line.t, Who.US, _told(command), tone)
        case TimerLine(timer=timer):
            return Row(line.t, Who.TIMER, timer.value)
        case RemarkLine(remark=remark):
            return Row(line.t, Who.SHELL, remark)
        case GapLine(lost=lost):
            return Row(line.t, Who.SHELL, f"{lost} lines of the journal are lost here", Tone.FAULT)
        case UnknownLine(problem=problem):
            return Row(line.t, Who.SHELL, f"{problem}: {_shortened(line.text)}", Tone.FAULT)


def _told(value: Event | Command) -> str:
    """The class and those of its fields that are not at their defaults."""
    values = attrs.asdict(value, recurse=False)
    told = [type(value).__name__]
    for each in attrs.fields(type(value)):
        content: Any = values[each.name]
        if content != each.default:
            told.append(f"{each.name}={_value(content)}")
    return " ".join(told)


def _value(content: object) -> str:
    if isinstance(content, Enum):
        return str(content.value)
    if isinstance(content, str):
        return content if content and " " not in content else f'"{_shortened(content)}"'
    return str(content)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
