"""The tables as the code sees them are those that the migrations make, in both kinds of database."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from trio_voice.records.address import file_address
from trio_voice.records.database import Database
from trio_voice.records.tables import METADATA


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    database = Database(file_address(tmp_path / "calls.db"))
    database.open()
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
