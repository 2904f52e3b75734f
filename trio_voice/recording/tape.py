"""Both sides of a call on one time axis, as the caller's telephone had them. Pure: what happened in, samples out.

The axis counts samples (bytes of mu-law) from the call's begin. It is read off from its front, behind the call by a second: until
then what was placed can still be moved, or cut.

*The caller's side* comes in frames, in real time, one after the other. A frame that comes late by more than a little begins after
a gap. If the frames that follow come faster than real time, it was the network that stood still, and not the telephone: the gap
is closed from behind by as much. Where the gap was read off already, the caller's side runs ahead, until it is silent.

*The agent's side* comes faster than it is heard. What comes while nothing plays begins a *run* at that moment; what follows is
heard in its turn. The carrier's echoes of our marks tell when it really was: the run is moved to there, so that both sides lie as
they were at the telephone. A clear cuts what was not heard.
"""

from __future__ import annotations

from attrs import define, field

from trio_voice.audio.g711 import ULAW_SILENCE, pcm16_to_ulaw

SAMPLES_PER_S = 8000
LATE_S = 0.1
"""A frame that comes later than this after the last one begins after a gap."""
CATCH_UP_S = 0.2
"""A caller's side that is farther ahead of the clock leaves out frames in which nobody speaks."""
FARTHEST_AHEAD_S = 5.0
MOVED_S = 0.2
"""Audio in the middle of which the file stands is moved only when it is off by more than this."""
MOST_MARKS = 10_000
_QUIET = b"".join(pcm16_to_ulaw(level.to_bytes(2, "little", signed=True)) for level in range(-160, 161, 4))
"""The codes of mu-law in which nobody speaks: below -46 dBFS."""
_SILENCE = bytes([ULAW_SILENCE])


@define(eq=False)
class _Stretch:
    """Audio that is heard without a gap. The first `taken` samples were read off, and are not kept.

    It is kept in the pieces in which it came: one buffer that grows at its end and is read off at its front takes twice what is
    in it, and leaves holes that fit nothing else.
    """

    start: int
    taken: int = 0
    length: int = 0
    """Of what is kept."""
    _pieces: list[bytes] = field(factory=list, init=False)

    @property
    def head(self) -> int:
        """Where the first sample is that was not read off."""
        return self.start + self.taken

    @property
    def end(self) -> int:
        return self.head + self.length

    def add(self, audio: bytes) -> None:
        """Have more of it."""
        self._pieces.append(audio)
        self.length += len(audio)

    def take(self, most: int) -> bytes:
        """Read off the first samples."""
        count, size = 0, 0
        while count < len(self._pieces) and size + len(self._pieces[count]) <= most:
            size += len(self._pieces[count])
            count += 1
        parts = self._pieces[:count]
        del self._pieces[:count]
        if size < most and self._pieces:
            parts.append(self._pieces[0][: most - size])
            self._pieces[0] = self._pieces[0][most - size :]
            size = most
        self.taken += size
        self.length -= size
        return b"".join(parts)

    def keep(self, most: int) -> None:
        """Forget what is behind the first samples."""
        while self.length > most:
            last = self._pieces.pop()
            self.length -= len(last)
            if self.length < most:
                self.add(last[: most - self.length])


@define(eq=False)
class _Side:
    """One side: stretches in order, which do not overlap."""

    stretches: list[_Stretch] = field(factory=list)
    position: int = 0
    """So far it was read off."""

    @property
    def end(self) -> int:
        return self.stretches[-1].end if self.stretches else self.position

    @property
    def held(self) -> int:
        return sum(stretch.length for stretch in self.stretches)

    def take(self, until: int) -> bytes:
        """Read off what is before `until`, silence where nothing is."""
        parts = []
        for stretch in self.stretches:
            if stretch.head >= until:
                break
            if stretch.length:
                parts.append(_SILENCE * (stretch.head - self.position))
                parts.append(stretch.take(until - stretch.head))
                self.position = stretch.head
        while len(self.stretches) > 1 and not self.stretches[0].length:
            self.stretches.pop(0)
        parts.append(_SILENCE * (until - self.position))
        self.position = until
        return b"".join(parts)

    def move(self, index: int, start: int) -> None:
        """Have a stretch begin later, and with it those that it runs into."""
        stretch = self.stretches[index]
        stretch.start = start
        if index + 1 < len(self.stretches) and self.stretches[index + 1].start < stretch.end:
            self.move(index + 1, stretch.end)

    def move_back(self, by: int) -> int:
        """Have the last stretch begin earlier, as far as nothing is there and it was not read off; returns how much earlier."""
        last = self.stretches[-1]
        before = self.stretches[-2].end if len(self.stretches) > 1 else 0
        moved = 0 if last.taken else max(0, min(by, last.start - max(before, self.position)))
        last.start -= moved
        return moved


@define
class Tape:
    """The recording of one call. All moments are seconds since the call's begin, and never go back."""

    _said: _Side = field(factory=_Side, init=False)
    _heard: _Side = field(factory=_Side, init=False)
    _marks: dict[str, tuple[_Stretch, int]] = field(factory=dict, init=False)
    """Where our marks are: a run, and how far in it."""

    @property
    def position_s(self) -> float:
        """So far the tape was read off."""
        return self._said.position / SAMPLES_PER_S

    @property
    def held(self) -> int:
        """How many samples wait to be read off, of both sides."""
        return self._said.held + self._heard.held

    def take(self, until_s: float) -> tuple[bytes, bytes]:
        """Read off both sides up to a moment: what the caller said and heard, as long as each other."""
        until = max(round(until_s * SAMPLES_PER_S), self._said.position)
        return self._said.take(until), self._heard.take(until)

    def said(self, audio: bytes, now_s: float) -> None:
        """A frame of the caller's voice came."""
        side, now = self._said, round(now_s * SAMPLES_PER_S)
        start = max(now - len(audio), side.position)
        if not side.stretches or side.end < side.position or start - side.end > LATE_S * SAMPLES_PER_S:
            side.stretches.append(_Stretch(start))
        ahead = side.end + len(audio) - now
        if ahead > 0:
            ahead -= side.move_back(ahead)
        is_quiet = ahead > CATCH_UP_S * SAMPLES_PER_S and not audio.translate(None, _QUIET)
        if not is_quiet and ahead <= FARTHEST_AHEAD_S * SAMPLES_PER_S:
            side.stretches[-1].add(audio)

    def played(self, audio: bytes, now_s: float) -> None:
        """Audio left for the caller."""
        side, now = self._heard, round(now_s * SAMPLES_PER_S)
        if not side.stretches or side.end < now:
            side.stretches.append(_Stretch(max(now, side.position)))
        side.stretches[-1].add(audio)

    def mark_sent(self, name: str) -> None:
        """A mark stands behind what was played last."""
        if self._heard.stretches and len(self._marks) < MOST_MARKS:
            run = self._heard.stretches[-1]
            self._marks[name] = (run, run.taken + run.length)

    def mark_echoed(self, name: str, now_s: float) -> None:
        """What is before this mark was heard by now, and not earlier."""
        run, place = self._marks.pop(name, (None, 0))
        runs = self._heard.stretches
        if run is None or run not in runs:
            return
        late = round(now_s * SAMPLES_PER_S) - (run.start + place)
        if late > (MOVED_S * SAMPLES_PER_S if run.taken else 0):
            self._heard.move(runs.index(run), run.start + late)

    def cleared(self, now_s: float) -> None:
        """The carrier was told to forget what was not heard."""
        now, runs = round(now_s * SAMPLES_PER_S), self._heard.stretches
        self._marks.clear()
        for run in runs:
            run.keep(max(0, now - run.head))
        while runs and not runs[-1].length:
            runs.pop()
