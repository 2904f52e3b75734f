"""The SQL of the tables. That new tables are those of the migrations is in test_database.py and test_migrating.py."""

from __future__ import annotations

import attrs

from trio_voice.records.tables import CALL_COLUMNS, INSERT_CALL, INSERT_PART, PART_COLUMNS
from trio_voice.storage.call_record import Latency, ToolUse, Turn


def test_the_columns_are_those_of_what_is_recorded() -> None:
    for name, part in (("turns", Turn), ("tool_calls", ToolUse), ("latencies", Latency)):
        assert sorted(PART_COLUMNS[name]) == sorted(field.name for field in attrs.fields(part))
    assert CALL_COLUMNS[:3] == ("call_id", "call_sid", "started_at")
    assert len(CALL_COLUMNS) == 20


def test_every_column_is_filled() -> None:
    assert INSERT_PART["latencies"] == (
        "INSERT INTO latencies (call_id, number, kind, at_s, ms) VALUES (:call_id, :number, :kind, :at_s, :ms)"
    )
    for column in CALL_COLUMNS:
        assert f":{column}" in INSERT_CALL
