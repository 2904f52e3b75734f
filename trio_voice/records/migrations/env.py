"""Alembic executes this file to migrate; the connection comes from `Database.open`, which holds a transaction on it."""

from __future__ import annotations

from alembic import context


def migrate() -> None:
    """Bring the tables to the revision that was asked for."""
    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()


migrate()
