"""Where those wait who are at the door: connected, and not in a call yet, or no longer.

A thousand of them can say something, or leave, in the same moment. Behind Trio's own wait they would all be woken in one pass,
and behind the wait of the calls (see `poller`) a model's word would come after theirs. Here their sockets are in a set of their
own, from which a few at a time are woken, with a gap after each time in which the scheduler serves everybody else.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import outcome
import trio
from attrs import define, field

from trio_voice.server.pace import GAP_S
from trio_voice.server.socket_waits import SocketWait, SocketWaits

WOKEN_AT_ONCE = 4
"""More than one, so that they are not fewer than those who are let in meanwhile (see `pace`): each waits here several times."""


@define(eq=False)
class WaitingRoom:
    """Wakes tasks whose sockets are readable, a few at a time. `run` runs beside them."""

    _epoll: select.epoll = field(factory=lambda: select.epoll(), init=False)  # noqa: PLW0108 - no epoll, no error before it is used
    _waits: SocketWaits[SocketWait] = field(factory=SocketWaits, init=False)

    async def run(self) -> None:
        """Wake whoever's socket has become readable, those first who became so first, until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fileno, _ in self._epoll.poll(0, WOKEN_AT_ONCE):
                    self._waits.end(fileno, outcome.Value(None))
                await trio.sleep(GAP_S)
        finally:
            self._epoll.close()

    async def wait_readable(self, fileno: int) -> None:
        """Wait until the socket is readable.

        Raises trio.ClosedResourceError when it is released, or closed already, and trio.BusyResourceError when another task waits
        for it.
        """
        await self._waits.wait(fileno, SocketWait(self._epoll, trio.lowlevel.current_task()))

    def release(self, fileno: int) -> None:
        """End the wait for a socket, before it is closed, if there is one: whoever waits gets trio.ClosedResourceError."""
        self._waits.release(fileno)


_ROOM: ContextVar[WaitingRoom | None] = ContextVar("room", default=None)


@contextmanager
def waiting_room(nursery: trio.Nursery) -> Iterator[None]:
    """Have the tasks that are started in the block wait so, where the system has epoll; `nursery` runs the room.

    The nursery must not be cancelled before those tasks have ended.
    """
    if sys.platform != "linux":
        yield
        return
    room = WaitingRoom()
    nursery.start_soon(room.run)
    token = _ROOM.set(room)
    try:
        yield
    finally:
        _ROOM.reset(token)


def current_room() -> WaitingRoom | None:
    """Where this task waits at the door; None: there is no such place, and it waits as all others do."""
    return _ROOM.get()
