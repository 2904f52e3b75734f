"""A `MessageSocket` pair in memory, without framing: for tests of what stands on sockets, and for thousands of calls."""

from __future__ import annotations

from collections import deque

import trio
from attrs import define, field

from trio_voice.server.message_socket import ALL, NOTHING, Sent
from trio_voice.server.websocket import MessageSocket, SocketClosed


@define(eq=False)
class _Pipe:
    """One direction."""

    capacity: int
    messages: deque[str | bytes] = field(factory=deque)
    filled: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    emptied: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)


@define(eq=False)
class MemorySocket(MessageSocket):
    """One end. A pipe's `capacity`: how many messages the network takes before a sender waits for the other side to read."""

    remote: str
    _outward: _Pipe
    _inward: _Pipe
    _over: list[SocketClosed]
    attempts: list[str | bytes] = field(factory=list)
    """All that was begun to be sent."""
    heard_at: float = 0.0
    pings: int = 0
    dead: bool = False
    """It answers no Ping."""

    async def receive(self) -> str | bytes:
        await trio.lowlevel.checkpoint()
        while not self._inward.messages:
            if self._over:
                raise self._closed()
            await self._inward.filled.park()
        self._inward.emptied.unpark_all()
        self.heard_at = trio.current_time()
        return self._inward.messages.popleft()

    async def send(self, message: str | bytes) -> None:
        self.attempts.append(message)
        try:
            await trio.lowlevel.checkpoint()
            while len(self._outward.messages) >= self._outward.capacity and not self._over:
                await self._outward.emptied.park()
        except trio.Cancelled:
            self.end(1006, "torn")
            raise
        if self._over:
            raise self._closed()
        self._outward.messages.append(message)
        self._outward.filled.unpark_all()

    def send_now(self, message: str | bytes) -> Sent:
        if self._over or len(self._outward.messages) >= self._outward.capacity:
            return NOTHING
        self.attempts.append(message)
        self._outward.messages.append(message)
        self._outward.filled.unpark_all()
        return ALL

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()

    async def ping(self, limit_s: float) -> None:
        self.pings += 1
        await trio.sleep(limit_s if self.dead else 0)
        if self.dead:
            self.end(1006, f"no sign of life within {limit_s:g} s")
        if self._over:
            raise self._closed()
        self.heard_at = trio.current_time()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        self.end(code, reason)

    def end(self, code: int, reason: str = "") -> None:
        """The connection is over, for both sides."""
        if not self._over:
            self._over.append(SocketClosed(code, reason))
            for pipe in (self._inward, self._outward):
                pipe.filled.unpark_all()
                pipe.emptied.unpark_all()

    def _closed(self) -> SocketClosed:
        return SocketClosed(self._over[0].code, self._over[0].reason)

    @property
    def ended(self) -> tuple[int, str] | None:
        return (self._over[0].code, self._over[0].reason) if self._over else None


def socket_pair(capacity: int = 1_000_000) -> tuple[MemorySocket, MemorySocket]:
    """Two ends of one connection; `capacity` is that of the way from the first to the second."""
    there, back = _Pipe(capacity), _Pipe(1_000_000)
    over: list[SocketClosed] = []
    return MemorySocket("near", there, back, over), MemorySocket("far", back, there, over)
