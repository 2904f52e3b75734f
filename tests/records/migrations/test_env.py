"""Alembic's environment migrates on the connection that it is given, in that connection's transaction."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect

from trio_voice.records.address import file_address
from trio_voice.records.database import Database
from trio_voice.records.migrating import configuration


def test_a_migration_is_a_part_of_the_transaction_it_is_run_in(tmp_path: Path) -> None:
    (tmp_path / "calls.db").touch()
    database = Database(file_address(tmp_path / "calls.db"))
    config = configuration()

    def be_killed_after_the_migration() -> None:
        with database.reading() as own, own.for_migrations() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            assert inspect(connection).has_table("calls")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_killed_after_the_migration()
    with database.reading() as own, own.for_migrations() as connection:
        assert inspect(connection).get_table_names() == []
