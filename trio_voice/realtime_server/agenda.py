"""Things a session will do at a time of its own: the caller's transcript, `rate_limits.updated`, whatever is sent later."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

from attrs import define, field


@define
class Agenda:
    """Actions by time; those of the same time keep their order."""

    _heap: list[tuple[float, int, Callable[[], None]]] = field(factory=list, init=False)
    _count: int = field(default=0, init=False)

    def add(self, at: float, action: Callable[[], None]) -> None:
        """Do `action` when the clock reads `at`."""
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, action))

    def next_deadline(self) -> float:
        """Return when the next action is due (infinity: none)."""
        return self._heap[0][0] if self._heap else math.inf

    def run_due(self, now: float) -> None:
        """Do everything that is due."""
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()
