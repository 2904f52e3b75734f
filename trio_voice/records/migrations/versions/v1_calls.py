"""Calls, and what was in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "calls",
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("call_sid", sa.Text, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_s", sa.Float, nullable=False),
        sa.Column("dialect", sa.Text, nullable=False),
        sa.Column("caller", sa.Text),
        sa.Column("called", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("end_reason", sa.Text),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("turns", sa.Integer, nullable=False),
        sa.Column("barge_ins", sa.Integer, nullable=False),
        sa.Column("tool_calls", sa.Integer, nullable=False),
        sa.Column("faults", sa.Integer, nullable=False),
        sa.Column("lost_lines", sa.Integer, nullable=False),
        sa.Column("greeting_ms", sa.Integer),
        sa.Column("first_audio_ms_median", sa.Integer),
        sa.Column("first_audio_ms_max", sa.Integer),
        sa.Column("barge_in_ms_median", sa.Integer),
        sa.Column("barge_in_ms_max", sa.Integer),
        sa.PrimaryKeyConstraint("call_id", name="pk_calls"),
    )
    op.create_index("ix_calls_started_at", "calls", ["started_at"])
    op.create_index("ix_calls_call_sid", "calls", ["call_sid"])
    _create_table_of_calls(
        "turns",
        sa.Column("speaker", sa.Text, nullable=False),
        sa.Column("item_id", sa.Text, nullable=False),
        sa.Column("started_s", sa.Float, nullable=False),
        sa.Column("ended_s", sa.Float),
        sa.Column("text", sa.Text),
        sa.Column("purpose", sa.Text),
        sa.Column("status", sa.Text),
        sa.Column("heard_ms", sa.Integer),
        sa.Column("first_audio_ms", sa.Integer),
    )
    _create_table_of_calls(
        "tool_calls",
        sa.Column("tool_call_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("output", sa.Text),
        sa.Column("called_s", sa.Float, nullable=False),
        sa.Column("took_ms", sa.Integer),
    )
    _create_table_of_calls(
        "latencies",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("ms", sa.Integer, nullable=False),
    )


def _create_table_of_calls(name: str, *columns: sa.Column[object]) -> None:
    op.create_table(
        name,
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        *columns,
        sa.PrimaryKeyConstraint("call_id", "number", name=f"pk_{name}"),
        sa.ForeignKeyConstraint(["call_id"], ["calls.call_id"], name=f"fk_{name}_call_id", ondelete="CASCADE"),
    )


def downgrade() -> None:
    """Take them away."""
    for name in ("latencies", "tool_calls", "turns", "calls"):
        op.drop_table(name)
