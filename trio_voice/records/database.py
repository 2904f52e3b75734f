"""The database: one connection at a time, used from one thread at a time, with every wait bounded.

It may be slow, locked, full, away or gone; then a `DatabaseFailedError` says so, without the address's password, and the next
attempt begins anew, with the folder, the file and the tables made again if they are not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from importlib import import_module
from statistics import median
from types import ModuleType
from typing import Any

import attrs
from attrs import define, field

from trio_voice.errors import TrioVoiceError, UserError
from trio_voice.records.address import Address
from trio_voice.records.connection import Connection, Store
from trio_voice.records.sqlite import SqliteStore
from trio_voice.records.tables import INSERT_CALL, INSERT_PART, REVISION, SCHEMA, make_tables
from trio_voice.storage.call_record import CallRecord, Latency, LatencyKind, Speaker, ToolUse, Turn

ASKED_AT_ONCE = 500


class DatabaseFailedError(TrioVoiceError):
    """The database did not take, or give, what it was asked. Another time it may."""


class RecordRefusedError(TrioVoiceError):
    """The database does not take this record, or this question, and never will."""


class NewerSchemaError(UserError):
    """A newer version has migrated the database."""


@define(eq=False)
class Database:
    """The records' database. All methods wait, and are for a thread."""

    address: Address
    reads_only: bool = False
    """Take no lock that would keep writers out."""
    _store: Store = field(init=False)
    _is_open: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._store = _store(self.address, self.reads_only)

    def open(self) -> None:
        """Make what is missing: folder, file, tables. Raises DatabaseFailedError; UserError if its schema is newer."""
        if self._is_open:
            return
        with self._faults():
            self._make_file()
            with self._store.connected() as connection:
                self._migrate(connection)
        self._is_open = True

    def check(self) -> None:
        """See whether there are records that this version can read. Raises UserError, and DatabaseFailedError."""
        path = self.address.path
        if path is not None and not path.exists():
            raise UserError(f"there are no records: {path} is not there; they come with the first call of: trio-voice serve")
        with self._faults(), self._store.connected() as connection:
            found = self._revision(connection)
        if found is None:
            raise UserError(f"there are no records in {self.address}; they come with the first call of: trio-voice serve")
        if found != REVISION:
            raise UserError(f"{self.address} has the tables of an older version; the next start of trio-voice serve renews them")

    def put(self, record: CallRecord) -> None:
        """Keep a call: all of it or nothing, in the place of an older record. Raises DatabaseFailedError, RecordRefusedError."""
        self.open()
        call_id = record.facts.call_id
        with self._faults(), self._store.connected() as connection:
            connection.run("DELETE FROM calls WHERE call_id = :call_id", [{"call_id": call_id}])
            connection.run(INSERT_CALL, [_row_of(record)])
            of_call: dict[str, Sequence[Turn | ToolUse | Latency]] = {
                "turns": record.turns,
                "tool_calls": record.tools,
                "latencies": record.latencies,
            }
            for name, parts in of_call.items():
                rows = [{"call_id": call_id, "number": number, **_fields(each)} for number, each in enumerate(parts, 1)]
                if rows:
                    connection.run(INSERT_PART[name], rows)

    def unknown(self, call_ids: Sequence[str]) -> list[str]:
        """Those of the calls that are not here. Raises DatabaseFailedError."""
        self.open()
        known: set[str] = set()
        with self._faults(), self._store.connected() as connection:
            for start in range(0, len(call_ids), ASKED_AT_ONCE):
                asked = call_ids[start : start + ASKED_AT_ONCE]
                values = {f"id{number}": call_id for number, call_id in enumerate(asked)}
                query = f"SELECT call_id FROM calls WHERE call_id IN ({', '.join(f':{name}' for name in values)})"  # noqa: S608 - no values
                known.update(row["call_id"] for row in connection.rows(query, values))
        return [call_id for call_id in call_ids if call_id not in known]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read with a connection of one's own. Raises DatabaseFailedError, RecordRefusedError."""
        with self._faults(), self._store.connected() as connection:
            yield connection

    def close(self) -> None:
        """Let go of the connection; the next use opens it again."""
        self._is_open = False
        self._store.close()

    # --- inside

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Speak of what went wrong without saying what is secret."""
        try:
            yield
        except self._store.refusals as error:
            raise RecordRefusedError(self._told(error)) from None
        except self._store.failures as error:
            self.close()
            raise DatabaseFailedError(self._told(error)) from None

    def _told(self, error: Exception) -> str:
        told = error.strerror or str(error) if isinstance(error, OSError) else " ".join(self._store.told(error).split())
        return self.address.without_secrets(told) or type(error).__name__

    def _make_file(self) -> None:
        """Make a SQLite file for this user alone: what was said is in it."""
        if (path := self.address.path) is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))

    def _revision(self, connection: Connection) -> str | None:
        """The schema's revision; None: there are no tables of ours. Raises NewerSchemaError."""
        if not connection.has_table(SCHEMA):
            return None
        rows = connection.rows("SELECT version_num FROM alembic_version")
        revision: str | None = rows[0]["version_num"] if rows else None
        if revision is not None and revision != REVISION and not _migrating().is_known(revision):
            raise NewerSchemaError(
                f"the records in {self.address} have schema {revision}, this version of trio-voice knows them up to {REVISION}: "
                "install the newer version, or give another database with records.url"
            )
        return revision

    def _migrate(self, connection: Connection) -> None:
        connection.keep_others_out()
        found = self._revision(connection)
        if found is None:
            if connection.has_table("calls"):
                raise UserError(f"{self.address} has a table calls that is not ours; give another database with records.url")
            make_tables(connection)
        elif found != REVISION:
            with connection.for_migrations() as own:
                _migrating().migrate(own)


def _store(address: Address, reads_only: bool) -> Store:
    if address.path is not None:
        return SqliteStore(address.path, reads_only)
    from trio_voice.records.postgresql import PostgresqlStore  # noqa: PLC0415 - 12 MB, which the default database does without

    assert address.url is not None
    return PostgresqlStore(address.url)


def _migrating() -> ModuleType:
    """Alembic weighs 16 MB, and SQLAlchemy 12; they are needed once in the life of a database."""
    return import_module("trio_voice.records.migrating")


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
