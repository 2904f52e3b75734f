"""Records in PostgreSQL, by SQLAlchemy: one connection, which is looked after, since one thread uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from attrs import define, field
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, SQLAlchemyError, StatementError

from trio_voice.records.connection import Row

CONNECT_LIMIT_S = 5
STATEMENT_LIMIT_S = 10
MIGRATION_LOCK = 0x7472696F
"""PostgreSQL's advisory lock: of several servers that start at once one migrates, and the others wait for it."""


@define(eq=False)
class PostgresqlConnection:
    """A transaction in the server. Moments have a time zone."""

    _connection: sqlalchemy.Connection

    @property
    def moment_type(self) -> str:
        """As migrations call it."""
        return "TIMESTAMP WITH TIME ZONE"

    def rows(self, query: str, values: Mapping[str, Any] = {}) -> list[Row]:
        """Ask."""
        return [dict(row) for row in self._connection.execute(text(query), values).mappings()]

    def run(self, statement: str, values: Sequence[Mapping[str, Any]] = ({},)) -> None:
        """Run a statement."""
        self._connection.execute(text(statement), values)

    def has_table(self, name: str) -> bool:
        """Whether there is such a table."""
        return inspect(self._connection).has_table(name)

    def keep_others_out(self) -> None:
        """Wait for the lock."""
        self._connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})

    @contextmanager
    def for_migrations(self) -> Iterator[sqlalchemy.Connection]:
        """This transaction."""
        yield self._connection


@define(eq=False)
class PostgresqlStore:
    """A database in a server."""

    _url: URL = field(repr=False)
    _engine: Engine | None = field(default=None, init=False)

    @property
    def refusals(self) -> tuple[type[Exception], ...]:
        """A text with a zero byte, for instance, or one that is no Unicode, which does not come to the server."""
        return (DataError, UnicodeEncodeError)

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """All that SQLAlchemy says, and the network."""
        return (SQLAlchemyError, OSError)

    @contextmanager
    def connected(self) -> Iterator[PostgresqlConnection]:
        """A transaction."""
        if self._engine is None:
            self._engine = _engine(self._url)
        with self._engine.begin() as connection:
            yield PostgresqlConnection(connection)

    def close(self) -> None:
        """Let go of the connection."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def told(self, error: Exception) -> str:
        """What the driver says, without the statement and its values."""
        return str(error.orig if isinstance(error, StatementError) and error.orig is not None else error)


def _engine(url: URL) -> Engine:
    limit_ms = STATEMENT_LIMIT_S * 1000
    arguments = {
        "connect_timeout": CONNECT_LIMIT_S,
        "tcp_user_timeout": limit_ms,
        "options": f"-c statement_timeout={limit_ms} -c lock_timeout={limit_ms}",
        "application_name": "trio-voice",
    }
    # A connection that has died is noticed before it is used; one is enough for one thread.
    return create_engine(url, connect_args=arguments, pool_size=1, max_overflow=0, pool_pre_ping=True)
