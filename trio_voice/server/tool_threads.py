"""Threads for tools that are no async functions: a bounded number for all calls together.

A thread cannot be cancelled. A tool that takes longer than it may, or whose call has ended, is left to itself: nobody waits for
it, but it keeps its place among the bounded number until it returns, so that tools which hang can never pile up. Each of them is
logged when it is left and when it returns, and `left` counts those that have not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog
import trio
from attrs import define, field

log = structlog.get_logger(__name__)

MOST_THREADS = 32


@define(eq=False)
class _Work:
    """A function on its way through a thread, which sets `begun` and `returned`; the event loop sets `left`."""

    name: str
    function: Callable[[], Any]
    begun: threading.Event = field(factory=threading.Event)
    returned: threading.Event = field(factory=threading.Event)
    left: threading.Event = field(factory=threading.Event)

    def __call__(self) -> Any:
        """Run in the thread."""
        self.begun.set()
        try:
            return None if self.left.is_set() else self.function()
        finally:
            if self.left.is_set():
                log.warning("a tool's thread that was left to itself has returned", tool=self.name)
            self.returned.set()


@define(eq=False)
class ToolThreads:
    """The threads that all calls share."""

    limiter: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(MOST_THREADS))
    _left: list[_Work] = field(factory=list, init=False)

    @property
    def left(self) -> int:
        """How many threads were left to themselves and have not returned."""
        self._left = [work for work in self._left if not work.returned.is_set()]
        return len(self._left)

    async def run(self, name: str, function: Callable[[], Any]) -> Any:
        """Run a function in a thread as soon as one is free, and return what it returns. Cancelled, it leaves the thread."""
        work = _Work(name, function)
        try:
            return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self.limiter)
        except trio.Cancelled:
            work.left.set()  # in this order: either the thread sees it before it begins, or we see that it has begun
            if work.begun.is_set() and not work.returned.is_set():
                self._left.append(work)
                log.warning("a tool's thread is left to itself", tool=name, left=self.left, of=self.limiter.total_tokens)
            raise
