"""A call's journal on disk: lines are taken at once and written in the background, so that a slow disk delays no audio.

What waits is bounded. A batch that cannot be written is kept and tried again; when the bound is reached lines are left out, and
`{"lost_lines": n}` stands in their place; a journal's last line is kept all the same. The call goes on in any case.

A journal holds what was said: its folder and its file are this user's alone.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from io import FileIO
from pathlib import Path

import structlog
import trio
from attrs import define, field

from trio_voice.storage.slots import end_of_slot
from trio_voice.storage.threads import in_thread

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 1.0
LIMIT_CHARACTERS = 512 * 1024
"""About a minute of a call."""
LAST_LINE_CHARACTERS = 4096
"""A line that is left out is remembered up to this length, in case that it is the last."""
LOSS_LOG_EVERY_S = 10.0
LAST_WRITE_LIMIT_S = 5.0
WRITERS_LIMIT = 4
"""How many threads may write journals at once: a disk that hangs must not use up the threads that resolve host names."""


def journal_writers() -> trio.CapacityLimiter:
    """Make what the journals of all calls share."""
    return trio.CapacityLimiter(WRITERS_LIMIT)


@define(eq=False)
class JournalFile:
    """Lines on their way to a file. `put` and `end` are plain functions and never wait."""

    path: Path
    writers: trio.CapacityLimiter = field(factory=journal_writers)
    lost: int = field(default=0, init=False)
    """How many lines were left out since one was last taken."""
    _last_lost: str = field(default="", init=False)
    _untold: int = field(default=0, init=False)
    """How many lines were left out since a log line last said so."""
    _told_at: float = field(default=float("-inf"), init=False)
    _lines: list[str] = field(factory=list, init=False)
    _characters: int = field(default=0, init=False)
    _file: FileIO | None = field(default=None, init=False)
    _size: int = field(default=0, init=False)
    _failure: str = field(default="", init=False)
    _ending: trio.Event = field(factory=trio.Event, init=False)
    _scope: trio.CancelScope = field(factory=lambda: trio.CancelScope(shield=True), init=False)

    def put(self, line: str) -> None:
        """Take one line, or several, without the last newline."""
        if self._characters + len(line) > LIMIT_CHARACTERS:
            self.lost += 1 + line.count("\n")
            last = line.rpartition("\n")[2]
            self._last_lost = last if len(last) <= LAST_LINE_CHARACTERS else ""
        else:
            if self.lost:
                self._note_what_was_lost()
            self._lines.append(line)
            self._characters += len(line)

    def end(self) -> None:
        """Take no more lines; what waits is still written, within a bound."""
        self._ending.set()
        self._scope.deadline = trio.current_time() + LAST_WRITE_LIMIT_S

    async def run(self) -> None:
        """Write what is put, once a second, to the `end`, also when cancelled: the end of a call is the best of its journal."""
        with self._scope:
            while not self._ending.is_set():
                if self._lines:
                    await self._write(self._append)
                with trio.move_on_at(end_of_slot(trio.current_time() + WRITE_EVERY_S)):
                    await self._ending.wait()
            self._note_what_was_lost(self._last_lost)
            self._tell_of_losses()
            await self._write(self._finish)
        if self._scope.cancelled_caught:
            log.error("the disk did not take the end of the journal in time", path=str(self.path))
        elif self._lines:
            log.error("the end of the journal is lost", path=str(self.path), lines=len(self._lines), error=self._failure)

    def _take(self, line: str) -> None:
        self._lines.append(line)
        self._characters += len(line)

    def _note_what_was_lost(self, last: str = "") -> None:
        """Say so where it happened; `last` is the last of the lost lines, if that one is kept."""
        if not self.lost:
            return
        lost, self.lost = self.lost - bool(last), 0
        if lost:
            self._untold += lost
            self._take(f'{{"lost_lines":{lost}}}')
            if trio.current_time() - self._told_at >= LOSS_LOG_EVERY_S:
                self._tell_of_losses()
        if last:
            self._take(last)

    def _tell_of_losses(self) -> None:
        if self._untold:
            log.warning("lines of the journal were lost", path=str(self.path), lines=self._untold)
            self._untold, self._told_at = 0, trio.current_time()

    # --- writing

    async def _write(self, write: Callable[[bytes], str]) -> None:
        """Have all that waits written. The thread is abandoned at the end's bound: nothing can interrupt it in the disk."""
        lines, self._lines = self._lines, []
        data = "".join(f"{line}\n" for line in lines).encode()
        try:
            failure = await in_thread(write, data, limiter=self.writers)
        except OSError as error:  # there is no thread
            failure = error.strerror or str(error)
        if failure:
            self._lines = lines + self._lines
        else:
            self._characters -= sum(len(line) for line in lines)
        if failure != self._failure:
            log.warning("writing the journal", path=str(self.path), error=failure or "none any more")
        self._failure = failure

    def _append(self, data: bytes) -> str:
        """Write all or nothing, in a thread; returns what went wrong."""
        try:
            if self._file is None:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = FileIO(self.path, "ab", opener=lambda path, flags: os.open(path, flags, 0o600))
                self._size = os.fstat(self._file.fileno()).st_size
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            if self._file is not None:
                with suppress(OSError):
                    self._file.truncate(self._size)  # what is appended next follows the last whole line
            return error.strerror or str(error)
        self._size += len(data)
        return ""

    def _finish(self, data: bytes) -> str:
        failure = self._append(data)
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        return failure


@asynccontextmanager
async def journal_file(path: Path, writers: trio.CapacityLimiter | None = None) -> AsyncIterator[JournalFile]:
    """Open a journal for the length of a block; all that was put is on disk when the block is left, if the disk takes it."""
    journal = JournalFile(path, writers or journal_writers())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        try:
            yield journal
        finally:
            journal.end()
