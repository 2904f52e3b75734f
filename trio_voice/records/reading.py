"""What the database tells of calls: a list, and one call with all that was in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from trio_voice.records.connection import Connection, Row
from trio_voice.records.tables import CALL_COLUMNS, PART_COLUMNS
from trio_voice.storage.call_record import Outcome

CallRow = Mapping[str, Any]
"""A row of the table `calls`, by its columns; `started_at` is in UTC."""
_CALLS = f"SELECT {', '.join(CALL_COLUMNS)} FROM calls"  # noqa: S608 - names of tables.py, and no values
_PARTS = {
    name: f"SELECT {', '.join(columns)} FROM {name} WHERE call_id = :call_id ORDER BY number"  # noqa: S608 - as above
    for name, columns in PART_COLUMNS.items()
}

_SPECIAL = re.compile(r"[%_/]")


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
    conditions: list[str] = []
    values: dict[str, Any] = {}
    if wanted.since is not None:
        conditions.append("started_at >= :since")
        values["since"] = wanted.since.astimezone(UTC)
    if wanted.caller is not None:
        conditions.append("caller LIKE :ending ESCAPE '/'")
        values["ending"] = "%" + _SPECIAL.sub(r"/\g<0>", wanted.caller)
    if wanted.outcome is not None:
        conditions.append("outcome = :outcome")
        values["outcome"] = wanted.outcome.value
    query = f"{_CALLS} WHERE {' AND '.join(conditions)}" if conditions else _CALLS
    query += " ORDER BY started_at DESC, call_id DESC"
    if wanted.limit is not None:
        query += " LIMIT :limit"
        values["limit"] = wanted.limit
    return [_in_utc(row) for row in connection.rows(query, values)]


def find_call(connection: Connection, name: str) -> WholeCall | None:
    """The call of this id, ours or the carrier's (of several streams of one call: the newest); None: there is none."""
    found = connection.rows(
        f"{_CALLS} WHERE call_id = :name OR call_sid = :name ORDER BY started_at DESC LIMIT 1", {"name": name}
    )
    if not found:
        return None
    call = _in_utc(found[0])
    turns, tools, latencies = (
        connection.rows(_PARTS[part], {"call_id": call["call_id"]}) for part in ("turns", "tool_calls", "latencies")
    )
    return WholeCall(call=call, turns=turns, tools=tools, latencies=latencies)


def _in_utc(row: Row) -> CallRow:
    """SQLite keeps moments as texts without a time zone, which are in UTC."""
    kept = row["started_at"]
    moment = datetime.fromisoformat(kept).replace(tzinfo=UTC) if isinstance(kept, str) else kept.astimezone(UTC)
    return {**row, "started_at": moment}
