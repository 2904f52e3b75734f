"""Records one call: what happens is put on a tape, and from there into a file in the background, a little later.

What the agent says goes into the file long before it is heard: it would be most of what waits in memory. The file counts it when
it was heard, and what a clear cuts is overwritten with silence.

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
from attrs import define, evolve, field

from trio_voice.core.commands import ClearPlayback, Command, PlayAudio, SendMark
from trio_voice.core.events import CallerAudio, Event, PlaybackMarked
from trio_voice.recording.tape import HEARD, SAID, SAMPLES_PER_S, Blank, Change, Move, Put, Tape
from trio_voice.recording.wav_file import WavFile
from trio_voice.storage.writing import Writing

log = structlog.get_logger(__name__)

WRITE_EVERY_S = 0.5
BEHIND_S = 1.0
"""So far what the file counts is behind the call: what is placed later can still be moved, or cut."""
LONGEST_WAIT_S = 60.0
"""So much of each side of a call waits for the disk at most, in seconds: 1 MB."""


@define(eq=False)
class Recorder:
    """The recording of one call, in a block: all is on disk when it is left, if the disk takes it.

    `on_event` and `on_command` are plain functions and never wait.
    """

    path: Path
    writing: Writing
    _lost: list[int] = field(factory=lambda: [0, 0], init=False)
    """How many samples of each side were left out."""
    _tape: Tape = field(factory=Tape, init=False)
    _now_s: float = field(default=0.0, init=False)
    _late: list[Change] = field(factory=list, init=False)
    """What was taken off the tape while a thread was writing for too long."""
    _changes: list[Change] = field(factory=list, init=False)
    """What is to be done with the file; while a thread is writing it is the thread's."""
    _done: int = field(default=0, init=False)
    """How many of them were."""
    _settled: int = field(default=0, init=False)
    """How many samples the file is to count when they all are."""
    _counted: int = field(default=0, init=False)
    """How many it counts."""
    _file: WavFile = field(init=False)
    _failure: str = field(default="", init=False)
    _is_over: bool = field(default=False, init=False)
    _is_given_up: bool = field(default=False, init=False)
    """The disk hung at the call's end: whoever is still writing then is the last."""

    def __attrs_post_init__(self) -> None:
        self._file = WavFile(self.path)

    @property
    def lost_s(self) -> float:
        """How much of the call was left out, in seconds."""
        return max(self._lost) / SAMPLES_PER_S

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
        """Begin to write, every WRITE_EVERY_S."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.writing.begin(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write what waits, within a bound, and close the file."""
        self._is_over = True
        self._is_given_up = not await self.writing.finish(self)
        left_s = round(self._now_s - self._counted / SAMPLES_PER_S, 3)
        if left_s > 0:
            log.error("the end of the recording is lost", path=str(self.path), lost_s=left_s, error=self._failure or "too slow")
        if self.lost_s:
            log.error("a part of the recording is silence", path=str(self.path), lost_s=round(self.lost_s, 3))

    def _leave_out(self) -> None:
        """The disk has not kept up for so long that the call's oldest part gives way."""
        before, behind_s = self._tape.position, self._now_s - BEHIND_S
        self._late += [change for each in self._tape.take(behind_s) for change in _without(each, self._tape.position)]
        for side in (SAID, HEARD):
            self._lost[side] += self._tape.position - before
        self._shed(self._late)

    # --- writing

    def prepare(self) -> bool:
        """Lay out all that waits; the file may count what cannot be moved any more."""
        late, self._late = self._late, []
        self._changes += late + self._tape.take(self._now_s if self._is_over else self._now_s - BEHIND_S)
        self._settled = self._tape.position
        return bool(self._changes) or self._counted < self._settled

    def write(self, *, last: bool) -> str:
        """Write it in a thread, as far as that goes."""
        failure = _failure_of(self._write_changes)
        at_its_close = _failure_of(self._file.close) if last or self._is_given_up else ""
        return failure or at_its_close

    def _write_changes(self) -> None:
        while self._done < len(self._changes):
            self._carry_out(self._changes[self._done])
        self._file.count(self._settled)
        self._counted = self._settled

    def _carry_out(self, change: Change) -> None:
        match change:
            case Put(side=side, at=at, audio=audio):
                self._file.put(side, at, audio)
                self._done += 1
            case Blank(side=side, at=at, samples=samples):
                self._file.blank(side, at, samples)
                self._done += 1
            case Move(side=side, at=at, to=to, samples=samples):  # read first: what is done by halves can be done again
                audio = self._file.read(side, at, samples)
                self._changes[self._done : self._done + 1] = [Blank(side, at, samples), Put(side, to, audio)]

    def settle(self, failure: str) -> None:
        """What could not be written waits on."""
        del self._changes[: self._done]
        self._done = 0
        if failure:
            self._shed(self._changes)
        if failure != self._failure:
            log.warning("writing the recording", path=str(self.path), error=failure or "none any more")
        self._failure = failure

    def _shed(self, changes: list[Change]) -> None:
        """Keep no more than the bound: the oldest audio is left out, and leaves silence."""
        for side in (SAID, HEARD):
            held = _held(changes, side)
            for change in list(changes):
                if held <= LONGEST_WAIT_S * SAMPLES_PER_S:
                    break
                if isinstance(change, Put) and change.side == side:
                    held -= len(change.audio)
                    self._lost[side] += len(change.audio)
                    changes.remove(change)


def _held(changes: list[Change], side: int) -> int:
    """How many samples of a side are among changes."""
    return sum(len(change.audio) for change in changes if isinstance(change, Put) and change.side == side)


def _without(change: Change, before: int) -> list[Change]:
    """A change without the audio before a place."""
    if not isinstance(change, Put) or change.at >= before:
        return [change]
    audio = change.audio[before - change.at :]
    return [evolve(change, at=before, audio=audio)] if audio else []


def _failure_of(work: Callable[[], None]) -> str:
    try:
        work()
    except OSError as error:
        return error.strerror or str(error)
    return ""
