"""Both kinds of database are what the records want of one."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url

from trio_voice.records.connection import Store
from trio_voice.records.postgresql import PostgresqlStore
from trio_voice.records.sqlite import SqliteStore


def test_refusals_are_told_apart_from_what_may_pass() -> None:
    stores: list[Store] = [SqliteStore(Path("/calls.db")), PostgresqlStore(make_url("postgresql+psycopg://db/calls"))]
    for store in stores:
        for refusal in store.refusals:
            assert refusal not in store.failures
        assert OSError in store.failures
