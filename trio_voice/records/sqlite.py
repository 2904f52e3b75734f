"""Records in a SQLite file: one connection a transaction, since a file that was removed and made again has to be noticed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define

from trio_voice.records.connection import Row

if TYPE_CHECKING:
    import sqlalchemy

LOCK_LIMIT_S = 2.0


@define(eq=False)
class SqliteConnection:
    """A transaction in a file. Moments are texts, in UTC."""

    _connection: sqlite3.Connection

    @property
    def moment_type(self) -> str:
        """As migrations call it."""
        return "DATETIME"

    def rows(self, query: str, values: Mapping[str, Any] = {}) -> list[Row]:
        """Ask."""
        cursor = self._connection.execute(query, _stored(values))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def run(self, statement: str, values: Sequence[Mapping[str, Any]] = ({},)) -> None:
        """Run a statement."""
        self._connection.executemany(statement, map(_stored, values))

    def has_table(self, name: str) -> bool:
        """Whether there is such a table."""
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name", {"name": name}))

    def keep_others_out(self) -> None:
        """They are kept out: whoever writes is alone from the begin of the transaction."""

    @contextmanager
    def for_migrations(self) -> Iterator[sqlalchemy.Connection]:
        """A transaction of SQLAlchemy's. Its first look at a connection ends what has begun on it, so this one is over before."""
        from sqlalchemy import create_engine, event  # noqa: PLC0415 - 12 MB, needed once in the life of a database
        from sqlalchemy.exc import StatementError  # noqa: PLC0415 - as above
        from sqlalchemy.pool import StaticPool  # noqa: PLC0415 - as above

        engine = create_engine("sqlite://", creator=lambda: self._connection, poolclass=StaticPool, pool_reset_on_return=None)
        event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
        self._connection.commit()
        try:
            with engine.begin() as connection:
                yield connection
        except StatementError as error:  # SQLite's own error says what there is to say
            raise error.orig or error from None


@define(eq=False)
class SqliteStore:
    """A file, which is there: SQLite would make it for everybody to read."""

    _path: Path
    _reads_only: bool = False
    """Take no lock that would keep writers out."""

    @property
    def refusals(self) -> tuple[type[Exception], ...]:
        """Texts that are too long, or no Unicode, and whole numbers of more than 64 bits."""
        return (sqlite3.DataError, UnicodeEncodeError, OverflowError)

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """All that SQLite says, and the disk."""
        return (sqlite3.Error, OSError)

    @contextmanager
    def connected(self) -> Iterator[SqliteConnection]:
        """A transaction: ours, and not the driver's, whose own leave out what changes tables."""
        address = f"{self._path.as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=LOCK_LIMIT_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            if not self._reads_only:
                # The mode is the file's. Its change is not waited for by SQLite: who finds it locked leaves it to the other.
                with suppress(sqlite3.OperationalError):
                    connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN" if self._reads_only else "BEGIN IMMEDIATE")
            with connection:  # commits, or rolls back
                yield SqliteConnection(connection)

    def close(self) -> None:
        """Nothing is open between two transactions."""

    def told(self, error: Exception) -> str:
        """What SQLite says."""
        return str(error)


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _text(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _text(moment: datetime) -> str:
    """Texts of one length, in UTC, sort as their moments do."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
