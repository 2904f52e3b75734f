"""The only writer of a socket.

Commands become messages here; nothing that feeds the state machine ever waits for a peer to read. A message before which none
waits leaves in the moment in which it is put, where the socket can do that; the others wait for their turn with the task that
sends. What waits and has not begun to leave can be dropped (audio, at a barge-in) or overtaken (by a clear); a message that has
begun is never cut, because a torn WebSocket message ends the connection.

The queue is bounded. A peer that does not read for so long that the bound is reached, or that takes longer than the send limit
for one message, is reported once, as an overrun, and the state machine decides what to give up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum

import trio
from attrs import define, field, frozen

from trio_voice.server.message_socket import NORMAL_CLOSURE, NOTHING, PART, MessageSocket, SocketClosed


class _State(Enum):
    OPEN = "open"
    CLOSING = "closing"  # what waits still leaves, and then the socket is closed
    OVERRUN = "overrun"  # the peer does not read
    OVER = "over"  # nobody writes any more


_OPEN = _State.OPEN  # on the way of a frame: see poller.MORE


@frozen
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
    queued_bytes: int = field(default=0, init=False)
    """How much waits (of text: characters)."""
    _state: _State = field(default=_State.OPEN, init=False)
    _queue: list[_Message] = field(factory=list, init=False)
    _leaving: _Message | None = field(default=None, init=False)
    _waiting: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    _close_with: tuple[int, str] = field(default=(NORMAL_CLOSURE, ""), init=False)

    def put(self, data: str | bytes, *, droppable: bool = False, event_id: str | None = None) -> bool:
        """Send a message after the others; False: it will not be sent, because the socket is closing, closed, or overrun."""
        if self._state is not _OPEN:
            return False
        if not self._queue and self._has_begun(data, event_id):
            return True
        self._queue.append(_Message(data, droppable, event_id))
        self.queued_bytes += len(data)
        self._waiting.unpark_all()
        if self.queued_bytes > self.limit_bytes:
            self._report_overrun()
        return self._state is _State.OPEN

    def put_first(self, data: str | bytes) -> None:
        """Send a message before everything that waits, and drop what may be dropped."""
        if self._state is _State.OPEN:
            self._drop_what_may_be_dropped()
            if not self._has_begun(data, None):
                self._queue.insert(0, _Message(data, droppable=False, event_id=None))
                self.queued_bytes += len(data)
                self._waiting.unpark_all()

    def close_after(self, code: int = NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the socket once what waits now, and may not be dropped, has left; nothing more is taken."""
        if self._state is _State.OPEN:
            self._drop_what_may_be_dropped()
            self._state = _State.CLOSING
            self._close_with = (code, reason)
            self._waiting.unpark_all()

    def give_up(self) -> None:
        """Nothing more will leave: tell of what has not."""
        self._end_in(_State.OVER)

    async def run(self) -> None:
        """Write until the socket is closed, by us or by the peer, or the peer does not read. It raises only what cancels it."""
        try:
            while True:
                if self._leaving is not None:
                    await self._within_the_limit(self.socket.flush())
                elif self._queue:
                    await self._send_next()
                elif self._state is _State.OPEN:
                    await self._waiting.park()
                else:
                    break
            if self._state is _State.CLOSING:
                await self.socket.close(*self._close_with)
        except SocketClosed:
            self.give_up()
        finally:
            self._state = _State.OVER

    def _has_begun(self, data: str | bytes, event_id: str | None) -> bool:
        """Have a message leave at once, if that can be, and its rest as soon as possible."""
        if self._leaving is not None:
            return False
        sent = self.socket.send_now(data)
        if sent is PART:
            self._leaving = _Message(data, droppable=False, event_id=event_id)
            self._waiting.unpark_all()
        return sent is not NOTHING

    async def _send_next(self) -> None:
        self._leaving = message = self._queue.pop(0)
        self.queued_bytes -= len(message.data)
        await self._within_the_limit(self.socket.send(message.data))

    async def _within_the_limit(self, leaving: Awaitable[None]) -> None:
        with trio.move_on_after(self.send_limit_s):
            await leaving
            self._leaving = None
        if self._leaving is not None:
            self._report_overrun()

    def _report_overrun(self) -> None:
        if self._state is not _State.OVERRUN:
            self._end_in(_State.OVERRUN)
            self.on_overrun()

    def _end_in(self, state: _State) -> None:
        self._state = state  # first, because who is told may answer with a message
        unsent = [message for message in (self._leaving, *self._queue) if message is not None]
        self._queue.clear()
        self._leaving, self.queued_bytes = None, 0
        for message in unsent:
            if message.event_id is not None:
                self.on_unsent(message.event_id)

    def _drop_what_may_be_dropped(self) -> None:
        self._queue = [message for message in self._queue if not message.droppable]
        self.queued_bytes = sum(len(message.data) for message in self._queue)
