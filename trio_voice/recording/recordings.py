"""The recordings of all calls: where each one goes, and when old ones are removed."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog
import trio
from attrs import define, field

from trio_voice.recording.recorder import WRITE_EVERY_S, Recorder
from trio_voice.recording.settings import RecordingSettings
from trio_voice.server.directory import LiveCall
from trio_voice.storage.threads import in_thread
from trio_voice.storage.writing import Writing

log = structlog.get_logger(__name__)

TIDY_EVERY_S = 3600.0
DAY_S = 86400.0
MARK = ".upload"
"""How the names of marks end."""


@define(eq=False)
class Recordings:
    """The recordings in one folder."""

    settings: RecordingSettings
    folder: Path
    writing: Writing = field(factory=lambda: Writing(WRITE_EVERY_S), init=False)

    def attend(self, live: LiveCall) -> Recorder:
        """Record the call that lives in the block."""
        path = self.settings.path_of(
            call_id=live.call_id, call_sid=live.call_sid, dialect=live.dialect, started_at=live.started_at
        )
        return Recorder(self.folder / path, self.writing)

    async def tidy(self) -> None:
        """Remove old recordings, now and every hour, until cancelled."""
        while True:
            try:
                removed = await in_thread(self.remove_old, time.time(), limiter=self.writing.writers)
            except OSError as error:  # there is no thread, or a folder cannot be read
                log.warning("old recordings cannot be looked for", error=error.strerror or str(error))
            else:
                if removed:
                    log.info("old recordings were removed", recordings=removed, older_than_days=self.settings.keep_days)
            await trio.sleep(TIDY_EVERY_S)

    def remove_old(self, now: float) -> int:
        """Remove the files that are recordings by their path, and were last written to too long ago; returns how many."""
        removed, pattern = 0, self.settings.pattern()
        limit = now - self.settings.keep_days * DAY_S
        for path in files_in(self.folder, self.settings.path.count("/"), ".wav"):
            if pattern.fullmatch(path.relative_to(self.folder).as_posix()):
                try:
                    if path.stat(follow_symlinks=False).st_mtime < limit:
                        path.unlink()
                        mark_of(path).unlink(missing_ok=True)
                        removed += 1
                        _remove_empty(path.parent, self.folder)
                except OSError as error:
                    log.warning("an old recording cannot be removed", path=str(path), error=error.strerror)
        return removed


def mark_of(path: Path) -> Path:
    """The file beside a recording that says that it is not uploaded yet."""
    return path.with_name(path.name + MARK)


def files_in(folder: Path, depth: int, ending: str) -> list[Path]:
    """Find the files so many folders down whose names end so; links are not followed."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []
    if depth == 0:
        return [Path(entry.path) for entry in entries if entry.name.endswith(ending) and entry.is_file(follow_symlinks=False)]
    return [
        path for entry in entries if entry.is_dir(follow_symlinks=False) for path in files_in(Path(entry.path), depth - 1, ending)
    ]


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove the folders that are empty now, up to the top."""
    with suppress(OSError):
        while folder != top:
            folder.rmdir()
            folder = folder.parent


@asynccontextmanager
async def recordings_in(folder: Path, settings: RecordingSettings) -> AsyncIterator[Recordings]:
    """Record calls for the time of the block, and keep the folder tidy."""
    recordings = Recordings(settings, folder)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recordings.writing.run)
        if settings.keep_days:
            nursery.start_soon(recordings.tidy)
        yield recordings
        nursery.cancel_scope.cancel()
