"""Records one call: what happens is put on a tape, and read off it into a file in the background, a little later.

What waits is bounded. Samples that cannot be written are kept and tried again; when the bound is reached they are left out, and
silence stands in their place, so that what follows is where it belongs. The call goes on in any case.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog
import trio
from attrs import define, field, frozen

from trio_voice.core.commands import ClearPlayback, Command, PlayAudio, SendMark
from trio_voice.core.events import CallerAudio, Event, PlaybackMarked
from trio_voice.recording.tape import SAMPLES_PER_S, Tape
from trio_voice.recording.wav_file import WavFile
from trio_voice.storage.threads import in_thread

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 2.0
BEHIND_S = 1.0
"""So far the file is behind the call: what is placed can still be moved, or cut."""
LONGEST_WAIT_S = 60.0
"""So much of a call waits for the disk at most, in seconds: 1 MB."""
LAST_WRITE_LIMIT_S = 5.0
WRITERS_LIMIT = 4
"""How many threads may write recordings at once."""


def recording_writers() -> trio.CapacityLimiter:
    """Make what the recordings of all calls share."""
    return trio.CapacityLimiter(WRITERS_LIMIT)


@frozen
class _Piece:
    """Samples on their way to the file; without audio: so much silence."""

    samples: int
    left: bytes = b""
    right: bytes = b""


@define(eq=False)
class Recorder:
    """The recording of one call. `on_event`, `on_command` and `end` are plain functions and never wait."""

    path: Path
    writers: trio.CapacityLimiter = field(factory=recording_writers)
    lost_s: float = field(default=0.0, init=False)
    """So much of the call was left out."""
    _tape: Tape = field(factory=Tape, init=False)
    _now_s: float = field(default=0.0, init=False)
    _waiting: deque[_Piece] = field(factory=deque, init=False)
    _file: WavFile = field(init=False)
    _failure: str = field(default="", init=False)
    _ending: trio.Event = field(factory=trio.Event, init=False)
    _scope: trio.CancelScope = field(factory=lambda: trio.CancelScope(shield=True), init=False)

    def __attrs_post_init__(self) -> None:
        self._file = WavFile(self.path)

    def on_event(self, now: float, event: Event) -> None:
        """Something happened, `now` seconds after the call's begin."""
        self._now_s = now
        if type(event) is CallerAudio:
            self._tape.said(event.audio, now)
            if now - self._tape.position_s > LONGEST_WAIT_S:
                self._leave_out()
        elif type(event) is PlaybackMarked:
            self._tape.mark_echoed(event.name, now)

    def on_command(self, now: float, command: Command) -> None:
        """Something is done about it."""
        self._now_s = now
        if type(command) is PlayAudio:
            self._tape.played(command.audio, now)
        elif type(command) is SendMark:
            self._tape.mark_sent(command.name)
        elif type(command) is ClearPlayback:
            self._tape.cleared(now)

    def end(self) -> None:
        """The call is over; what waits is still written, within a bound."""
        if not self._ending.is_set():
            self._ending.set()
            self._scope.deadline = trio.current_time() + LAST_WRITE_LIMIT_S

    async def run(self) -> None:
        """Write what is recorded, every two seconds, to the `end`, also when cancelled."""
        with self._scope:
            while not self._ending.is_set():
                await self._write(self._now_s - BEHIND_S)
                with trio.move_on_after(WRITE_EVERY_S):
                    await self._ending.wait()
            await self._write(self._now_s)
            with suppress(OSError):  # there is no thread, and what that means was told
                await in_thread(self._close, limiter=self.writers)
        if self._scope.cancelled_caught or self._waiting:
            left_s = round(sum(piece.samples for piece in self._waiting) / SAMPLES_PER_S, 3)
            log.error("the end of the recording is lost", path=str(self.path), lost_s=left_s, error=self._failure or "too slow")
        if self.lost_s:
            log.error("a part of the recording is silence", path=str(self.path), lost_s=round(self.lost_s, 3))

    def _leave_out(self) -> None:
        """The disk has not kept up for so long that the call's oldest part gives way."""
        behind_s = self._now_s - BEHIND_S
        before_s = self._tape.position_s
        self._tape.take(behind_s)
        self._waiting.append(_Piece(round((behind_s - before_s) * SAMPLES_PER_S)))
        self.lost_s += behind_s - before_s

    async def _write(self, until_s: float) -> None:
        if until_s > self._tape.position_s:
            left, right = self._tape.take(until_s)
            self._waiting.append(_Piece(len(left), left, right))
            self._shed()
        if self._waiting:
            try:
                written, failure = await in_thread(self._append, tuple(self._waiting), limiter=self.writers)
            except OSError as error:  # there is no thread
                written, failure = 0, error.strerror or str(error)
            for _ in range(written):
                self._waiting.popleft()
            if failure != self._failure:
                log.warning("writing the recording", path=str(self.path), error=failure or "none any more")
            self._failure = failure

    def _shed(self) -> None:
        """Keep no more than the bound: the oldest audio gives way to silence."""
        held = sum(len(piece.left) for piece in self._waiting)
        for index, piece in enumerate(self._waiting):
            if held <= LONGEST_WAIT_S * SAMPLES_PER_S:
                return
            if piece.left:
                held -= piece.samples
                self.lost_s += piece.samples / SAMPLES_PER_S
                self._waiting[index] = _Piece(piece.samples)

    # --- in the thread

    def _append(self, pieces: tuple[_Piece, ...]) -> tuple[int, str]:
        """Write pieces; returns how many pieces were written, and what went wrong."""
        written = 0
        try:
            for piece in pieces:
                if piece.left:
                    self._file.append(piece.left, piece.right)
                else:
                    self._file.append_silence(piece.samples)
                written += 1
        except OSError as error:
            return written, error.strerror or str(error)
        return written, ""

    def _close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            self._failure = error.strerror or str(error)


@asynccontextmanager
async def recording(path: Path, writers: trio.CapacityLimiter | None = None) -> AsyncIterator[Recorder]:
    """Record for the length of a block; all is on disk when the block is left, if the disk takes it."""
    recorder = Recorder(path, writers or recording_writers())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        try:
            yield recorder
        finally:
            recorder.end()
