"""A database that is well, locked, full, away, removed, broken, or newer: SQLite, and a real PostgreSQL server."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from sqlalchemy import inspect

from tests.records import postgresql
from tests.records.samples import call_id, record
from trio_voice.errors import UserError
from trio_voice.records import database as module
from trio_voice.records import migrating
from trio_voice.records import postgresql as postgresql_module
from trio_voice.records import sqlite as sqlite_module
from trio_voice.records.address import file_address, read_address
from trio_voice.records.database import Database, DatabaseFailedError, NewerSchemaError, RecordRefusedError
from trio_voice.records.reading import find_call


@pytest.fixture(scope="module")
def server() -> Iterator[postgresql.Server]:
    with postgresql.server() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield Database(file_address(tmp_path / "calls.db"))
        return
    with emptied(request.getfixturevalue("server")) as found:
        yield found


@contextmanager
def emptied(server: postgresql.Server) -> Iterator[Database]:
    """The server's database; its tables are dropped in the end."""
    found = Database(read_address(server.url()))
    yield found
    found.close()
    with found.reading() as connection:
        connection.run("DROP TABLE IF EXISTS latencies, tool_calls, turns, calls, alembic_version")
    found.close()


def counts(database: Database) -> list[int]:
    with database.reading() as connection:
        return [
            connection.rows(f"SELECT count(*) AS n FROM {each}")[0]["n"] for each in ("calls", "turns", "tool_calls", "latencies")
        ]


# --- both kinds


def test_a_record_is_kept_whole(database: Database) -> None:
    database.put(record())
    assert counts(database) == [1, 2, 1, 4]
    with database.reading() as connection:
        found = find_call(connection, call_id(1))
    assert found is not None
    assert found.turns[0]["text"] == record().turns[0].text
    assert found.call["started_at"] == record().facts.started_at


def test_a_record_takes_the_place_of_an_older_one_with_all_its_parts(database: Database) -> None:
    database.put(record())
    database.put(record(turns=(), latencies=()))
    assert counts(database) == [1, 0, 1, 0]


def test_another_program_finds_what_is_there(database: Database) -> None:
    database.put(record())
    database.close()
    again = Database(database.address)
    again.open()
    assert counts(again) == [1, 2, 1, 4]
    again.close()


def test_servers_that_start_at_once_make_the_tables_once(database: Database) -> None:
    ready, failures = threading.Barrier(4), list[Exception]()

    def start(number: int) -> None:
        own = Database(database.address)
        ready.wait(10)
        try:
            own.put(record(number))
        except (DatabaseFailedError, UserError) as error:
            failures.append(error)
        own.close()

    servers = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for each in servers:
        each.start()
    for each in servers:
        each.join(30)
    assert failures == []
    assert counts(database) == [4, 8, 4, 16]


def test_calls_that_are_not_there_are_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASKED_AT_ONCE", 2)
    database.put(record(2))
    assert database.unknown([call_id(number) for number in (5, 4, 3, 2, 1)]) == [call_id(number) for number in (5, 4, 3, 1)]
    assert database.unknown([]) == []


def schema(database: Database) -> dict[str, object]:
    """Tables, columns, keys and indices, as SQLAlchemy finds them."""
    with database.reading() as own, own.for_migrations() as connection:
        found = inspect(connection)
        return {
            table: (
                [{**column, "type": repr(column["type"])} for column in found.get_columns(table)],
                found.get_pk_constraint(table),
                found.get_foreign_keys(table),
                sorted(found.get_indexes(table), key=lambda index: str(index["name"])),
            )
            for table in found.get_table_names()
        }


def test_new_tables_are_those_that_the_migrations_make(database: Database) -> None:
    database.open()
    new = schema(database)
    assert sorted(new) == ["alembic_version", "calls", "latencies", "tool_calls", "turns"]
    with database.reading() as connection:
        for table in ("latencies", "tool_calls", "turns", "calls", "alembic_version"):
            connection.run(f"DROP TABLE {table}")
    with database.reading() as own, own.for_migrations() as connection:
        migrating.migrate(connection)
    assert schema(database) == new


def test_an_older_schema_is_migrated_when_the_database_is_opened(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.put(record(1))
    database.close()
    monkeypatch.setattr(module, "REVISION", "2")
    database.put(record(2))
    assert counts(database) == [2, 4, 2, 8]
    with database.reading() as connection:
        assert connection.rows("SELECT version_num FROM alembic_version") == [{"version_num": migrating.newest_revision()}]


def test_a_newer_schema_is_refused_with_what_to_do(database: Database) -> None:
    database.open()
    with database.reading() as connection:
        connection.run("UPDATE alembic_version SET version_num = '99'")
    database.close()
    for use in (database.open, database.check):
        with pytest.raises(
            NewerSchemaError, match=r"have schema 99, this version of trio-voice knows them up to 1: install the newer"
        ):
            use()


def test_a_database_with_another_programs_calls_is_left_alone(database: Database) -> None:
    if database.address.path is not None:
        database.address.path.touch()
    with database.reading() as connection:
        connection.run("CREATE TABLE calls (number INTEGER)")
    with pytest.raises(UserError, match=r"has a table calls that is not ours; give another database with records\.url"):
        database.open()


def test_an_older_or_an_empty_schema_is_not_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if database.address.path is not None:
        database.address.path.touch()
    with pytest.raises(UserError, match=r"there are no records in .*; they come with the first call"):
        database.check()
    database.open()
    database.check()
    monkeypatch.setattr(module, "REVISION", "2")
    with pytest.raises(UserError, match=r"has the tables of an older version; the next start of trio-voice serve renews them"):
        database.check()


def test_what_no_database_takes_is_refused(database: Database) -> None:
    spoken, *others = record().turns
    for turn in (evolve(spoken, text="half a character: \ud83d"), evolve(spoken, heard_ms=2**70)):
        with pytest.raises(RecordRefusedError):
            database.put(record(1, turns=(turn, *others)))
    database.put(record(2))
    assert counts(database) == [1, 2, 1, 4]


# --- SQLite


def test_the_file_is_this_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "calls.db"
    database = Database(file_address(path))
    database.open()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_file_that_is_not_there_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there are no records: .*calls.db is not there; they come with the first call"):
        Database(file_address(tmp_path / "calls.db"), reads_only=True).check()
    assert list(tmp_path.iterdir()) == []


def test_r38_a_locked_file_is_a_fault_for_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "LOCK_LIMIT_S", 0.01)
    database = Database(file_address(tmp_path / "calls.db"))
    database.open()
    with closing(sqlite3.connect(tmp_path / "calls.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseFailedError, match="database is locked"):
            database.put(record())
        reader = Database(database.address, reads_only=True)
        reader.check()
        assert counts(reader) == [0, 0, 0, 0]
    database.put(record())
    assert counts(database) == [1, 2, 1, 4]


def test_r38_a_full_disk_is_a_fault_for_now_and_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(file_address(tmp_path / "calls.db"))
    database.put(record(1))

    def full(*arguments: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **more)
        connection.execute("PRAGMA max_page_count = 1")  # it is taken for the number there is
        return connection

    connect = sqlite3.connect
    big = tuple(evolve(turn, text="x" * 16_000) for turn in record().turns)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", full)
        with pytest.raises(DatabaseFailedError, match="database or disk is full"):
            database.put(record(2, turns=big))
    assert counts(database) == [1, 2, 1, 4]
    database.put(record(2))
    assert counts(database) == [2, 4, 2, 8]


def test_r38_a_folder_that_was_removed_is_made_again_with_its_tables(tmp_path: Path) -> None:
    database = Database(file_address(tmp_path / "calls" / "calls.db"))
    database.put(record(1))
    shutil.rmtree(tmp_path / "calls")
    with pytest.raises(DatabaseFailedError, match="unable to open database file"):
        database.put(record(2))
    database.put(record(2))
    assert counts(database) == [1, 2, 1, 4]


def test_a_file_that_was_removed_from_its_folder_is_made_again(tmp_path: Path) -> None:
    database = Database(file_address(tmp_path / "calls.db"))
    database.put(record(1))
    (tmp_path / "calls.db").unlink()
    reader = Database(database.address, reads_only=True)
    for use in (lambda: counts(reader), lambda: database.put(record(2))):
        with pytest.raises(DatabaseFailedError, match="unable to open database file"):
            use()
    database.put(record(2))
    assert counts(database) == counts(reader) == [1, 2, 1, 4]
    assert (tmp_path / "calls.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"this is no database at all, " * 100])
def test_a_file_that_is_no_database_is_a_fault(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "calls.db").write_bytes(content)
    with pytest.raises(DatabaseFailedError, match="file is not a database"):
        Database(file_address(tmp_path / "calls.db")).open()
    assert (tmp_path / "calls.db").read_bytes() == content


def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text("a file in the place of the folder")
    with pytest.raises(DatabaseFailedError, match=r"File exists|Not a directory"):
        Database(file_address(tmp_path / "calls" / "calls.db")).open()


# --- PostgreSQL


@pytest.fixture
def in_server(server: postgresql.Server) -> Iterator[Database]:
    with emptied(server) as found:
        yield found


def test_r38_a_server_that_is_gone_is_a_fault_until_it_is_back(server: postgresql.Server, in_server: Database) -> None:
    in_server.put(record(1))
    server.stop()
    try:
        for _ in range(2):
            with pytest.raises(DatabaseFailedError) as caught:
                in_server.put(record(2))
            assert "kept-secret" not in str(caught.value)
    finally:
        server.start()
    in_server.put(record(2))
    assert counts(in_server) == [2, 4, 2, 8]


def test_r38_a_server_that_is_slow_is_given_up(
    server: postgresql.Server, in_server: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_module, "STATEMENT_LIMIT_S", 0.1)
    in_server.open()
    other = Database(read_address(server.url()))
    with other.reading() as connection:
        connection.run("LOCK TABLE calls IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseFailedError, match="timeout"):
            in_server.put(record(1))
    in_server.put(record(1))
    other.close()


def test_a_database_that_is_not_there_is_told_without_the_password(server: postgresql.Server) -> None:
    with pytest.raises(DatabaseFailedError, match='database "elsewhere" does not exist') as caught:
        Database(read_address(server.url("elsewhere"))).open()
    assert "kept-secret" not in str(caught.value)


def test_what_postgresql_never_takes_is_refused(in_server: Database) -> None:
    with pytest.raises(RecordRefusedError):
        in_server.put(record(1, end_reason="a zero byte: \0"))
    in_server.put(record(2))
