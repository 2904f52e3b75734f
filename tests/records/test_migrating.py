"""The migrations, one after the other, come to the tables that a new database is given at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from trio_voice.records.address import file_address
from trio_voice.records.database import Database
from trio_voice.records.migrating import is_known, migrate, newest_revision
from trio_voice.records.tables import REVISION


def schema(path: Path) -> list[tuple[object, ...]]:
    """Tables, columns, indices and foreign keys, as SQLite tells them."""
    with sqlite3.connect(path) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        told: list[tuple[object, ...]] = []
        for table in tables:
            for pragma in ("table_info", "index_list", "foreign_key_list"):
                told += sorted((table, pragma, *row[1:]) for row in connection.execute(f"PRAGMA {pragma}({table})"))
    connection.close()
    return told


def test_a_new_database_is_as_if_it_had_been_migrated(tmp_path: Path) -> None:
    new, migrated = Database(file_address(tmp_path / "new.db")), Database(file_address(tmp_path / "migrated.db"))
    new.open()
    (tmp_path / "migrated.db").touch()
    with migrated.reading() as own, own.for_migrations() as connection:
        migrate(connection)
    assert schema(tmp_path / "new.db") == schema(tmp_path / "migrated.db")
    migrated.check()


def test_the_tables_are_those_of_the_newest_migration() -> None:
    assert newest_revision() == REVISION
    assert is_known(REVISION)
    assert not is_known("99")


def test_a_database_with_nothing_to_migrate_needs_neither_alembic_nor_sqlalchemy(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from trio_voice.records.database import Database;"
        "from trio_voice.records.address import file_address;"
        f"[Database(file_address(Path({str(tmp_path / 'calls.db')!r}))).open() for _ in range(2)];"
        "print(not {'alembic', 'sqlalchemy'} & sys.modules.keys())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert told.stdout == "True\n"
