"""The first tables."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from sqlalchemy import inspect

from trio_voice.records.address import file_address
from trio_voice.records.database import Database
from trio_voice.records.migrating import configuration


def test_it_makes_the_tables_and_takes_them_away(tmp_path: Path) -> None:
    (tmp_path / "calls.db").touch()
    database = Database(file_address(tmp_path / "calls.db"))
    config = configuration()
    with database.reading() as own, own.for_migrations() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "1")
        assert sorted(inspect(connection).get_table_names()) == ["alembic_version", "calls", "latencies", "tool_calls", "turns"]
        assert [key["options"] for key in inspect(connection).get_foreign_keys("turns")] == [{"ondelete": "CASCADE"}]
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
