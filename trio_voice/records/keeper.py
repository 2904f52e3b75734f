"""Keeps a record of every call, beside the calls: what a call does here is to say that it begins and that it is over.

One thread does all that waits: it writes the spool, reads journals and talks to the database. When the database does not answer,
the calls stay in the spool, and it is asked again after 1, 2, 4, ... 60 s. At the start, and now and then, what others have left
in the spool is recorded too: a server that was killed, or another one of the same folder.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import structlog
import trio
from attrs import define, field

from trio_voice.errors import UserError
from trio_voice.records.address import Address
from trio_voice.records.database import Database, DatabaseFailedError
from trio_voice.records.desk import Desk, Done
from trio_voice.records.spool import LIVE_FOR_S, Spool
from trio_voice.server.directory import LiveCall
from trio_voice.storage.call_record import CallFacts
from trio_voice.storage.masking import mask_number
from trio_voice.storage.threads import in_thread

log = structlog.get_logger(__name__)

OPEN_LIMIT_S = 3.0
"""How long the start of the server waits for the database."""
LAST_WORK_LIMIT_S = 5.0
CLOSE_LIMIT_S = 1.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LOOK_EVERY_S = 300.0
"""How often it is looked whether others have left something in the spool."""
SECOND_LOOK_S = LIVE_FOR_S + 5.0
"""The second look comes earlier: what a server left that was killed just before the start looked as if it went on."""
AT_ONCE = 20
_T = TypeVar("_T")


@define(eq=False)
class Records:
    """The records of one calls folder. `begin` and `end` are plain functions and never wait."""

    desk: Desk
    full_numbers: bool = False
    """Keep telephone numbers in full, else their last four digits."""
    problem: str = field(default="", init=False)
    """Why calls are not recorded; empty: they are."""
    _begun: dict[str, CallFacts] = field(factory=dict, init=False)
    """Calls that are not in the spool yet."""
    _live: dict[str, CallFacts] = field(factory=dict, init=False)
    _over: dict[str, CallFacts | None] = field(factory=dict, init=False)
    """Calls that are to be recorded; None: what is known of them is in the spool, or in their journal."""
    _pause_s: float = field(default=FIRST_PAUSE_S, init=False)
    _ask_at: float = field(default=0.0, init=False)
    """Not before this moment the database is asked again."""
    _look_at: float = field(default=0.0, init=False)
    _has_looked: bool = field(default=False, init=False)
    _thread: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)
    _work: trio.Event = field(factory=trio.Event, init=False)
    _is_ending: bool = field(default=False, init=False)
    _scope: trio.CancelScope = field(factory=lambda: trio.CancelScope(shield=True), init=False)

    @property
    def waiting(self) -> int:
        """How many calls are over and not recorded, of those that this process knows of."""
        return len(self._over)

    def begin(self, facts: CallFacts) -> None:
        """A call begins."""
        self._live[facts.call_id] = facts
        if len(self._begun) < self.desk.spool.limit:
            self._begun[facts.call_id] = facts
        self._work.set()

    def end(self, call_id: str) -> None:
        """A call is over, and its journal is complete."""
        facts = self._live.pop(call_id)
        if len(self._over) < self.desk.spool.limit:
            self._over[call_id] = facts
        self._work.set()

    @asynccontextmanager
    async def attend(self, live: LiveCall) -> AsyncIterator[None]:
        """Keep the record of the call that lives in the block."""
        self.begin(
            CallFacts(
                call_id=live.call_id,
                call_sid=live.call_sid,
                started_at=live.started_at,
                dialect=live.dialect,
                caller=self._kept(live.caller),
                called=self._kept(live.called),
            )
        )
        try:
            yield
        finally:
            self.end(live.call_id)

    def _kept(self, number: str | None) -> str | None:
        return number if number is None or self.full_numbers else mask_number(number)

    # --- the work

    async def open(self) -> None:
        """Open the database, if it answers in time; else it is opened later. Raises UserError when it can never be used."""
        try:
            with trio.move_on_after(OPEN_LIMIT_S):
                await self._in_thread(self.desk.database.open)
        except DatabaseFailedError as failure:
            self._tell(str(failure))

    async def run(self) -> None:
        """Record what is over, to the `stop`, also when cancelled; what is left then waits in the spool for the next start."""
        with self._scope:
            while not self._is_ending:
                self._work = trio.Event()
                await self._look_around()
                await self._work_off()
                with trio.move_on_at(self._due_at()):
                    await self._work.wait()
            self._ask_at = 0.0
            await self._work_off()
        if self._over:
            log.warning("calls are left to be recorded at the next start", calls=len(self._over), error=self.problem)
        with trio.move_on_after(CLOSE_LIMIT_S, shield=True), suppress(DatabaseFailedError):
            await self._in_thread(self.desk.database.close)

    def stop(self) -> None:
        """Bring the work to an end, within a bound."""
        self._is_ending = True
        self._work.set()
        self._scope.deadline = trio.current_time() + LAST_WORK_LIMIT_S

    def _due_at(self) -> float:
        """When something is to be done even if no call begins or ends; it may be past, when the work took long."""
        return self._ask_at if self.problem else self._look_at

    async def _work_off(self) -> None:
        """Do all there is to do. A database that did not answer is left alone for a while; the spool is not."""
        while True:
            begun = tuple(self._begun.values())
            is_due = trio.current_time() >= self._ask_at
            over = dict(islice(self._over.items(), AT_ONCE if is_due else 0))
            if not begun and not over:
                return
            try:
                done = await self._in_thread(partial(self.desk.work, begun, over))
            except DatabaseFailedError as failure:
                self._tell(str(failure))
                return
            self._note(done)
            if done.failure:
                return

    def _note(self, done: Done) -> None:
        for call_id in done.spooled:
            self._begun.pop(call_id, None)
        for call_id in done.recorded:
            self._over.pop(call_id, None)
        if done.is_full:
            log.error("the spool is full: what only a call's carrier tells is lost", calls=self.desk.spool.limit)
        if done.failure or done.recorded:
            self._tell(done.failure)

    async def _look_around(self) -> None:
        """Find what others have left. Where nothing waits that was refused, this tells whether all is well again."""
        nothing_waits = not self._begun and not self._over
        if trio.current_time() < (self._due_at() if nothing_waits else max(self._look_at, self._ask_at)):
            return
        busy = frozenset({*self._live, *self._over})
        try:
            found = await self._in_thread(partial(self.desk.left_over, busy))
        except (DatabaseFailedError, UserError) as failure:
            self._tell(str(failure))
            return
        self._tell("")
        self._look_at = trio.current_time() + (LOOK_EVERY_S if self._has_looked else SECOND_LOOK_S)
        self._has_looked = True
        if found:
            log.info("calls without a record were found", calls=len(found))
        for call_id in found[: self.desk.spool.limit]:
            self._over.setdefault(call_id, None)

    def _tell(self, failure: str) -> None:
        database = str(self.desk.database.address)
        if failure:
            self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2) if self.problem else FIRST_PAUSE_S
            self._ask_at = trio.current_time() + self._pause_s
        if failure and failure != self.problem:
            log.warning("calls cannot be recorded now: they wait", database=database, error=failure, calls=self.waiting)
        elif self.problem and not failure:
            log.info("calls are recorded again", database=database, calls=self.waiting)
        self.problem = failure

    async def _in_thread(self, function: Callable[[], _T]) -> _T:
        """Work, and abandon the thread at the end's bound. Raises DatabaseFailedError, also when there is no thread."""
        try:
            return await in_thread(function, limiter=self._thread)
        except OSError as error:
            raise DatabaseFailedError(error.strerror or str(error)) from None


@asynccontextmanager
async def records_of(address: Address, calls_folder: Path, *, spool_limit: int, full_numbers: bool) -> AsyncIterator[Records]:
    """Keep records for the time of the block. Raises UserError, at its begin, when the database can never be used."""
    records = Records(Desk(Database(address), Spool(calls_folder, spool_limit)), full_numbers)
    await records.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(records.run)
        try:
            yield records
        finally:
            records.stop()
