"""A call's journal on disk: lines are taken at once and written in the background, so that a slow disk delays no audio.

What waits is bounded. When the disk does not keep up, or fails, lines are left out and counted, the loss is noted in the journal
as soon as it can be, and the call goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import TextIOWrapper
from pathlib import Path

import structlog
import trio
from attrs import define, field

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 0.25
LIMIT_CHARACTERS = 4 * 1024 * 1024
LAST_WRITE_LIMIT_S = 5.0


@define(eq=False)
class JournalFile:
    """Lines on their way to a file. `put` is a plain function and never waits."""

    path: Path
    lost: int = field(default=0, init=False)
    _lines: list[str] = field(factory=list, init=False)
    _characters: int = field(default=0, init=False)
    _file: TextIOWrapper | None = field(default=None, init=False)

    def put(self, line: str) -> None:
        """Take one line, without its newline."""
        if self._characters > LIMIT_CHARACTERS:
            self.lost += 1
            return
        self._lines.append(line)
        self._characters += len(line)

    async def run(self) -> None:
        """Write what was put, every quarter of a second, until cancelled."""
        while True:
            await trio.sleep(WRITE_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write what was put until now."""
        if not self._lines:
            return
        lines, self._lines, self._characters = self._lines, [], 0
        if self.lost:
            lines.append(f'{{"lost_lines":{self.lost}}}')
        try:
            await trio.to_thread.run_sync(self._append, "\n".join(lines) + "\n")
            self.lost = 0
        except OSError as error:
            self.lost += len(lines)
            log.warning("the journal cannot be written", path=str(self.path), error=str(error), lost_lines=self.lost)

    def _append(self, text: str) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8")
        self._file.write(text)
        self._file.flush()

    async def aclose(self) -> None:
        """Write the rest, within a bound, also when cancelled."""
        with trio.move_on_after(LAST_WRITE_LIMIT_S, shield=True) as scope:
            await self.write()
            if self._file is not None:
                await trio.to_thread.run_sync(self._file.close)
        if scope.cancelled_caught:
            log.error("the end of the journal could not be written in time", path=str(self.path))


@asynccontextmanager
async def journal_file(path: Path) -> AsyncIterator[JournalFile]:
    """Open a journal for the length of a block; all that was put is on disk when the block is left."""
    journal = JournalFile(path)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.run)
            yield journal
            nursery.cancel_scope.cancel()
    finally:
        await journal.aclose()
