"""The database: one connection at a time, used from one thread at a time, with every wait bounded.

It may be slow, locked, full, away or gone; then a `DatabaseFailedError` says so, without the address's password, and the next
attempt begins anew, with the folder, the file and the tables made again if they are not there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from importlib import import_module
from statistics import median
from types import ModuleType
from typing import Any

import attrs
from attrs import define, field
from sqlalchemy import Connection, Engine, Table, create_engine, delete, event, insert, inspect, select, text
from sqlalchemy.exc import DataError, SQLAlchemyError, StatementError
from sqlalchemy.pool import NullPool

from trio_voice.errors import TrioVoiceError, UserError
from trio_voice.records.address import Address
from trio_voice.records.tables import CALLS, LATENCIES, METADATA, REVISION, SCHEMA, TOOL_CALLS, TURNS
from trio_voice.storage.call_record import CallRecord, Latency, LatencyKind, Speaker, ToolUse, Turn

LOCK_LIMIT_S = 2.0
CONNECT_LIMIT_S = 5
STATEMENT_LIMIT_S = 10
ASKED_AT_ONCE = 500
MIGRATION_LOCK = 0x7472696F
"""PostgreSQL's advisory lock: of several servers that start at once one migrates, and the others wait for it."""


class DatabaseFailedError(TrioVoiceError):
    """The database did not take, or give, what it was asked. Another time it may."""


class RecordRefusedError(TrioVoiceError):
    """The database does not take this record, and never will."""


class NewerSchemaError(UserError):
    """A newer version has migrated the database."""


@define(eq=False)
class Database:
    """The records' database. All methods wait, and are for a thread."""

    address: Address
    reads_only: bool = False
    """Take no lock that would keep writers out."""
    _engine: Engine | None = field(default=None, init=False)
    _is_open: bool = field(default=False, init=False)

    def open(self) -> None:
        """Make what is missing: folder, file, tables. Raises DatabaseFailedError; UserError if its schema is newer."""
        if self._is_open:
            return
        with self._faults():
            self._make_file()
            with self._connected() as connection:
                self._migrate(connection)
        self._is_open = True

    def check(self) -> None:
        """See whether there are records that this version can read. Raises UserError, and DatabaseFailedError."""
        path = self.address.path
        if path is not None and not path.exists():
            raise UserError(f"there are no records: {path} is not there; they come with the first call of: trio-voice serve")
        with self._faults(), self._connected() as connection:
            found = self._revision(connection)
        if found is None:
            raise UserError(f"there are no records in {self.address}; they come with the first call of: trio-voice serve")
        if found != REVISION:
            raise UserError(f"{self.address} has the tables of an older version; the next start of trio-voice serve renews them")

    def put(self, record: CallRecord) -> None:
        """Keep a call: all of it or nothing, in the place of an older record. Raises DatabaseFailedError, RecordRefusedError."""
        self.open()
        call_id = record.facts.call_id
        with self._faults(), self._connected() as connection:
            connection.execute(delete(CALLS).where(CALLS.c.call_id == call_id))
            connection.execute(insert(CALLS), _row_of(record))
            of_call: tuple[tuple[Table, Sequence[Turn | ToolUse | Latency]], ...] = (
                (TURNS, record.turns),
                (TOOL_CALLS, record.tools),
                (LATENCIES, record.latencies),
            )
            for table, parts in of_call:
                rows = [{"call_id": call_id, "number": number, **_fields(each)} for number, each in enumerate(parts, 1)]
                if rows:
                    connection.execute(insert(table), rows)

    def unknown(self, call_ids: Sequence[str]) -> list[str]:
        """Those of the calls that are not here. Raises DatabaseFailedError."""
        self.open()
        known: set[str] = set()
        with self._faults(), self._connected() as connection:
            for start in range(0, len(call_ids), ASKED_AT_ONCE):
                asked = call_ids[start : start + ASKED_AT_ONCE]
                known.update(connection.execute(select(CALLS.c.call_id).where(CALLS.c.call_id.in_(asked))).scalars())
        return [call_id for call_id in call_ids if call_id not in known]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read with a connection of one's own. Raises DatabaseFailedError."""
        with self._faults(), self._connected() as connection:
            yield connection

    def close(self) -> None:
        """Let go of the connection; the next use opens it again."""
        self._is_open = False
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    # --- inside

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Speak of what went wrong without saying what is secret."""
        try:
            yield
        except DataError as error:
            raise RecordRefusedError(self._told(error)) from None
        except (SQLAlchemyError, OSError) as error:
            self.close()
            raise DatabaseFailedError(self._told(error)) from None

    def _told(self, error: SQLAlchemyError | OSError) -> str:
        if isinstance(error, OSError):
            told = error.strerror or str(error)
        else:
            cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
            told = " ".join(str(cause).split())
        return self.address.without_secrets(told) or type(error).__name__

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """A connection, and a transaction on it, that is committed at the block's end."""
        if self._engine is None:
            self._engine = _sqlite(self.address, self.reads_only) if self.address.path is not None else _postgresql(self.address)
        with self._engine.begin() as connection:
            yield connection

    def _make_file(self) -> None:
        """Make a SQLite file for this user alone: what was said is in it."""
        if (path := self.address.path) is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))

    def _revision(self, connection: Connection) -> str | None:
        """The schema's revision; None: there are no tables of ours. Raises NewerSchemaError."""
        if not inspect(connection).has_table(SCHEMA.name):
            return None
        revision = connection.execute(select(SCHEMA.c.version_num)).scalar_one_or_none()
        if revision is not None and revision != REVISION and not _migrating().is_known(revision):
            raise NewerSchemaError(
                f"the records in {self.address} have schema {revision}, this version of trio-voice knows them up to {REVISION}: "
                "install the newer version, or give another database with records.url"
            )
        return revision

    def _migrate(self, connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        found = self._revision(connection)
        if found is None:
            self._make_tables(connection)
        elif found != REVISION:
            _migrating().migrate(connection)

    def _make_tables(self, connection: Connection) -> None:
        """Make what the migrations would come to, one after the other (a test compares the two)."""
        if inspect(connection).has_table(CALLS.name):
            raise UserError(f"{self.address} has a table {CALLS.name} that is not ours; give another database with records.url")
        METADATA.create_all(connection)
        SCHEMA.create(connection, checkfirst=True)
        connection.execute(insert(SCHEMA), {"version_num": REVISION})


def _migrating() -> ModuleType:
    """Alembic weighs 16 MB, and is needed once in the life of a database."""
    return import_module("trio_voice.records.migrating")


def _postgresql(address: Address) -> Engine:
    limit_ms = STATEMENT_LIMIT_S * 1000
    arguments = {
        "connect_timeout": CONNECT_LIMIT_S,
        "tcp_user_timeout": limit_ms,
        "options": f"-c statement_timeout={limit_ms} -c lock_timeout={limit_ms}",
        "application_name": "trio-voice",
    }
    # A connection that has died is noticed before it is used; one is enough for one thread.
    return create_engine(address.url, connect_args=arguments, pool_size=1, max_overflow=0, pool_pre_ping=True)


def _sqlite(address: Address, reads_only: bool) -> Engine:
    """Transactions are ours, and not the driver's, whose own leave out what changes tables."""
    engine = create_engine(
        address.url, connect_args={"timeout": LOCK_LIMIT_S, "isolation_level": None}, poolclass=NullPool
    )  # a file that was removed and made again must not be written through an old connection

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        if not reads_only:
            # The mode is the file's. Its change is not waited for by SQLite: who finds the file locked leaves it to the other.
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begin)
    return engine


def _row_of(record: CallRecord) -> dict[str, Any]:
    greeting, first_audio, barge_in = (record.latencies_of(kind) for kind in LatencyKind)
    return {
        **attrs.asdict(record.facts),
        "duration_s": record.duration_s,
        "outcome": record.outcome.value,
        "end_reason": record.end_reason,
        "version": record.version,
        "turns": sum(turn.speaker is Speaker.CALLER for turn in record.turns),
        "barge_ins": record.barge_ins,
        "tool_calls": len(record.tools),
        "faults": record.faults,
        "lost_lines": record.lost_lines,
        "greeting_ms": greeting[0] if greeting else None,
        "first_audio_ms_median": round(median(first_audio)) if first_audio else None,
        "first_audio_ms_max": max(first_audio, default=None),
        "barge_in_ms_median": round(median(barge_in)) if barge_in else None,
        "barge_in_ms_max": max(barge_in, default=None),
    }


def _fields(part: Turn | ToolUse | Latency) -> dict[str, Any]:
    return {name: value.value if isinstance(value, Enum) else value for name, value in attrs.asdict(part).items()}
