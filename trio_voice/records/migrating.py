"""Tables of an older version become those of this one, with alembic, which a process that needs no migration need not carry."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def configuration() -> Config:
    """Return alembic's configuration: where the migrations are."""
    config = Config()
    config.set_main_option("script_location", str(files("trio_voice.records").joinpath("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def newest_revision() -> str:
    """Return the schema that the newest migration makes."""
    newest = ScriptDirectory.from_config(configuration()).get_current_head()
    assert newest is not None
    return newest


def is_known(revision: str) -> bool:
    """Tell whether a schema is one of ours; a newer version's is not."""
    return revision in {each.revision for each in ScriptDirectory.from_config(configuration()).walk_revisions()}


def migrate(connection: Connection) -> None:
    """Bring the tables to the newest schema, in the transaction that the connection is in."""
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
