"""A call's journal on disk: lines are taken at once and written in the background, so that a slow disk delays no audio.

What waits is bounded. A batch that cannot be written is kept and tried again; when the bound is reached lines are left out, and
`{"lost_lines": n}` stands in their place; a journal's last line is kept all the same. The call goes on in any case.

A journal holds what was said: its folder and its file are this user's alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
import trio
from attrs import define, field

from trio_voice.storage.writing import Writing

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 1.0
LIMIT_CHARACTERS = 512 * 1024
"""About a minute of a call."""
LAST_LINE_CHARACTERS = 4096
"""A line that is left out is remembered up to this length, in case that it is the last."""
LOSS_LOG_EVERY_S = 10.0


@define(eq=False)
class JournalFile:
    """Lines on their way to a file, in a block: all that was put in it is on disk when it is left, if the disk takes it.

    `put` is a plain function and never waits.
    """

    path: Path
    writing: Writing
    lost: int = field(default=0, init=False)
    """How many lines were left out since one was last taken."""
    _last_lost: str = field(default="", init=False)
    _untold: int = field(default=0, init=False)
    """How many lines were left out since a log line last said so."""
    _told_at: float = field(default=float("-inf"), init=False)
    _lines: list[str] = field(factory=list, init=False)
    _leaving: list[str] = field(factory=list, init=False)
    """Those that are being written."""
    _characters: int = field(default=0, init=False)
    _file: FileIO | None = field(default=None, init=False)
    _size: int = field(default=0, init=False)
    _failure: str = field(default="", init=False)

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

    async def __aenter__(self) -> Self:
        """Begin to write, once a second."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.writing.begin(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write what waits, within a bound, and close the file."""
        self._note_what_was_lost(self._last_lost)
        self._tell_of_losses()
        if not await self.writing.finish(self):
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

    def prepare(self) -> bool:
        """Lay out all lines that wait."""
        self._leaving, self._lines = self._lines, []
        return bool(self._leaving)

    def write(self, *, last: bool) -> str:
        """Write them in a thread: all or nothing."""
        failure = self._append("".join(f"{line}\n" for line in self._leaving).encode())
        if last and self._file is not None:
            try:
                self._file.close()
            except OSError as error:  # some disks say only now that they did not take it
                failure = failure or error.strerror or str(error)
        return failure

    def settle(self, failure: str) -> None:
        """What could not be written waits again, before what has come meanwhile."""
        lines, self._leaving = self._leaving, []
        if failure:
            self._lines = lines + self._lines
        else:
            self._characters -= sum(len(line) for line in lines)
        if failure != self._failure:
            log.warning("writing the journal", path=str(self.path), error=failure or "none any more")
        self._failure = failure

    def _append(self, data: bytes) -> str:
        """Write all or nothing; returns what went wrong."""
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
