"""The API of calls that were, from their records: list them, look at one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

import msgspec
from attrs import frozen
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trio_voice.errors import TrioVoiceError
from trio_voice.storage.call_record import Outcome
from trio_voice.storage.masking import mask_number
from trio_voice.web.access import Access
from trio_voice.web.answers import API_PATH, json_answer

MOST_CALLS = 500
USUAL_CALLS = 50
OUTCOMES = tuple(each.value for each in Outcome)


class PastCallsFailedError(TrioVoiceError):
    """The records, or the journals, cannot be read now."""


class PastCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is over, in short."""

    call_id: str
    call_sid: str
    started_at: datetime
    duration_s: float
    dialect: str
    caller: str | None
    called: str | None
    outcome: str
    """completed (we ended it), caller_hung_up, line_lost, server_ended, failed or cut_off."""
    end_reason: str | None
    version: str
    turns: int
    """The caller's."""
    barge_ins: int
    tool_calls: int
    faults: int
    lost_lines: int
    greeting_ms: int | None
    first_audio_ms_median: int | None
    first_audio_ms_max: int | None
    barge_in_ms_median: int | None
    barge_in_ms_max: int | None


class PastCallList(msgspec.Struct, frozen=True):
    """Calls that are over, the newest first."""

    calls: list[PastCall]


class WholePastCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is over, with what was said and done, in the columns of the records."""

    call: PastCall
    turns: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    latencies: list[dict[str, Any]]


class PastCallsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls are wanted."""

    since: datetime | None = None
    caller: Annotated[str, msgspec.Meta(pattern=r"^[0-9+]{1,16}$")] | None = None
    outcome: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_CALLS)] = USUAL_CALLS


class PastCalls(Protocol):
    """Where the records are read. Both raise PastCallsFailedError."""

    async def listed(self, query: PastCallsQuery) -> Sequence[Mapping[str, Any]]:
        """The calls that are wanted, the newest first, by the fields of `PastCall`."""

    async def found(self, name: str) -> Mapping[str, Any] | None:
        """One call by either id, by the fields of `WholePastCall`; None: there is none."""


@frozen(kw_only=True)
class PastCallsApi:
    """The endpoints. `source` None: no records are kept."""

    access: Access
    source: PastCalls | None
    show_numbers: bool = False

    def routes(self) -> list[Route]:
        """What is served where."""
        return [
            Route(f"{API_PATH}/past-calls", self.list_calls),
            Route(f"{API_PATH}/past-calls/{{call}}", self.get_call),
        ]

    async def list_calls(self, request: Request) -> Response:
        """List calls that are over."""
        source = self._source(request)
        query = _read_query(request)
        try:
            rows = await source.listed(query)
        except PastCallsFailedError as error:
            raise HTTPException(503, str(error)) from None
        return json_answer(PastCallList([self._view(row) for row in rows]))

    async def get_call(self, request: Request) -> Response:
        """Look at one call that is over."""
        source, name = self._source(request), request.path_params["call"]
        try:
            found = await source.found(name)
        except PastCallsFailedError as error:
            raise HTTPException(503, str(error)) from None
        if found is None:
            raise HTTPException(
                404, f"there is no record of a call {name!r}; GET {API_PATH}/past-calls lists those that there are"
            )
        return json_answer(msgspec.convert({**found, "call": self._view(found["call"])}, WholePastCall, from_attributes=True))

    def _source(self, request: Request) -> PastCalls:
        self.access.check(request)
        if self.source is None:
            raise HTTPException(404, "no records are kept (records.enabled is false)")
        return self.source

    def _view(self, row: Mapping[str, Any]) -> PastCall:
        call = msgspec.convert(row, PastCall)
        if self.show_numbers:
            return call
        masked = {name: number and mask_number(number) for name, number in (("caller", call.caller), ("called", call.called))}
        return msgspec.structs.replace(call, **masked)


def _read_query(request: Request) -> PastCallsQuery:
    try:
        query = msgspec.convert(dict(request.query_params), PastCallsQuery, strict=False)
    except msgspec.ValidationError as error:
        raise HTTPException(422, f"the query does not fit: {error}") from None
    if query.outcome is not None and query.outcome not in OUTCOMES:
        raise HTTPException(422, f"the query does not fit: outcome is one of {', '.join(OUTCOMES)}")
    return query if query.since is None else msgspec.structs.replace(query, since=_in_utc(query.since))


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise HTTPException(422, "the query does not fit: since is in the years 1 to 9999, in UTC") from None
