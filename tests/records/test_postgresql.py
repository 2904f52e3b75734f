"""Records in PostgreSQL: what is not alike in both kinds of database. All else is in test_database.py."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError

from tests.records import postgresql
from tests.records.samples import STARTED_AT
from trio_voice.records.address import POSTGRESQL
from trio_voice.records.postgresql import PostgresqlStore


@pytest.fixture(scope="module")
def store() -> Iterator[PostgresqlStore]:
    with postgresql.server() as server:
        found = PostgresqlStore(make_url(server.url()).set(drivername=POSTGRESQL))
        yield found
        found.close()


def test_moments_have_a_time_zone(store: PostgresqlStore) -> None:
    elsewhere = STARTED_AT.astimezone(timezone(timedelta(hours=5)))
    with store.connected() as connection:
        assert connection.moment_type == "TIMESTAMP WITH TIME ZONE"
        ((moment, is_later),) = (
            row.values()
            for row in connection.rows(
                f"SELECT CAST(:moment AS {connection.moment_type}) AS moment, :moment > :begin AS is_later",
                {"moment": elsewhere, "begin": STARTED_AT - timedelta(microseconds=1)},
            )
        )
    assert isinstance(moment, datetime)
    assert (moment, moment.tzinfo is None, is_later) == (STARTED_AT, False, True)


def test_an_error_is_told_without_statement_and_values(store: PostgresqlStore) -> None:
    with pytest.raises(DataError) as caught, store.connected() as connection:
        connection.rows("SELECT CAST(:text AS TEXT)", {"text": "secret\0"})
    assert isinstance(caught.value, store.refusals)
    assert "secret" not in store.told(caught.value)
    assert store.told(caught.value)


def test_a_connection_that_has_died_is_made_anew(store: PostgresqlStore) -> None:
    with store.connected() as connection:
        (first,) = connection.rows("SELECT pg_backend_pid() AS process")
    other = PostgresqlStore(store._url)
    with other.connected() as connection:
        connection.rows("SELECT pg_terminate_backend(:process, 5000)", first)
    other.close()
    with store.connected() as connection:
        (second,) = connection.rows("SELECT pg_backend_pid() AS process")
    assert first != second
