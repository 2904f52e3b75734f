"""How calls look to people, and to programs."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from rich.console import Console, RenderableType

from tests.records.samples import call_id, facts, record
from trio_voice.records.address import file_address
from trio_voice.records.database import Database
from trio_voice.records.reading import Wanted, WholeCall, find_call, list_calls
from trio_voice.records.show import calls_csv, calls_json, calls_table, whole_call
from trio_voice.records.tables import CALL_COLUMNS
from trio_voice.storage.call_record import CallRecord, Outcome, Speaker, ToolUse


@pytest.fixture(autouse=True)
def in_utc() -> Iterator[None]:
    """Times of the day are shown as they are where the program runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def seen(what: RenderableType) -> list[str]:
    console = Console(width=300, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return [line.rstrip() for line in capture.get().splitlines()]


def database_with(folder: Path, *records: CallRecord) -> Database:
    database = Database(file_address(folder / "calls.db"))
    for each in records:
        database.put(each)
    return database


def whole(folder: Path, kept: CallRecord) -> WholeCall:
    with database_with(folder, kept).reading() as connection:
        found = find_call(connection, kept.facts.call_id)
    assert found is not None
    return found


def test_a_list_has_a_line_a_call(tmp_path: Path) -> None:
    bare = record(
        2, facts=facts(2), outcome=Outcome.CUT_OFF, end_reason=None, turns=(), latencies=(), tools=(), duration_s=3661.4
    )
    with database_with(tmp_path, record(1), bare).reading() as connection:
        lines = seen(calls_table(list_calls(connection, Wanted())))
    assert [line.split() for line in lines] == [
        ["began", "call", "caller", "lasted", "turns", "barge-ins", "first", "audio", "outcome", "because"],
        ["2026-11-21", "09:02:12", call_id(2), "-", "61:01", "0", "1", "-", "cut", "off", "-"],
        [
            "2026-11-21",
            "09:01:12",
            "20261121-093001-00000001",
            "…5310",
            "0:12",
            "1",
            "1",
            "600",
            "ms",
            "completed",
            "the",
            "agent",
            "ended",
            "the",
            "call",
        ],
    ]


def test_a_call_is_a_story(tmp_path: Path) -> None:
    lines = seen(whole_call(whole(tmp_path, record(1, faults=2, lost_lines=7))))
    assert [line for line in lines if line] == [
        f"call                     {call_id(1)} (CA1)",
        "began                    2026-11-21 09:01:12",
        "from, to                 …5310, …1234 (twilio)",
        "lasted                   0:12",
        "outcome                  completed",
        "because                  the agent ended the call",
        "greeting                 400 ms",
        "first audio of replies   500 ms, 701 ms",
        "silence after barge-ins  180 ms",
        "faults                   2",
        "lines lost               7",
        "  at  who     what",
        "1.00  caller  Tisch für zwei \N{SMILING FACE WITH OPEN MOUTH}",
        "2.50  agent   Gladly. [interrupted: 0.3 s were heard]",
        '2.60  tool    book({"for": 2}) -> {"ok": 1} (40 ms)',
    ]


def test_what_peers_say_cannot_reach_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b[31mred[bold]"
    tool = ToolUse(tool_call_id="c", name=evil, arguments=evil, called_s=1.0)
    lines = seen(whole_call(whole(tmp_path, record(1, end_reason=evil, tools=(tool,)))))
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert text.count("\\x1b[31mred[bold]") == 3
    assert "-> no answer" in text


def test_csv_has_every_column(tmp_path: Path) -> None:
    with database_with(tmp_path, record(1), record(2, end_reason='a "quoted", reason')).reading() as connection:
        text = calls_csv(list_calls(connection, Wanted()))
    first, second = csv.DictReader(text.splitlines())
    assert tuple(first) == CALL_COLUMNS
    assert (first["end_reason"], first["started_at"]) == ('a "quoted", reason', "2026-11-21T09:02:12.123456Z")
    assert (second["call_id"], second["barge_in_ms_max"], second["lost_lines"]) == (call_id(1), "180", "0")


def test_json_of_a_list_and_of_one_call(tmp_path: Path) -> None:
    with database_with(tmp_path, record(1)).reading() as connection:
        (row,) = json.loads(calls_json(list_calls(connection, Wanted())))
    assert tuple(row) == CALL_COLUMNS
    one = json.loads(calls_json(whole(tmp_path, record(1))))
    assert (one["call_id"], one["turn_count"], one["tool_call_count"]) == (call_id(1), 1, 1)
    assert [turn["speaker"] for turn in one["turns"]] == ["caller", "agent"]
    assert [tool["name"] for tool in one["tool_calls"]] == ["book"]
    assert one["latencies"][0] == {"kind": "greeting", "at_s": 0.4, "ms": 400}
    assert one["started_at"] == "2026-11-21T09:01:12.123456Z"


def test_where_no_word_of_the_caller_is_known_it_is_said_what_would_tell_them(tmp_path: Path) -> None:
    kept = record(1)
    mute = tuple(evolve(turn, text="") for turn in kept.turns)
    lines = [line for line in seen(whole_call(whole(tmp_path, evolve(kept, turns=mute)))) if "no transcript" in line]
    hint = "(no transcript: the caller's words take a model.transcription_model)"
    assert [hint in line for line in lines] == [turn.speaker is Speaker.CALLER for turn in mute]
    assert any(turn.speaker is Speaker.AGENT for turn in mute)


def test_a_turn_without_words_among_others_is_no_lack_of_a_setting(tmp_path: Path) -> None:
    kept = record(1)
    first = next(turn for turn in kept.turns if turn.speaker is Speaker.CALLER)
    turns = (evolve(first, text="", started_s=first.started_s + 100), *(evolve(turn, text="x") for turn in kept.turns))
    (line,) = [line for line in seen(whole_call(whole(tmp_path, evolve(kept, turns=turns)))) if "no transcript" in line]
    assert line.endswith("(no transcript)")
