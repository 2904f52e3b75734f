"""What the database tells of calls: a list, and one call with all that was in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import frozen
from sqlalchemy import Connection, RowMapping, select

from trio_voice.records.tables import CALLS, LATENCIES, TOOL_CALLS, TURNS
from trio_voice.storage.call_record import Outcome

CallRow = Mapping[str, Any]
"""A row of the table `calls`, by its columns; `started_at` is in UTC."""
CALL_COLUMNS = tuple(column.name for column in CALLS.columns)


@frozen(kw_only=True)
class Wanted:
    """Which calls: those that began at `since` or later, whose caller's number ends so, and that ended so."""

    since: datetime | None = None
    caller: str | None = None
    outcome: Outcome | None = None
    limit: int | None = None


@frozen(kw_only=True)
class WholeCall:
    """One call: its row, and those of the other tables in their order."""

    call: CallRow
    turns: Sequence[CallRow]
    tools: Sequence[CallRow]
    latencies: Sequence[CallRow]


def list_calls(connection: Connection, wanted: Wanted) -> list[CallRow]:
    """The calls that are wanted, the newest first."""
    query = select(CALLS).order_by(CALLS.c.started_at.desc(), CALLS.c.call_id.desc()).limit(wanted.limit)
    if wanted.since is not None:
        query = query.where(CALLS.c.started_at >= wanted.since.astimezone(UTC))
    if wanted.caller is not None:
        query = query.where(CALLS.c.caller.endswith(wanted.caller, autoescape=True))
    if wanted.outcome is not None:
        query = query.where(CALLS.c.outcome == wanted.outcome.value)
    return [_in_utc(row) for row in connection.execute(query).mappings()]


def find_call(connection: Connection, name: str) -> WholeCall | None:
    """The call of this id, ours or the carrier's (of several streams of one call: the newest); None: there is none."""
    query = select(CALLS).where((CALLS.c.call_id == name) | (CALLS.c.call_sid == name)).order_by(CALLS.c.started_at.desc())
    row = connection.execute(query.limit(1)).mappings().first()
    if row is None:
        return None
    turns, tools, latencies = (
        [
            {key: value for key, value in each.items() if key not in ("call_id", "number")}
            for each in connection.execute(
                select(table).where(table.c.call_id == row["call_id"]).order_by(table.c.number)
            ).mappings()
        ]
        for table in (TURNS, TOOL_CALLS, LATENCIES)
    )
    return WholeCall(call=_in_utc(row), turns=turns, tools=tools, latencies=latencies)


def _in_utc(row: RowMapping) -> CallRow:
    """SQLite keeps no time zone: what comes without one is UTC."""
    started_at: datetime = row["started_at"]
    aware = started_at.replace(tzinfo=UTC) if started_at.tzinfo is None else started_at.astimezone(UTC)
    return {**row, "started_at": aware}
