"""Tasks that wait for sockets in epoll sets: how such a wait begins, and how it ends.

A wait is known by its socket's number. The system takes a socket that is closed out of every set without a word, and gives its
number to another one. So whoever closes a socket ends the wait for it before (`release`), and where somebody did not, the next
wait for that number ends the one that nobody else would.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Generic, TypeVar

import outcome
import trio
from attrs import define, field


@define(eq=False)
class SocketWait:
    """One task's wait for a socket."""

    epoll: select.epoll
    """The set in which the socket is meanwhile."""
    task: trio.lowlevel.Task


_Wait = TypeVar("_Wait", bound=SocketWait)


@define(eq=False)
class SocketWaits(Generic[_Wait]):
    """All waits of one place."""

    by_number: dict[int, _Wait] = field(factory=dict, init=False)

    async def wait(self, fileno: int, wait: _Wait) -> None:
        """Have the socket in its set, until the wait is ended, or cancelled. `wait` is this task's.

        Raises what it is ended with, trio.ClosedResourceError when the socket is closed already, and trio.BusyResourceError when
        another task waits for it.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        before = self.by_number.get(fileno)
        try:
            if before is not None:  # for a socket that had this number, and was closed by somebody who told nobody
                before.epoll.register(fileno, select.EPOLLIN)
                self.release(fileno)
            wait.epoll.register(fileno, select.EPOLLIN)
        except FileExistsError:
            raise trio.BusyResourceError("another task waits for this socket") from None
        except (OSError, ValueError):  # the number of a closed socket is -1
            raise trio.ClosedResourceError("this socket was closed") from None
        self.by_number[fileno] = wait

        def abort(_: object) -> trio.lowlevel.Abort:
            if self.by_number.get(fileno) is wait:
                self._forget(fileno)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def end(self, fileno: int, how: outcome.Outcome[None]) -> None:
        """End the wait for a socket, if there is one."""
        if fileno in self.by_number:
            trio.lowlevel.reschedule(self._forget(fileno).task, how)

    def release(self, fileno: int) -> None:
        """End the wait for a socket that is about to be closed: whoever waits gets trio.ClosedResourceError."""
        self.end(fileno, outcome.Error(trio.ClosedResourceError("this socket is being closed")))

    def _forget(self, fileno: int) -> _Wait:
        wait = self.by_number.pop(fileno)
        with suppress(OSError, ValueError):  # a socket that was closed is in no set any more, and the set may be closed too
            wait.epoll.unregister(fileno)
        return wait
