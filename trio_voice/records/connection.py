"""What a kind of database has to offer: transactions, in which SQL is run whose parameters are written `:name`.

The SQL of the records is the same for all kinds. SQLite, the default, is Python's own module, which a server carries anyway;
SQLAlchemy, which takes 12 MB, comes with a database that is reached over a network, and with migrations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import sqlalchemy

Row = dict[str, Any]
"""By column, in the order of the columns."""


class Connection(Protocol):
    """A transaction. What goes wrong in it is one of its store's `failures` or `refusals`."""

    @property
    def moment_type(self) -> str:
        """The SQL type of a moment; in a row it is a datetime with a time zone, or a text in UTC."""

    def rows(self, query: str, values: Mapping[str, Any] = ...) -> list[Row]:
        """Ask."""

    def run(self, statement: str, values: Sequence[Mapping[str, Any]] = ...) -> None:
        """Run a statement, once for each of the `values`; once if there are none."""

    def has_table(self, name: str) -> bool:
        """Whether there is such a table."""

    def keep_others_out(self) -> None:
        """Wait for others who make tables, and have them wait, to the transaction's end."""

    def for_migrations(self) -> AbstractContextManager[sqlalchemy.Connection]:
        """A transaction of SQLAlchemy's, which is this one or comes after it; both are over after the block.

        Alembic asks in it which schema there is, so it does not matter who had the database between the two.
        """


class Store(Protocol):
    """A database of one kind. All methods wait, and are for a thread."""

    @property
    def refusals(self) -> tuple[type[Exception], ...]:
        """What is raised for values that the database never takes."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What is raised when something else goes wrong."""

    def connected(self) -> AbstractContextManager[Connection]:
        """A transaction, that is committed at the block's end, and rolled back when the block raises."""

    def close(self) -> None:
        """Let go of what is open; the next use opens it again."""

    def told(self, error: Exception) -> str:
        """What one of the `failures` or `refusals` says; there may be a password in it."""
