"""Records in a SQLite file: what is in the file, and how transactions end. Faults are in test_database.py."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.records.samples import STARTED_AT
from trio_voice.records import sqlite as module
from trio_voice.records.sqlite import SqliteStore

TABLE = "CREATE TABLE moments (number INTEGER PRIMARY KEY, moment DATETIME)"


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    (tmp_path / "calls.db").touch()
    found = SqliteStore(tmp_path / "calls.db")
    with found.connected() as connection:
        connection.run(TABLE)
    return found


def in_the_file(tmp_path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(tmp_path / "calls.db")) as other:
        return list(other.execute("SELECT * FROM moments"))


def test_moments_are_texts_in_utc_that_sort_as_the_moments_do(store: SqliteStore, tmp_path: Path) -> None:
    whole = STARTED_AT.replace(microsecond=0)
    elsewhere = (whole + timedelta(seconds=1)).astimezone(timezone(timedelta(hours=-5)))
    moments: list[datetime | None] = [whole, STARTED_AT, elsewhere, None]
    with store.connected() as connection:
        connection.run("INSERT INTO moments (moment) VALUES (:moment)", [{"moment": moment} for moment in moments])
        later = connection.rows("SELECT number FROM moments WHERE moment > :begin", {"begin": whole})
    assert in_the_file(tmp_path) == [
        (1, "2026-11-21 09:30:12.000000"),
        (2, "2026-11-21 09:30:12.123456"),
        (3, "2026-11-21 09:30:13.000000"),
        (4, None),
    ]
    assert later == [{"number": 2}, {"number": 3}]


def test_a_block_that_raises_leaves_nothing(store: SqliteStore, tmp_path: Path) -> None:
    def write_and_fail() -> None:
        with store.connected() as connection:
            connection.run("CREATE TABLE more (number INTEGER)")
            connection.run("INSERT INTO moments (number) VALUES (1)")
            assert connection.has_table("more")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert in_the_file(tmp_path) == []
    with store.connected() as connection:
        assert not connection.has_table("more")


@pytest.mark.parametrize("reads_only", [False, True])
def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, reads_only: bool) -> None:
    store = SqliteStore(tmp_path / "calls.db", reads_only)
    with pytest.raises(sqlite3.OperationalError, match=r"^unable to open database file$"), store.connected():
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    path = tmp_path / "50% of?calls=all#1 \N{SNOWMAN}.db"
    path.touch()
    with SqliteStore(path).connected() as connection:
        connection.run(TABLE)
    with SqliteStore(path, reads_only=True).connected() as connection:
        assert connection.has_table("moments")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_reader_sees_one_state_while_others_write(store: SqliteStore) -> None:
    reader = SqliteStore(store._path, reads_only=True)
    with reader.connected() as reading:
        assert reading.rows("SELECT * FROM moments") == []
        with store.connected() as writing:
            writing.run("INSERT INTO moments (number) VALUES (:number)", [{"number": 1}, {"number": 2}])
        assert reading.rows("SELECT * FROM moments") == []
    with reader.connected() as reading:
        assert reading.rows("SELECT number FROM moments") == [{"number": 1}, {"number": 2}]


def test_a_migration_says_itself_that_others_have_the_file(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_LIMIT_S", 0.01)
    with (
        closing(sqlite3.connect(tmp_path / "calls.db", isolation_level=None)) as other,
        SqliteStore(tmp_path / "calls.db", reads_only=True).connected() as connection,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match=r"^database is locked$"), connection.for_migrations():
            pass


def test_what_a_migration_does_is_all_there_or_nothing(store: SqliteStore, tmp_path: Path) -> None:
    with store.connected() as connection, connection.for_migrations() as migration:
        migration.execute(text("INSERT INTO moments (number) VALUES (1)"))

    def migrate_and_fail() -> None:
        with store.connected() as connection, connection.for_migrations() as migration:
            migration.execute(text("INSERT INTO moments (number) VALUES (2)"))
            migration.execute(text("INSERT INTO elsewhere (number) VALUES (2)"))

    with pytest.raises(sqlite3.OperationalError, match=r"^no such table: elsewhere$"):
        migrate_and_fail()
    assert in_the_file(tmp_path) == [(1, None)]
