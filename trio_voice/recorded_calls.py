"""The records, read for the API: in a thread of their own, so that no call waits for a disk or a database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import trio
from attrs import define, field

from trio_voice.errors import UserError
from trio_voice.records.address import Address
from trio_voice.records.connection import Connection
from trio_voice.records.database import Database, DatabaseFailedError, RecordRefusedError
from trio_voice.records.reading import Wanted, find_call, list_calls
from trio_voice.storage.call_record import Outcome
from trio_voice.storage.threads import in_thread, needing_a_thread
from trio_voice.web.past_calls import PastCallsFailedError, PastCallsQuery

CLOSE_LIMIT_S = 1.0
"""How long a database may take to let go at the end."""
_T = TypeVar("_T")


@define(eq=False)
class RecordedCalls:
    """Reads records, one reader at a time."""

    _database: Database
    _thread: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)

    @classmethod
    @asynccontextmanager
    async def at(cls, address: Address) -> AsyncIterator[RecordedCalls]:
        """Read the records at an address, for the time of the block."""
        database = Database(address, reads_only=True)
        try:
            yield cls(database)
        finally:
            with trio.move_on_after(CLOSE_LIMIT_S, shield=True), suppress(OSError):  # there may be no thread
                await in_thread(database.close)

    async def listed(self, query: PastCallsQuery) -> Sequence[Mapping[str, Any]]:
        """The calls that are wanted, the newest first. Raises PastCallsFailedError."""
        wanted = Wanted(
            since=query.since,
            caller=query.caller,
            outcome=None if query.outcome is None else Outcome(query.outcome),
            limit=query.limit,
        )
        return await self._read(lambda connection: list_calls(connection, wanted))

    async def found(self, name: str) -> Mapping[str, Any] | None:
        """One call by either id. Raises PastCallsFailedError."""
        try:
            found = await self._read(lambda connection: find_call(connection, name))
        except RecordRefusedError:  # no call can have such a name
            return None
        if found is None:
            return None
        return {"call": found.call, "turns": found.turns, "tools": found.tools, "latencies": found.latencies}

    async def _read(self, ask: Callable[[Connection], _T]) -> _T:
        def work() -> _T:
            with self._database.reading() as connection:
                return ask(connection)

        try:
            with needing_a_thread():
                return await trio.to_thread.run_sync(work, limiter=self._thread)
        except (DatabaseFailedError, UserError, OSError) as error:
            raise PastCallsFailedError(f"the records cannot be read now: {error}") from None
