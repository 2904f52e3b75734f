"""A `MessageSocket` pair in memory, without framing: for tests of what stands on sockets, and for thousands of calls."""

from __future__ import annotations

from collections import deque

import trio
from attrs import define, field

from trio_voice.server.websocket import SocketClosed


@define(eq=False)
class _Wire:
    """What both ends share."""

    over: SocketClosed | None = None
    changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)


@define(eq=False)
class MemorySocket:
    """One end. `capacity`: how many messages the network takes before a sender waits for the other side to read."""

    remote: str
    _inbox: deque[str | bytes]
    _outbox: deque[str | bytes]
    _wire: _Wire
    capacity: int = 1_000_000
    attempts: list[str | bytes] = field(factory=list)
    """All that was begun to be sent."""

    async def receive(self) -> str | bytes:
        await trio.lowlevel.checkpoint()
        while not self._inbox:
            if self._wire.over is not None:
                raise self._closed()
            await self._wire.changed.park()
        message = self._inbox.popleft()
        self._wire.changed.unpark_all()
        return message

    async def send(self, message: str | bytes) -> None:
        self.attempts.append(message)
        try:
            await trio.lowlevel.checkpoint()
            while len(self._outbox) >= self.capacity and self._wire.over is None:
                await self._wire.changed.park()
        except trio.Cancelled:
            self.end(1006, "torn")
            raise
        if self._wire.over is not None:
            raise self._closed()
        self._outbox.append(message)
        self._wire.changed.unpark_all()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        self.end(code, reason)

    def end(self, code: int, reason: str = "") -> None:
        """The connection is over, for both sides."""
        if self._wire.over is None:
            self._wire.over = SocketClosed(code, reason)
            self._wire.changed.unpark_all()

    def _closed(self) -> SocketClosed:
        assert self._wire.over is not None
        return SocketClosed(self._wire.over.code, self._wire.over.reason)

    @property
    def ended(self) -> tuple[int, str] | None:
        over = self._wire.over
        return None if over is None else (over.code, over.reason)


def socket_pair(capacity: int = 1_000_000) -> tuple[MemorySocket, MemorySocket]:
    """Two ends of one connection; `capacity` is that of the first."""
    there: deque[str | bytes] = deque()
    back: deque[str | bytes] = deque()
    wire = _Wire()
    return MemorySocket("near", back, there, wire, capacity), MemorySocket("far", there, back, wire)
