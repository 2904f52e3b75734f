"""A call on the screen, as it happens: one line for each thing worth knowing, in colour where there is a terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Any

from attrs import define, field, frozen
from rich.console import Console
from rich.text import Text

from trio_voice.phone.carrier import Happening, LineEvent
from trio_voice.storage.printable import printable
from trio_voice.storage.timeline_lanes import ROUTINE_TIMERS

_STYLES = {
    "caller": "bold blue",
    "agent": "bold green",
    "line": "dim",
    "model": "cyan",
    "call": "",
    "cut": "bold red",
    "timer": "yellow",
    "warning": "bold magenta",
}
_LONGEST_VALUE = 100
Record = Mapping[str, Any]


@frozen
class Shown:
    """One line of the display: whose business it is, and words for it."""

    who: str
    words: str


def _says(who: str, words: str, *keys: str) -> Callable[[Record], Shown | None]:
    """Make a line of fixed words and the values of some fields."""

    def show(record: Record) -> Shown | None:
        details = " ".join(str(record[key]).replace("_", " ") for key in keys if record.get(key) not in {None, ""})
        return Shown(who, f"{words} {details}".rstrip())

    return show


def _finished(record: Record) -> Shown | None:
    why = record.get("error_code") or record.get("error_message") or record.get("reason")
    return Shown("model", f"response {record.get('status')}" + (f" ({why})" if why else ""))


def _truncated(record: Record) -> Shown | None:
    return Shown("cut", f"truncate what was not heard: {record.get('heard_ms')} ms were")


def _refused(record: Record) -> Shown | None:
    waits = ", it waits" if record.get("waits") else ""
    purpose, reason = (str(record.get(key)).replace("_", " ") for key in ("purpose", "reason"))
    return Shown("call", f"no response for {purpose}: {reason}{waits}")


def _transcribed(record: Record) -> Shown | None:
    return Shown("model", f"heard: {record['text']}") if record.get("text") else None


def _on_one_line(value: object) -> str:
    """A tool's arguments or result, as the model wrote or reads them, but never more than a line."""
    text = " ".join(str(value or "").split())
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


_JOURNAL: Mapping[str, Callable[[Record], Shown | None]] = {
    "SessionReady": _says("model", "session ready"),
    "SessionLost": _says("warning", "session lost:", "reason"),
    "SpeechStarted": _says("model", "speech started"),
    "SpeechStopped": _says("model", "speech stopped"),
    "TurnCommitted": _says("model", "turn committed"),
    "CallerTranscribed": _transcribed,
    "ResponseCreated": _says("model", "response created"),
    "ResponseDone": _finished,
    "ModelErred": _says("warning", "the model reports an error:", "code", "message"),
    "HangUpAsked": _says("call", "hang-up asked:", "reason"),
    "FatalErrorRaised": _says("warning", "fatal error:", "reason"),
    "CreateResponse": _says("call", "ask for a response:", "purpose"),
    "ClearPlayback": _says("cut", "clear what is queued for the caller"),
    "CancelResponse": _says("cut", "cancel the response"),
    "TruncateItem": _truncated,
    "DeleteItem": _says("cut", "delete an item that was not heard"),
    "Refuse": _refused,
    "HangUp": _says("call", "hang up:", "reason"),
    "Close": _says("call", "close:", "reason"),
}
_LINE: Mapping[Happening, Callable[[LineEvent], Shown | None]] = {
    Happening.ANSWERED: lambda event: Shown("line", f"answered, {event.detail}"),
    Happening.CALLER_SPEAKS: lambda event: Shown("caller", event.detail or "(speaks)"),
    Happening.CALLER_SILENT: lambda _: Shown("line", "the caller has finished"),
    Happening.AGENT_HEARD: lambda _: Shown("line", "the agent is heard"),
    Happening.AGENT_SILENT: lambda _: Shown("line", "the agent is silent"),
    Happening.DIGIT: lambda event: Shown("caller", f"presses {event.detail}"),
    Happening.CLEARED: lambda event: Shown("cut", f"clear received: {event.detail}"),
    Happening.WARNING: lambda event: Shown("warning", event.detail),
    Happening.CLOSED: lambda event: Shown("line", f"closed {event.detail}"),
}


@define
class Display:
    """Shows what the phone sees on the line, and what the call's journal says, in the order of its happening.

    Some things are known only later (that the agent is silent, 0.6 s after), others before they happen (that the caller will be
    heard when the breath is over). So lines wait, and `show_until` shows those whose time has come. All times are the phone's:
    the journal begins when the server has read the stream's start, `align` says how much later that is.

    Marks come several times a second: they are counted, and the count is shown when the agent falls silent or is cut off.
    """

    console: Console
    _waiting: list[tuple[float, int, Shown]] = field(factory=list, init=False)
    _number: int = field(default=0, init=False)
    _journal_began_s: float = field(default=0.0, init=False)
    _agent_words: dict[str, str] = field(factory=dict, init=False)
    _tools: dict[str, str] = field(factory=dict, init=False)
    """The names of the tools that were called, by the id of the call."""
    _last_event: str = field(default="", init=False)
    _marks_played: int = field(default=0, init=False)
    _marks_flushed: int = field(default=0, init=False)

    def line_event(self, event: LineEvent) -> None:
        """Show something that happened on the line."""
        if event.what is Happening.MARK_PLAYED:
            self._marks_played += 1
        elif event.what is Happening.MARK_FLUSHED:
            self._marks_flushed += 1
        elif (show := _LINE.get(event.what)) and (shown := show(event)):
            self._show(event.at_s, shown)
        if event.what in {Happening.AGENT_SILENT, Happening.CLOSED}:
            self._show_marks(event.at_s)

    def journal_line(self, line: str) -> None:
        """Show a line of the call's journal; lines that are not understood are passed over."""
        try:
            record = json.loads(line)
        except ValueError:
            return
        if not isinstance(record, dict) or not isinstance(record.get("t"), int | float):
            return
        at_s = record["t"] + self._journal_began_s
        if "timer" in record:
            if record["timer"] in ROUTINE_TIMERS:
                return
            self._show(at_s, Shown("timer", str(record["timer"]).replace("_", " ")))
            return
        name = str(record.get("event") or record.get("command"))
        if "event" in record:
            self._last_event = name
        if name == "ModelTranscript":
            self._agent_says(record, at_s)
        elif name == "ToolCalled":
            self._tool_called(record, at_s)
        elif name == "ToolFinished":
            self._tool_finished(record, at_s)
        elif name == "Discard" and self._last_event == "SpeechStarted":
            self._show(at_s, Shown("call", f"no barge-in: {str(record.get('reason')).replace('_', ' ')}"))
        elif (show := _JOURNAL.get(name)) and (shown := show(record)):
            self._show(at_s, shown)
        if name == "ResponseDone":
            self._show_unfinished(at_s)

    def align(self, journal_began_s: float) -> None:
        """Take the journal's times from here on as so much later on the phone's clock."""
        self._journal_began_s = journal_began_s

    def show_until(self, at_s: float) -> None:
        """Show what happened before this moment, in its order."""
        while self._waiting and self._waiting[0][0] < at_s:
            happened_s, _, shown = heappop(self._waiting)
            self._print(happened_s, shown)

    def say(self, words: str) -> None:
        """Show a line without a time, after all that waits."""
        self.show_until(math.inf)
        self.console.print(Text(printable(words)), soft_wrap=True)

    def _agent_says(self, record: Record, at_s: float) -> None:
        item_id, words = str(record.get("item_id")), str(record.get("text") or "")
        if record.get("final"):
            self._agent_words.pop(item_id, None)
            self._show(at_s, Shown("agent", words))
        else:
            self._agent_words[item_id] = self._agent_words.get(item_id, "") + words

    def _tool_called(self, record: Record, at_s: float) -> None:
        name = str(record.get("name"))
        self._tools[str(record.get("tool_call_id"))] = name
        self._show(at_s, Shown("model", f"calls the tool {name} {_on_one_line(record.get('arguments'))}".rstrip()))

    def _tool_finished(self, record: Record, at_s: float) -> None:
        name = self._tools.pop(str(record.get("tool_call_id")), "")
        self._show(at_s, Shown("call", f"the tool {name} returns: {_on_one_line(record.get('output'))}".rstrip()))

    def _show_unfinished(self, at_s: float) -> None:
        for words in self._agent_words.values():
            self._show(at_s, Shown("agent", f"{words.strip()} ..."))
        self._agent_words.clear()

    def _show_marks(self, at_s: float) -> None:
        counts = [(self._marks_played, "played"), (self._marks_flushed, "flushed")]
        words = ", ".join(f"{count} {how}" for count, how in counts if count)
        if words:
            self._show(at_s, Shown("line", f"marks: {words}"))
        self._marks_played = self._marks_flushed = 0

    def _show(self, at_s: float, shown: Shown) -> None:
        self._number += 1
        heappush(self._waiting, (at_s, self._number, shown))

    def _print(self, at_s: float, shown: Shown) -> None:
        line = Text(f"{at_s:8.2f}  ", "dim")
        line.append(f"{shown.who:<8}", _STYLES[shown.who])
        line.append(printable(shown.words), "" if shown.who in {"caller", "agent"} else _STYLES[shown.who])
        self.console.print(line, soft_wrap=True)
