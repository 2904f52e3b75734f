"""Uploads recordings to a bucket when their calls are over: one at a time, in a thread, as often as it takes.

What has to be uploaded has a mark beside it on the disk, from the call's begin: an empty file. It is removed after the upload; so
a server that ends, or is killed, leaves to the next one what it has not done.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import structlog
import trio
from attrs import define, field

from trio_voice.errors import ConfigError, how_to_install
from trio_voice.recording.bucket import Bucket, UploadError
from trio_voice.recording.recordings import MARK, files_in, mark_of
from trio_voice.recording.settings import RecordingSettings, bucket_and_prefix
from trio_voice.server.directory import LiveCall
from trio_voice.storage.threads import in_thread
from trio_voice.storage.wav_header import cut_off_what_is_not_counted

log = structlog.get_logger(__name__)

UPLOAD_LIMIT_S = 3600.0
LAST_UPLOAD_LIMIT_S = 5.0
"""So long the server's end waits for what is not uploaded yet."""
LONGEST_PAUSE_S = 60.0
MOST_WAITING = 1000
"""So many recordings are known; of more, the marks tell."""
QUIET_S = 60.0
"""A recording that was written to within this time may be a call in another worker of the same server."""


def _make_mark(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark_of(path).touch(mode=0o600)


@define(eq=False)
class Uploads:
    """The recordings on their way from one folder to a bucket."""

    settings: RecordingSettings
    folder: Path
    bucket: Bucket
    _nursery: trio.Nursery
    _waiting: dict[Path, bool] = field(factory=dict, init=False)
    """In the order of trying; true: of a call of ours, false: found."""
    _live: set[Path] = field(factory=set, init=False)
    _came: trio.Event = field(factory=trio.Event, init=False)
    _ending: trio.Event = field(factory=trio.Event, init=False)
    _look_at: float = field(default=-math.inf, init=False)
    """When to look for marks, on Trio's clock."""
    _has_looked: bool = field(default=False, init=False)
    _failures: int = field(default=0, init=False)
    """How many in a row."""
    _failure: str = field(default="", init=False)
    _one: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)
    _markers: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)

    @property
    def waiting(self) -> int:
        """How many recordings are known that are not uploaded."""
        return len(self._waiting)

    @property
    def problem(self) -> str:
        """Why the last try failed; empty: it did not."""
        return self._failure

    @asynccontextmanager
    async def attend(self, live: LiveCall) -> AsyncIterator[None]:
        """Have the call's recording uploaded, when the block is left."""
        path = self.folder / self.settings.path_of(
            call_id=live.call_id, call_sid=live.call_sid, dialect=live.dialect, started_at=live.started_at
        )
        self._live.add(path)
        self._nursery.start_soon(self._mark, path)
        try:
            yield
        finally:
            self._live.discard(path)
            if len(self._waiting) < MOST_WAITING:
                self._waiting[path] = True
            else:
                self._look_at = min(self._look_at, trio.current_time() + QUIET_S)
            self._came.set()

    def stop(self) -> None:
        """Upload what waits, and nothing more."""
        self._ending.set()
        self._came.set()

    async def run(self) -> None:
        """Upload what waits and what comes; after `stop`, until nothing waits or the store does not take it."""
        while True:
            if self._waiting:
                if not await self._upload(next(iter(self._waiting))) and self._ending.is_set():
                    return
            elif self._ending.is_set():
                return
            elif trio.current_time() >= self._look_at:
                await self._look()
            else:
                self._came = trio.Event()
                with trio.move_on_at(self._look_at):
                    await self._came.wait()

    async def _mark(self, path: Path) -> None:
        try:
            await in_thread(_make_mark, path, limiter=self._markers)
        except OSError as error:
            log.warning("a recording has no mark: a server that is killed forgets to upload it", path=str(path), error=str(error))

    async def _upload(self, path: Path) -> bool:
        """Try one; after a failure pause. Returns whether it is done."""
        with trio.move_on_after(UPLOAD_LIMIT_S) as scope:
            send = partial(self._send, path, ours=self._waiting[path])
            try:
                failure = await in_thread(send, limiter=self._one)
            except OSError as error:  # there is no thread
                failure = error.strerror or str(error)
        if scope.cancelled_caught:
            failure = f"it took longer than {UPLOAD_LIMIT_S:g} s"
        is_ours = self._waiting.pop(path)
        if failure:
            self._waiting[path] = is_ours  # behind the others: it may be the only one that cannot be uploaded
        if failure != self._failure:
            log.warning("uploading recordings", error=failure or "none any more", path=str(path), waiting=len(self._waiting))
        self._failure = failure
        if not failure:
            self._failures = 0
            return True
        self._failures += 1
        with trio.move_on_after(min(LONGEST_PAUSE_S, 2.0 ** min(self._failures - 1, 10))):
            await self._ending.wait()
        return False

    async def _look(self) -> None:
        """Find what another server has left behind."""
        look = partial(self._left_behind, time.time())
        try:
            found, fresh = await in_thread(look, limiter=self._one)
        except OSError as error:  # there is no thread, or the folder cannot be read
            log.warning("recordings of before cannot be looked for", error=error.strerror or str(error))
            self._look_at = trio.current_time() + QUIET_S
            return
        again = len(found) > MOST_WAITING or (bool(fresh.difference(self._live)) and not self._has_looked)
        self._look_at = trio.current_time() + QUIET_S if again else math.inf
        self._has_looked = True
        left = {path: False for path in found[:MOST_WAITING] if path not in self._live and path not in self._waiting}
        self._waiting.update(left)  # to our own, of calls that ended while we looked
        if left:
            log.info("recordings of before are uploaded", recordings=len(left))

    # --- in the thread

    def _send(self, path: Path, *, ours: bool) -> str:
        """Upload one, and remove its mark; returns what went wrong."""
        try:
            if not path.exists() or not (ours or mark_of(path).exists()):  # never written; or another worker was faster
                mark_of(path).unlink(missing_ok=True)
                return ""
            with suppress(OSError):  # it may be there already, and the disk full
                _make_mark(path)
            cut_off_what_is_not_counted(path)  # of a killed server, or where the disk hung at the call's end
            self.bucket.put(path, path.relative_to(self.folder).as_posix(), trio.from_thread.check_cancelled)
            mark_of(path).unlink(missing_ok=True)
        except UploadError as error:
            return str(error)
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _left_behind(self, now: float) -> tuple[list[Path], set[Path]]:
        """Find marks: recordings that nobody writes to any more, and those that somebody may."""
        old, fresh = [], set()
        pattern = self.settings.pattern()
        for mark in files_in(self.folder, self.settings.path.count("/"), f".wav{MARK}"):
            path = mark.with_name(mark.name.removesuffix(MARK))
            if pattern.fullmatch(path.relative_to(self.folder).as_posix()):
                with suppress(OSError):  # removed meanwhile
                    written = max((each.stat().st_mtime for each in (mark, path) if each.exists()), default=now)
                    if written > now - QUIET_S:
                        fresh.add(path)
                    else:
                        old.append(path)
        return sorted(old), fresh


def check_uploads() -> None:
    """Look whether what uploads take is installed. Raises ConfigError."""
    if find_spec("boto3") is None:
        raise ConfigError(f"recording.s3_url needs boto3; install it with: {how_to_install('boto3')}")


@asynccontextmanager
async def uploads_to(url: str, folder: Path, settings: RecordingSettings) -> AsyncIterator[Uploads]:
    """Upload recordings for the time of the block, and a little longer. Raises ConfigError when boto3 is not installed."""
    check_uploads()
    bucket = Bucket(*bucket_and_prefix(url), endpoint=settings.s3_endpoint)
    async with trio.open_nursery() as nursery:
        uploads = Uploads(settings, folder, bucket, nursery)
        nursery.start_soon(uploads.run)
        try:
            yield uploads
        finally:
            uploads.stop()
            nursery.cancel_scope.deadline = trio.current_time() + LAST_UPLOAD_LIMIT_S
    bucket.close()
    if uploads.waiting:
        log.warning("recordings are not uploaded yet: the next start goes on", recordings=uploads.waiting)
