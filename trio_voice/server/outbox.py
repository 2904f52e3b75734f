"""The only writer of a socket.

Commands become messages here and wait for their turn; nothing that feeds the state machine ever waits for a peer to read. What
waits and has not begun to leave can be dropped (audio, at a barge-in) or overtaken (by a clear); a message that has begun is never
cut, because a torn WebSocket message ends the connection.

The queue is bounded in bytes. A peer that does not read for so long that the bound is reached, or that takes longer than the
send limit for one message, is reported once, as an overrun, and the state machine decides what to give up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio
from attrs import define, field

from trio_voice.server.websocket import MessageSocket, SocketClosed

NORMAL_CLOSURE = 1000


@define
class _Message:
    data: str | bytes
    droppable: bool
    event_id: str | None


@define(eq=False)
class Outbox:
    """A queue before a socket. `on_overrun` and `on_unsent` (with the message's event id) are plain functions."""

    socket: MessageSocket
    on_overrun: Callable[[], None]
    on_unsent: Callable[[str], None]
    limit_bytes: int = 4 * 1024 * 1024
    send_limit_s: float = 10.0
    _queue: deque[_Message] = field(factory=deque, init=False)
    _queued_bytes: int = field(default=0, init=False)
    _wake: trio.Event = field(factory=trio.Event, init=False)
    _overrun: bool = field(default=False, init=False)
    _close_after: tuple[int, str] | None = field(default=None, init=False)

    @property
    def queued_bytes(self) -> int:
        """How much waits, for metrics."""
        return self._queued_bytes

    def put(self, data: str | bytes, *, droppable: bool = False, event_id: str | None = None) -> None:
        """Queue a message behind the others."""
        if self._close_after is not None or self._overrun:
            return
        self._queue.append(_Message(data, droppable, event_id))
        self._queued_bytes += len(data)
        self._wake.set()
        if self._queued_bytes > self.limit_bytes:
            self._report_overrun()

    def put_first(self, data: str | bytes) -> None:
        """Queue a message before everything that waits, and drop what may be dropped."""
        if self._close_after is not None or self._overrun:
            return
        kept = [message for message in self._queue if not message.droppable]
        self._queue = deque([_Message(data, droppable=False, event_id=None), *kept])
        self._queued_bytes = sum(len(message.data) for message in self._queue)
        self._wake.set()

    def close_after(self, code: int = NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the socket once everything that waits now has left; nothing more is taken."""
        if self._close_after is None:
            self._close_after = (code, reason)
            self._wake.set()

    async def run(self) -> None:
        """Write until the socket is closed. Returns; raises nothing but what cancels it."""
        try:
            while True:
                if not self._queue:
                    if self._close_after is not None:
                        await self.socket.close(*self._close_after)
                        return
                    self._wake = trio.Event()
                    await self._wake.wait()
                    continue
                message = self._queue.popleft()
                self._queued_bytes -= len(message.data)
                await self._send(message)
        except SocketClosed:
            for message in self._queue:  # a closed socket: nobody will send these
                self._tell_unsent(message)
            self._queue.clear()

    async def _send(self, message: _Message) -> None:
        try:
            with trio.move_on_after(self.send_limit_s) as scope:
                await self.socket.send(message.data)
        except SocketClosed:
            self._tell_unsent(message)
            raise
        if scope.cancelled_caught:
            self._tell_unsent(message)
            self._report_overrun()

    def _tell_unsent(self, message: _Message) -> None:
        if message.event_id is not None:
            self.on_unsent(message.event_id)

    def _report_overrun(self) -> None:
        if not self._overrun:
            self._overrun = True
            self._queue.clear()
            self._queued_bytes = 0
            self.on_overrun()
