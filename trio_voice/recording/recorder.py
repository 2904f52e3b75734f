"""Records one call: what happens is put on a tape, and read off it into a file in the background, a little later.

What waits is bounded. Samples that cannot be written are kept and tried again; when the bound is reached they are left out, and
silence stands in their place, so that what follows is where it belongs. The call goes on in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
import trio
from attrs import define, field, frozen

from trio_voice.core.commands import ClearPlayback, Command, PlayAudio, SendMark
from trio_voice.core.events import CallerAudio, Event, PlaybackMarked
from trio_voice.recording.tape import SAMPLES_PER_S, Tape
from trio_voice.recording.wav_file import WavFile
from trio_voice.storage.writing import Writing

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 1.0
BEHIND_S = 1.0
"""So far the file is behind the call: what is placed can still be moved, or cut."""
LONGEST_WAIT_S = 60.0
"""So much of a call waits for the disk at most, in seconds: 1 MB."""


@frozen
class _Piece:
    """Samples on their way to the file; without audio: so much silence."""

    samples: int
    left: bytes = b""
    right: bytes = b""


@define(eq=False)
class Recorder:
    """The recording of one call, in a block: all is on disk when it is left, if the disk takes it.

    `on_event` and `on_command` are plain functions and never wait.
    """

    path: Path
    writing: Writing
    lost_s: float = field(default=0.0, init=False)
    """So much of the call was left out."""
    _tape: Tape = field(factory=Tape, init=False)
    _now_s: float = field(default=0.0, init=False)
    _waiting: list[_Piece] = field(factory=list, init=False)
    _leaving: list[_Piece] = field(factory=list, init=False)
    """Those of them that are being written."""
    _written: int = field(default=0, init=False)
    """How many of these were."""
    _file: WavFile = field(init=False)
    _failure: str = field(default="", init=False)
    _is_over: bool = field(default=False, init=False)

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

    async def __aenter__(self) -> Self:
        """Begin to write, once a second."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.writing.begin(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write what waits, within a bound, and close the file."""
        self._is_over = True
        in_time = await self.writing.finish(self)
        if not in_time or self._waiting:
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

    # --- writing

    def prepare(self) -> bool:
        """Lay out all that waits, with what cannot be moved any more of the tape."""
        until_s = self._now_s if self._is_over else self._now_s - BEHIND_S
        if until_s > self._tape.position_s:
            left, right = self._tape.take(until_s)
            self._waiting.append(_Piece(len(left), left, right))
            self._shed()
        self._leaving, self._written = self._waiting.copy(), 0
        return bool(self._leaving)

    def write(self, *, last: bool) -> str:
        """Write it in a thread, as far as that goes."""
        failure = _failure_of(self._write_pieces)
        at_its_close = _failure_of(self._file.close) if last else ""
        return failure or at_its_close

    def _write_pieces(self) -> None:
        for piece in self._leaving:
            if piece.left:
                self._file.append(piece.left, piece.right)
            else:
                self._file.append_silence(piece.samples)
            self._written += 1

    def settle(self, failure: str) -> None:
        """What could not be written waits on."""
        del self._waiting[: self._written]
        self._leaving = []
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


def _failure_of(work: Callable[[], None]) -> str:
    try:
        work()
    except OSError as error:
        return error.strerror or str(error)
    return ""
