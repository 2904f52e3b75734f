"""The API of calls that were."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from attrs import define, field
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from tests.web.asgi_client import get
from trio_voice.records.tables import CALL_COLUMNS
from trio_voice.web.access import Access
from trio_voice.web.answers import error_answer
from trio_voice.web.past_calls import PastCall, PastCallsApi, PastCallsFailedError, PastCallsQuery

ROW: Mapping[str, Any] = {
    **{str(name): 0 for name in CALL_COLUMNS},
    **dict.fromkeys(("call_id", "call_sid", "dialect", "version"), "x"),
    "started_at": datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
    "caller": "+14158675310",
    "called": None,
    "outcome": "completed",
    "end_reason": None,
}


@define
class Source:
    """Records of one call, or none that can be read."""

    broken: bool = False
    asked: list[PastCallsQuery] = field(factory=list)

    async def listed(self, query: PastCallsQuery) -> Sequence[Mapping[str, Any]]:
        if self.broken:
            raise PastCallsFailedError("the records cannot be read now: disk full")
        self.asked.append(query)
        return [ROW]

    async def found(self, name: str) -> Mapping[str, Any] | None:
        if self.broken:
            raise PastCallsFailedError("the records cannot be read now: disk full")
        return {"call": ROW, "turns": [{"text": "Hello"}], "tools": [], "latencies": []} if name == "CA1" else None


async def ask(source: Source | None, path: str, *, token: str = "t", show_numbers: bool = False) -> tuple[int, Any]:
    api = PastCallsApi(access=Access("t"), source=source, show_numbers=show_numbers)
    app = Starlette(routes=api.routes(), exception_handlers={HTTPException: error_answer})
    answer = await get(app, f"/api/v1/past-calls{path}", {"Authorization": f"Bearer {token}"})
    return answer.status, json.loads(answer.body)


async def test_calls_are_listed_as_they_are_wanted() -> None:
    source = Source()
    status, told = await ask(source, "?since=2026-11-21T10:00:00%2B01:00&caller=5310&outcome=failed&limit=7")
    assert (status, told["calls"][0]["started_at"], told["calls"][0]["caller"]) == (200, "2026-11-21T09:30:00Z", "…5310")
    await ask(source, "?since=2026-11-21T09:00:00")
    await ask(source, "")
    nine = datetime(2026, 11, 21, 9, tzinfo=UTC)
    assert source.asked == [
        PastCallsQuery(since=nine, caller="5310", outcome="failed", limit=7),
        PastCallsQuery(since=nine),
        PastCallsQuery(limit=50),
    ]


async def test_one_call_is_shown_with_all_that_was_in_it() -> None:
    status, told = await ask(Source(), "/CA1", show_numbers=True)
    assert (status, told["call"]["caller"], told["turns"]) == (200, "+14158675310", [{"text": "Hello"}])


@pytest.mark.parametrize(
    ("source", "path", "status", "says"),
    [
        (Source(), "/CA2", 404, "there is no record of a call 'CA2'"),
        (None, "", 404, "no records are kept (records.enabled is false)"),
        (Source(broken=True), "", 503, "the records cannot be read now: disk full"),
        (Source(broken=True), "/CA1", 503, "the records cannot be read now: disk full"),
        (Source(), "?limit=0", 422, "the query does not fit: Expected `int` >= 1"),
        (Source(), "?limit=501", 422, "the query does not fit: Expected `int` <= 500"),
        (Source(), "?since=soon", 422, "the query does not fit: Invalid RFC3339"),
        (Source(), "?since=0001-01-01T00:00:00%2B14:00", 422, "the query does not fit: since is in the years 1 to 9999, in UTC"),
        (Source(), "?since=9999-12-31T23:59:59-14:00", 422, "the query does not fit: since is in the years 1 to 9999, in UTC"),
        (Source(), "?caller=%25", 422, "the query does not fit: Expected `str` matching regex"),
        (Source(), "?outcome=great", 422, "the query does not fit: outcome is one of completed, "),
    ],
)
async def test_a_mistake_is_told(source: Source | None, path: str, status: int, says: str) -> None:
    found, problem = await ask(source, path)
    assert (found, problem["detail"][: len(says)]) == (status, says)


async def test_r40_not_without_the_token() -> None:
    source = Source()
    assert (await ask(source, "", token="other"))[0] == 401
    assert source.asked == []


def test_the_fields_are_the_records_own() -> None:
    assert {each.name for each in msgspec.structs.fields(PastCall)} == set(CALL_COLUMNS)
