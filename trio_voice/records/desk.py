"""Where records are made: what the one thread of the records does. Everything here waits for disks and the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog
from attrs import define, frozen

from trio_voice.errors import UserError
from trio_voice.records.database import Database, DatabaseFailedError, RecordRefusedError
from trio_voice.records.spool import Spool
from trio_voice.storage.call_record import CallFacts

log = structlog.get_logger(__name__)


@frozen(kw_only=True)
class Done:
    """What was done: `spooled` calls are in the spool, `recorded` ones need nothing more. `failure`: what stopped the work."""

    spooled: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    failure: str = ""
    is_full: bool = False
    """The spool took no more."""


@define(eq=False)
class Desk:
    """The database, and the spool before it."""

    database: Database
    spool: Spool

    def work(self, begun: Sequence[CallFacts], over: Mapping[str, CallFacts | None]) -> Done:
        """Put calls that begin into the spool, and those that are over from it into the database."""
        spooled, recorded, failure, is_full = list[str](), list[str](), "", False
        try:
            for facts in begun:
                is_full |= not self.spool.put(facts)
                spooled.append(facts.call_id)
        except OSError as error:
            failure = f"{self.spool.folder}: {error.strerror or error}"
        try:
            for call_id, known in over.items():
                self._record(call_id, known)
                recorded.append(call_id)
        except (DatabaseFailedError, UserError) as error:
            failure = str(error)
        return Done(spooled=tuple(spooled), recorded=tuple(recorded), failure=failure, is_full=is_full)

    def _record(self, call_id: str, facts: CallFacts | None) -> None:
        record = self.spool.record(call_id, facts)
        try:
            if record is not None:
                self.database.put(record)
        except RecordRefusedError as error:
            log.error("the database refuses a call's record", call_id=call_id, error=str(error))  # noqa: TRY400 - the driver's own traceback may show the address
            with suppress(OSError):
                self.spool.set_aside(call_id)
        with suppress(OSError):
            self.spool.remove(call_id)

    def left_over(self, but: frozenset[str]) -> list[str]:
        """Calls that have ended without a record, the newest first. Raises DatabaseFailedError, and UserError as `open`."""
        spooled = self.spool.waiting() - but
        unknown = self.database.unknown(sorted(self.spool.journals() - but - spooled, reverse=True))
        return [call_id for call_id in sorted({*spooled, *unknown}, reverse=True) if self.spool.is_over(call_id)]
