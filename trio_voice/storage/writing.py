"""The files of calls, written in the background: those that are due in the same tenth of a second by one thread, in one go.

A task for each file and a thread's turn for each write cost more than what is written, in processor time and in what a call
weighs. So one task writes for all calls. What is left at a call's end is written by the call's own task, which waits for it
within a bound, also when it is cancelled: the end of a call is the best of its journal.

A file is written by one thread at a time. A disk that hangs holds the files that were to be written together with the one at
which it hangs, and a few threads at the most. A thread is abandoned at the end's bound: nothing can interrupt it in the disk.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import Protocol, TypeVar

import structlog
import trio
from attrs import define, field

from trio_voice.storage.slots import end_of_slot
from trio_voice.storage.threads import in_thread

log = structlog.get_logger(__name__)

LAST_WRITE_LIMIT_S = 5.0
WRITERS_LIMIT = 4
"""How many threads may write files of one kind at once: a disk that hangs must not use up those that resolve host names."""
_T = TypeVar("_T")


class BackgroundFile(Protocol):
    """A file of one call. `prepare` and `settle` are called in Trio's thread and in the call's context, and never wait."""

    def prepare(self) -> bool:
        """Lay out what is to be written now; False: there is nothing."""

    def write(self, *, last: bool) -> str:
        """Write what was laid out, in a thread, and close the file behind the `last` of it; returns what went wrong, or ""."""

    def settle(self, failure: str) -> None:
        """Take note of what became of it."""


@define(eq=False)
class Writing:
    """Writes every file `every_s` seconds. `run` runs beside the calls, and ends after them."""

    every_s: float
    writers: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(WRITERS_LIMIT), init=False)
    _contexts: dict[BackgroundFile, Context] = field(factory=dict, init=False)
    """Of the files that are written, and in whose context."""
    _due: dict[float, list[BackgroundFile]] = field(factory=dict, init=False)
    _at_work: set[BackgroundFile] = field(factory=set, init=False)
    """Those that a thread is writing."""
    _begun: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    _done: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    _unhurried: set[trio.CancelScope] = field(factory=set, init=False)
    """Of the writes that go on."""

    def begin(self, file: BackgroundFile) -> None:
        """Write a file from now on."""
        self._contexts[file] = copy_context()
        self._arrange([file], trio.current_time())
        self._begun.unpark_all()

    async def finish(self, file: BackgroundFile) -> bool:
        """Write what is left of a file and close it, also when cancelled; False: that took longer than LAST_WRITE_LIMIT_S."""
        del self._contexts[file]
        with trio.CancelScope(deadline=trio.current_time() + LAST_WRITE_LIMIT_S, shield=True):
            while file in self._at_work:
                await self._done.park()
            file.prepare()
            await self._write((file,), last=True)
            return True
        return False

    async def run(self) -> None:
        """Write until cancelled; what is being written then for calls that live is written, within LAST_WRITE_LIMIT_S."""
        async with trio.open_nursery() as nursery:
            try:
                while True:
                    with trio.move_on_at(min(self._due, default=math.inf)):
                        await self._begun.park()  # a file that begins may be due before all others
                    for files in self._take_due():
                        scope = trio.CancelScope(shield=True)
                        self._unhurried.add(scope)
                        nursery.start_soon(self._write_unhurriedly, files, scope)
            finally:
                is_wanted = self._contexts or self._done  # else the files were given up, and there is no call any more
                for scope in self._unhurried:
                    scope.deadline = trio.current_time() + (LAST_WRITE_LIMIT_S if is_wanted else 0.0)

    def _arrange(self, files: Iterable[BackgroundFile], at: float) -> None:
        self._due.setdefault(end_of_slot(at), []).extend(files)

    def _take_due(self) -> list[list[BackgroundFile]]:
        """Those that are due and have something to be written, which is laid out; they are due again later."""
        now = trio.current_time()
        found = []
        for at in [at for at in self._due if at <= now]:
            files = [file for file in self._due.pop(at) if file in self._contexts]
            if files:
                self._arrange(files, now + self.every_s)
            ready = [file for file in files if file not in self._at_work and self._guarded(file, file.prepare, otherwise=False)]
            self._at_work.update(ready)
            if ready:
                found.append(ready)
        return found

    async def _write_unhurriedly(self, files: Sequence[BackgroundFile], scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self._write(files, last=False)
        finally:
            self._unhurried.discard(scope)

    async def _write(self, files: Sequence[BackgroundFile], *, last: bool) -> None:
        try:
            failures = await in_thread(_write_all, files, last, limiter=self.writers)
        except OSError as error:  # there is no thread
            failures = [error.strerror or str(error)] * len(files)
        self._at_work.difference_update(files)
        for file, failure in zip(files, failures, strict=True):
            self._guarded(file, partial(file.settle, failure), otherwise=None)
        self._done.unpark_all()

    def _guarded(self, file: BackgroundFile, do: Callable[[], _T], *, otherwise: _T) -> _T:
        """Do something for a file in its call's context."""
        try:
            return self._contexts[file].run(do) if file in self._contexts else do()
        except Exception:  # the guard of one call: what is wrong with its file must not end the others
            log.exception("a file of a call failed")
            return otherwise


def _write_all(files: Sequence[BackgroundFile], last: bool) -> list[str]:
    failures = []
    for file in files:
        try:
            failures.append(file.write(last=last))
        except Exception as error:  # the guard of one call, as above
            log.exception("a file of a call failed")
            failures.append(f"{type(error).__name__}: {error}")
    return failures


@asynccontextmanager
async def writing(every_s: float) -> AsyncIterator[Writing]:
    """Write files for the time of the block, which is longer than that of the calls."""
    background = Writing(every_s)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(background.run)
        yield background
        nursery.cancel_scope.cancel()
