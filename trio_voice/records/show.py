"""How calls are shown and exported: tables for people, CSV and JSON for programs."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from io import StringIO
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trio_voice.records.reading import CallRow, WholeCall
from trio_voice.records.tables import CALL_COLUMNS
from trio_voice.storage.call_record import LatencyKind, Outcome, Speaker
from trio_voice.storage.printable import printable

_STYLES = {
    Outcome.COMPLETED: "green",
    Outcome.CALLER_HUNG_UP: "green",
    Outcome.LINE_LOST: "yellow",
    Outcome.SERVER_ENDED: "yellow",
    Outcome.FAILED: "bold red",
    Outcome.CUT_OFF: "bold red",
}
_IN_WORDS = {
    LatencyKind.GREETING: "greeting",
    LatencyKind.FIRST_AUDIO: "first audio of replies",
    LatencyKind.BARGE_IN: "silence after barge-ins",
}


def calls_table(calls: Sequence[CallRow]) -> Table:
    """A line a call. Times of the day are local."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("began", "call", "caller"):
        table.add_column(title, no_wrap=True)
    for title in ("lasted", "turns", "barge-ins", "first audio"):
        table.add_column(title, justify="right")
    table.add_column("outcome", no_wrap=True)
    table.add_column("because", overflow="fold")
    for call in calls:
        table.add_row(
            _local(call["started_at"]),
            call["call_id"],
            _text(call["caller"]),
            _lasted(call["duration_s"]),
            str(call["turns"]),
            str(call["barge_ins"]),
            _ms(call["first_audio_ms_median"]),
            _outcome(call),
            _text(call["end_reason"]),
        )
    return table


def whole_call(found: WholeCall) -> Group:
    """One call, with what was said and done, in its order."""
    call = found.call
    head = Table.grid(padding=(0, 2))
    for name, value in (
        ("call", f"{call['call_id']} ({printable(call['call_sid'])})"),
        ("began", _local(call["started_at"])),
        ("from, to", f"{_plain(call['caller']) or '-'}, {_plain(call['called']) or '-'} ({call['dialect'] or '-'})"),
        ("lasted", _lasted(call["duration_s"])),
        ("outcome", _outcome(call)),
        ("because", _text(call["end_reason"])),
        *(
            (words, ", ".join(_ms(each["ms"]) for each in found.latencies if each["kind"] == kind.value) or "-")
            for kind, words in _IN_WORDS.items()
        ),
        *([("faults", str(call["faults"]))] if call["faults"] else []),
        *([("lines lost", str(call["lost_lines"]))] if call["lost_lines"] else []),
    ):
        head.add_row(Text(name, "bold"), value)
    body = Table(box=None, pad_edge=False, header_style="bold")
    body.add_column("at", justify="right", no_wrap=True)
    body.add_column("who", no_wrap=True)
    body.add_column("what", overflow="fold")
    for at_s, who, what in sorted(_story(found), key=lambda row: row[0]):
        body.add_row(f"{at_s:.2f}", who, Text(printable(what)))
    return Group(head, "", body)


def _story(found: WholeCall) -> Iterator[tuple[float, str, str]]:
    has_words = any(turn["text"] for turn in found.turns if turn["speaker"] == Speaker.CALLER.value)
    for turn in found.turns:
        heard = "" if turn["heard_ms"] is None else f" [interrupted: {turn['heard_ms'] / 1000:.1f} s were heard]"
        yield turn["started_s"], turn["speaker"], f"{turn['text'] or _no_words(turn, has_words)}{heard}"
    for tool in found.tools:
        took = "no answer" if tool["took_ms"] is None else f"{tool['output']} ({_ms(tool['took_ms'])})"
        yield tool["called_s"], "tool", f"{tool['name']}({tool['arguments']}) -> {took}"


def _no_words(turn: CallRow, has_words: bool) -> str:
    """What stands for the words of a turn that has none; `has_words`: others of the caller have some."""
    is_untold = turn["speaker"] == Speaker.CALLER.value and not has_words
    return "(no transcript: the caller's words take a model.transcription_model)" if is_untold else "(no transcript)"


def calls_csv(calls: Sequence[CallRow]) -> str:
    """A header, and a line a call; moments are RFC 3339, in UTC."""
    file = StringIO()
    writer = csv.DictWriter(file, CALL_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for call in calls:
        writer.writerow({**call, "started_at": call["started_at"].isoformat().replace("+00:00", "Z")})
    return file.getvalue()


def calls_json(found: Sequence[CallRow] | WholeCall) -> str:
    """A list of calls, or one call whose `turns`, `tools` and `latencies` are in it; moments are RFC 3339, in UTC."""
    shown: Any = found
    if isinstance(found, WholeCall):
        counted = {"turns": "turn_count", "tool_calls": "tool_call_count"}
        call = {counted.get(name, name): value for name, value in found.call.items()}
        shown = {**call, "turns": found.turns, "tool_calls": found.tools, "latencies": found.latencies}
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


def _outcome(call: CallRow) -> RenderableType:
    words = str(call["outcome"]).replace("_", " ")
    return Text(words, _STYLES[Outcome(call["outcome"])])


def _local(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _lasted(duration_s: float) -> str:
    minutes, seconds = divmod(round(duration_s), 60)
    return f"{minutes}:{seconds:02}"


def _ms(ms: int | None) -> str:
    return "-" if ms is None else f"{ms} ms"


def _plain(text: str | None) -> str:
    return printable(text or "")


def _text(text: str | None) -> Text:
    return Text(_plain(text) or "-")
