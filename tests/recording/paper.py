"""A tape, and what becomes of it in a file that is only in memory."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from trio_voice.recording.tape import HEARD, SAID, Blank, Change, Put, Tape

SILENCE = b"\xff"


@define(eq=False)
class Paper:
    """Carries out the changes of a tape. What is settled is read off, and must stay as it was."""

    tape: Tape = field(factory=Tape)
    sides: tuple[bytearray, bytearray] = field(factory=lambda: (bytearray(), bytearray()), init=False)
    moved: int = field(default=0, init=False)
    """How often something was moved that lay in the file."""
    _read: tuple[bytes, bytes] = field(default=(b"", b""), init=False)

    def take(self, until_s: float) -> tuple[bytes, bytes]:
        """Settle the tape up to a moment; returns what is new of both sides."""
        before = self.tape.position
        self._carry_out(self.tape.take(until_s))
        settled = (self.at(SAID, 0, self.tape.position), self.at(HEARD, 0, self.tape.position))
        for side in (SAID, HEARD):
            assert settled[side][:before] == self._read[side]
        self._read = settled
        return settled[SAID][before:], settled[HEARD][before:]

    def give(self) -> None:
        """Have the tape give away what it has, and settle nothing."""
        self._carry_out(self.tape.take(0.0))

    def at(self, side: int, begin: int, end: int) -> bytes:
        """What is there."""
        return bytes(self.sides[side][begin:end]).ljust(end - begin, SILENCE)

    def _carry_out(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, Put):
                self._write(change.side, change.at, change.audio)
            else:
                audio = self.at(change.side, change.at, change.at + change.samples)
                self._write(change.side, change.at, SILENCE * change.samples)
                if not isinstance(change, Blank):
                    self._write(change.side, change.to, audio)
                    self.moved += 1

    def _write(self, number: int, at: int, audio: bytes) -> None:
        side = self.sides[number]
        side.extend(SILENCE * (at + len(audio) - len(side)))
        side[at : at + len(audio)] = audio
