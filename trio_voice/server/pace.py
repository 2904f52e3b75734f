"""One after the other, with a gap between: what many may ask for at once, and what costs more than a caller's frame.

Five hundred connections that come at once are a third of a second of work. Done in one go, it silences every call; done in
steps, with a gap after each in which the scheduler serves everybody else, it delays a frame by a step. A gap begins when the step
before was let through, so a busy server lets fewer through.
"""

from __future__ import annotations

import math

import trio
from attrs import define, field

GAP_S = 0.002


@define(eq=False)
class Pace:
    """Lets one through every `gap_s` at most, those first who came first."""

    gap_s: float = GAP_S
    _before: trio.Lock = field(factory=trio.Lock, init=False)
    _last_at: float = field(default=-math.inf, init=False)

    async def turn(self) -> None:
        """Wait for one's turn. No checkpoint, where it is one's turn already."""
        if not self._before.locked() and trio.current_time() >= self._last_at + self.gap_s:
            self._last_at = trio.current_time()
            return
        async with self._before:
            await trio.sleep_until(self._last_at + self.gap_s)
            self._last_at = trio.current_time()


@define(eq=False)
class PacedListener(trio.abc.Listener[trio.abc.HalfCloseableStream]):
    """A listener that accepts at a pace. Who is not accepted yet waits in the system's queue."""

    _listener: trio.abc.Listener[trio.abc.HalfCloseableStream]
    _pace: Pace

    async def accept(self) -> trio.abc.HalfCloseableStream:
        """Accept a connection, when its turn has come: it is waited for first, so that none is accepted and then forgotten."""
        await self._pace.turn()
        return await self._listener.accept()

    async def aclose(self) -> None:
        """Close the listener."""
        await self._listener.aclose()
