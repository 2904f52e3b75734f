"""The database's tables, as SQLAlchemy sees them. What changes them is a migration (`migrations/versions/`)."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Float, ForeignKey, Index, Integer, MetaData, PrimaryKeyConstraint, String, Table, Text

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

REVISION = "1"
"""The schema that these tables are: the newest migration's."""

SCHEMA = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table: which schema a database has."""

CALLS = Table(
    "calls",
    METADATA,
    Column("call_id", String(64), primary_key=True),
    Column("call_sid", Text, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("duration_s", Float, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("caller", Text),
    Column("called", Text),
    Column("outcome", Text, nullable=False),
    Column("end_reason", Text),
    Column("version", Text, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("barge_ins", Integer, nullable=False),
    Column("tool_calls", Integer, nullable=False),
    Column("faults", Integer, nullable=False),
    Column("lost_lines", Integer, nullable=False),
    Column("greeting_ms", Integer),
    Column("first_audio_ms_median", Integer),
    Column("first_audio_ms_max", Integer),
    Column("barge_in_ms_median", Integer),
    Column("barge_in_ms_max", Integer),
    Index(None, "started_at"),
    Index(None, "call_sid"),
)
"""One row a call; `turns` counts the caller's."""


def _of_a_call() -> tuple[Column[str], Column[int]]:
    call = ForeignKey("calls.call_id", ondelete="CASCADE")
    return Column("call_id", String(64), call, primary_key=True), Column("number", Integer, primary_key=True, autoincrement=False)


TURNS = Table(
    "turns",
    METADATA,
    *_of_a_call(),
    Column("speaker", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("started_s", Float, nullable=False),
    Column("ended_s", Float),
    Column("text", Text),
    Column("purpose", Text),
    Column("status", Text),
    Column("heard_ms", Integer),
    Column("first_audio_ms", Integer),
)

TOOL_CALLS = Table(
    "tool_calls",
    METADATA,
    *_of_a_call(),
    Column("tool_call_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("output", Text),
    Column("called_s", Float, nullable=False),
    Column("took_ms", Integer),
)

LATENCIES = Table(
    "latencies",
    METADATA,
    *_of_a_call(),
    Column("kind", Text, nullable=False),
    Column("at_s", Float, nullable=False),
    Column("ms", Integer, nullable=False),
)
