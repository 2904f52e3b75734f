"""Runs the background jobs of one call: tasks in the call's nursery, beside the conversation.

A job ends by itself, at its limit, or with the call. What it raises is logged with its traceback; the call goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio
from attrs import define, field

from trio_voice.server.foreign_code import cancellation_in, failure_in

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 8


@define(eq=False)
class JobRunner:
    """The jobs of one call; `note` writes a remark into its journal, `started` and `ended` are told their numbers, from 1."""

    nursery: trio.Nursery
    note: Callable[[str], None]
    started: Callable[[int, float], None]
    ended: Callable[[int], None]
    most_at_once: int = MOST_AT_ONCE
    running: int = field(default=0, init=False)
    """How many have not ended."""
    _number: int = field(default=0, init=False)

    def start(self, job: Callable[[], Awaitable[object]], name: str, limit_s: float) -> None:
        """Start a job. Raises RuntimeError when there are too many."""
        if self.running >= self.most_at_once:
            raise RuntimeError(f"the call has {self.running} jobs already, and {name} was not started")
        self.running += 1
        self._number += 1
        self.note(f"job {name} started")
        self.started(self._number, limit_s)
        self.nursery.start_soon(self._live, job, self._number, name, limit_s)

    async def _live(self, job: Callable[[], Awaitable[object]], number: int, name: str, limit_s: float) -> None:
        outcome = "ended"
        try:
            with trio.move_on_after(limit_s) as scope:
                await job()
            if scope.cancelled_caught:
                log.warning("a job took too long", job=name, limit_s=limit_s)
                outcome = f"was cancelled after {limit_s:g} s"
        except BaseException as error:  # also what is no Exception: see foreign_code
            if failure_in(error) is not None:
                log.exception("a job failed", job=name)
                outcome = "failed"
            cancellation = cancellation_in(error)
            if cancellation is not None:
                raise cancellation from None
        finally:
            self.running -= 1
        if not self.nursery.cancel_scope.cancel_called:  # else the call, and its journal, are over
            self.note(f"job {name} {outcome}")
            self.ended(number)
