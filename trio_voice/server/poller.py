"""Many sockets behind one wait, for those that carry audio.

Trio reads a socket with a task that sleeps until it is readable: a system call to arm the socket, a switch to the task, and often
a pass of the scheduler, for each of the fifty frames that come every second on each leg of a call. Together that costs more than
all that is done with a frame. Here the sockets are registered once, in an epoll set of our own. One task sleeps until that set is
readable, and then calls a plain function for each socket that is.

Nothing of a call runs outside its nursery for that: who watches a socket waits in `watch` until the function is done with it, the
function runs in the watching task's context (log lines bear the call's id), and what it raises is raised in that task. The watch
ends with the task, cancelled or not.

A pass is bounded: by the number of sockets, and by what one function may do, so that other tasks get their turns. With fifty
calls and more there is a millisecond between two passes, and what comes meanwhile is served in one go: to be woken for a frame
costs more than to serve it. With fewer calls nobody waits for another.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from enum import Enum

import outcome
import trio
from attrs import define, field

SOCKETS_AT_ONCE = 64
"""How many sockets are served between two turns of the scheduler."""
MANY_SOCKETS = 100
"""With so many watched, which is fifty calls, a pass over several sockets is followed by a pause."""
PAUSE_S = 0.001


class Want(Enum):
    """What a function wants that has been told of its socket."""

    MORE = "more"  # to be called when the socket is readable again
    TURN = "turn"  # to be called in the next pass, whatever the socket is: it has not done all that it could
    END = "end"  # not to be called again; the task goes on


@define(eq=False)
class _Watch:
    task: trio.lowlevel.Task
    readable: Callable[[], Want]


@define(eq=False)
class Poller:
    """The epoll set and who watches what in it. `run` runs beside the tasks that `watch`."""

    _epoll: select.epoll = field(factory=lambda: select.epoll(), init=False)  # noqa: PLW0108 - no epoll, no error before it is used
    _watches: dict[int, _Watch] = field(factory=dict, init=False)
    _again: list[int] = field(factory=list, init=False)
    """Sockets whose function wants another turn."""

    async def run(self) -> None:
        """Serve the watched sockets until cancelled, and let the epoll set go."""
        try:
            await self._run()
        finally:
            self._epoll.close()

    async def _run(self) -> None:
        ready: Sequence[tuple[int, int]] = ()
        while True:
            if self._again or len(ready) == SOCKETS_AT_ONCE:
                await trio.lowlevel.checkpoint()
            elif len(ready) > 1 and len(self._watches) >= MANY_SOCKETS:
                await trio.sleep(PAUSE_S)
            else:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            again, self._again = self._again, []
            for fileno in again:
                self._serve(fileno)
            ready = self._epoll.poll(0, SOCKETS_AT_ONCE)
            for fileno, _ in ready:
                if fileno not in again:
                    self._serve(fileno)

    async def watch(self, fileno: int, readable: Callable[[], Want]) -> None:
        """Have `readable` called, in this task's context, whenever the socket is readable, until it wants the end.

        It must not wait. What it raises is raised here. Raises trio.ClosedResourceError when the socket is released, or closed
        already, and trio.BusyResourceError when it is watched already.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        watch = _Watch(trio.lowlevel.current_task(), readable)
        try:
            self._epoll.register(fileno, select.EPOLLIN)
        except FileExistsError:
            raise trio.BusyResourceError("another task watches this socket") from None
        except (OSError, ValueError):  # the number of a closed socket is -1
            raise trio.ClosedResourceError("this socket was closed") from None
        before = self._watches.pop(fileno, None)
        if before is not None:  # of a socket that had this number, and was closed by somebody who told nobody
            trio.lowlevel.reschedule(before.task, _closed())
        self._watches[fileno] = watch

        def abort(_: object) -> trio.lowlevel.Abort:
            if self._watches.get(fileno) is watch:
                self._forget(fileno)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def release(self, fileno: int) -> None:
        """End the watch over a socket, if there is one: whoever watches it gets trio.ClosedResourceError."""
        self._end(fileno, _closed())

    def _serve(self, fileno: int) -> None:
        watch = self._watches.get(fileno)
        if watch is None:  # ended in this very pass
            return
        wanted = outcome.capture(watch.task.context.run, watch.readable)
        if self._watches.get(fileno) is not watch:  # it released its own socket
            return
        if isinstance(wanted, outcome.Error):
            self._end(fileno, wanted)
        elif wanted.value is Want.TURN:
            self._again.append(fileno)
        elif wanted.value is Want.END:
            self._end(fileno, outcome.Value(None))

    def _end(self, fileno: int, how: outcome.Outcome[None]) -> None:
        watch = self._watches.get(fileno)
        if watch is not None:
            self._forget(fileno)
            trio.lowlevel.reschedule(watch.task, how)

    def _forget(self, fileno: int) -> None:
        del self._watches[fileno]
        with suppress(OSError, ValueError):  # a socket that was closed is in no set any more, and the set may be closed too
            self._epoll.unregister(fileno)


def _closed() -> outcome.Error:
    return outcome.Error(trio.ClosedResourceError("this socket is being closed"))


_POLLER: ContextVar[Poller | None] = ContextVar("poller", default=None)


@contextmanager
def polling(nursery: trio.Nursery) -> Iterator[None]:
    """Poll for the tasks that are started in the block, where the system has epoll; the poller runs in `nursery`.

    The nursery must not be cancelled before those tasks have ended.
    """
    if sys.platform != "linux":
        yield
        return
    poller = Poller()
    nursery.start_soon(poller.run)
    token = _POLLER.set(poller)
    try:
        yield
    finally:
        _POLLER.reset(token)


def current_poller() -> Poller | None:
    """Who polls for this task; None: nobody does, and it must wait itself."""
    return _POLLER.get()
