"""Lists of calls, and one call with all that was in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from tests.records.samples import STARTED_AT, call_id, facts, record
from trio_voice.records.address import file_address
from trio_voice.records.connection import Connection
from trio_voice.records.database import Database
from trio_voice.records.reading import Wanted, find_call, list_calls
from trio_voice.records.tables import CALL_COLUMNS
from trio_voice.storage.call_record import Outcome


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    database = Database(file_address(tmp_path / "calls.db"))
    database.put(record(1))
    database.put(record(2, outcome=Outcome.FAILED))
    database.put(record(3, facts=facts(3, caller="50%_")))
    with database.reading() as connection:
        yield connection


def ids(connection: Connection, wanted: Wanted) -> list[str]:
    return [str(row["call_id"]) for row in list_calls(connection, wanted)]


def test_the_newest_come_first_and_no_more_than_are_wanted(connection: Connection) -> None:
    assert ids(connection, Wanted()) == [call_id(3), call_id(2), call_id(1)]
    assert ids(connection, Wanted(limit=2)) == [call_id(3), call_id(2)]


def test_since_a_moment_in_any_time_zone(connection: Connection) -> None:
    moment = STARTED_AT.replace(minute=2)
    assert ids(connection, Wanted(since=moment)) == [call_id(3), call_id(2)]
    assert ids(connection, Wanted(since=(moment + timedelta(microseconds=1)).astimezone(timezone(timedelta(hours=5))))) == [
        call_id(3)
    ]


def test_by_the_end_of_the_callers_number_and_by_outcome(connection: Connection) -> None:
    assert ids(connection, Wanted(caller="10")) == [call_id(2), call_id(1)]
    assert ids(connection, Wanted(caller="%_")) == [call_id(3)]
    assert ids(connection, Wanted(caller="31")) == []
    assert ids(connection, Wanted(outcome=Outcome.FAILED, caller="5310")) == [call_id(2)]


def test_a_row_has_the_call_in_numbers(connection: Connection) -> None:
    (*_, row) = list_calls(connection, Wanted())
    assert tuple(row) == CALL_COLUMNS
    assert row["started_at"] == STARTED_AT.replace(minute=1)
    assert {key: row[key] for key in ("turns", "tool_calls", "greeting_ms", "first_audio_ms_median", "first_audio_ms_max")} == {
        "turns": 1,
        "tool_calls": 1,
        "greeting_ms": 400,
        "first_audio_ms_median": 600,
        "first_audio_ms_max": 701,
    }


@pytest.mark.parametrize("name", [call_id(1), "CA1"])
def test_one_call_is_found_by_either_id_with_all_its_parts(connection: Connection, name: str) -> None:
    found = find_call(connection, name)
    assert found is not None
    assert found.call["call_id"] == call_id(1)
    assert [(turn["speaker"], turn["heard_ms"]) for turn in found.turns] == [("caller", None), ("agent", 320)]
    assert [tool["name"] for tool in found.tools] == ["book"]
    assert [(each["kind"], each["ms"]) for each in found.latencies] == [
        ("greeting", 400),
        ("first_audio", 500),
        ("first_audio", 701),
        ("barge_in", 180),
    ]


def test_a_call_that_is_not_there_is_none(connection: Connection) -> None:
    assert find_call(connection, "CA9") is None
