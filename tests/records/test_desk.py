"""From the spool into the database: what is done, and what stops the work."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from tests.records.samples import call_id, facts, write_journal
from trio_voice.records import sqlite as sqlite_module
from trio_voice.records.address import file_address
from trio_voice.records.database import Database, RecordRefusedError
from trio_voice.records.desk import Desk, Done
from trio_voice.records.reading import Wanted, list_calls
from trio_voice.records.spool import Spool
from trio_voice.storage.call_record import CallRecord


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(Database(file_address(tmp_path / "calls.db")), Spool(tmp_path))


def recorded(desk: Desk) -> list[tuple[str, str | None, str]]:
    with desk.database.reading() as connection:
        return [(row["call_id"], row["caller"], row["outcome"]) for row in list_calls(connection, Wanted())]


def test_a_call_goes_through_the_spool_into_the_database(tmp_path: Path, desk: Desk) -> None:
    known = facts(caller="…5310")
    assert desk.work([known], {}) == Done(spooled=(call_id(1),))
    assert desk.spool.waiting() == {call_id(1)}
    write_journal(tmp_path)
    assert desk.work([], {call_id(1): known}) == Done(recorded=(call_id(1),))
    assert desk.spool.waiting() == set()
    assert recorded(desk) == [(call_id(1), "…5310", "completed")]


def test_a_locked_database_keeps_the_call_in_the_spool(tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "LOCK_LIMIT_S", 0.01)
    desk.database.open()
    desk.database.close()
    with closing(sqlite3.connect(tmp_path / "calls.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = desk.work([facts(1), facts(2)], {call_id(1): None})
    assert done == Done(spooled=(call_id(1), call_id(2)), failure="database is locked")
    assert desk.spool.waiting() == {call_id(1), call_id(2)}


def test_a_newer_schema_keeps_the_call_in_the_spool(tmp_path: Path, desk: Desk) -> None:
    desk.database.open()
    desk.database.close()
    with closing(sqlite3.connect(tmp_path / "calls.db", isolation_level=None)) as other:
        other.execute("UPDATE alembic_version SET version_num = '99'")
    done = desk.work([facts(1)], {call_id(1): None})
    assert "have schema 99" in done.failure
    assert done.recorded == ()


def test_a_spool_that_cannot_be_written_does_not_keep_calls_out_of_the_database(tmp_path: Path, desk: Desk) -> None:
    desk.spool.folder.write_text("a file in the place of the folder")
    write_journal(tmp_path, 1)
    done = desk.work([facts(2)], {call_id(1): facts(1)})
    assert (done.spooled, done.recorded) == ((), (call_id(1),))
    assert done.failure.startswith(f"{desk.spool.folder}: ")


def test_a_full_spool_is_told(tmp_path: Path) -> None:
    desk = Desk(Database(file_address(tmp_path / "calls.db")), Spool(tmp_path, limit=1))
    assert desk.work([facts(1), facts(2)], {}) == Done(spooled=(call_id(1), call_id(2)), is_full=True)


def test_a_record_that_is_refused_does_not_stop_the_others(tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Database.put

    def refuse_the_first(self: Database, record: CallRecord) -> None:
        if record.facts.call_id == call_id(1):
            raise RecordRefusedError("value too long")
        put(self, record)

    monkeypatch.setattr(Database, "put", refuse_the_first)
    desk.work([facts(1), facts(2)], {})
    with structlog.testing.capture_logs() as logs:
        assert desk.work([], {call_id(1): None, call_id(2): None}) == Done(recorded=(call_id(1), call_id(2)))
    assert [(line["event"], line["call_id"], line["error"]) for line in logs] == [
        ("the database refuses a call's record", call_id(1), "value too long")
    ]
    assert [row[0] for row in recorded(desk)] == [call_id(2)]
    assert [path.suffix for path in desk.spool.folder.iterdir()] == [".refused"]


def test_what_others_have_left_is_found(tmp_path: Path, desk: Desk) -> None:
    write_journal(tmp_path, 1)  # ended, never recorded
    write_journal(tmp_path, 2, end=None)  # in progress, in another process
    write_journal(tmp_path, 3, end=None, age_s=1000.0)  # its server was killed
    write_journal(tmp_path, 4)  # recorded
    write_journal(tmp_path, 5)  # ours
    write_journal(tmp_path, 6)  # recorded, but written anew: it is in the spool
    desk.work([], {call_id(4): None, call_id(6): None})
    desk.spool.put(facts(6))
    assert desk.left_over(frozenset({call_id(5)})) == [call_id(6), call_id(3), call_id(1)]
    desk.work([], dict.fromkeys(desk.left_over(frozenset())))
    assert [(row[0], row[2]) for row in recorded(desk)][:3] == [
        (call_id(6), "completed"),
        (call_id(5), "completed"),
        (call_id(4), "completed"),
    ]
    assert desk.left_over(frozenset()) == []


def test_a_folder_of_a_call_without_a_journal_is_left_alone(tmp_path: Path, desk: Desk) -> None:
    (tmp_path / call_id(1)).mkdir()
    assert desk.work([], dict.fromkeys(desk.left_over(frozenset()))) == Done(recorded=(call_id(1),))
    assert recorded(desk) == []
