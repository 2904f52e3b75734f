"""Both sides of a call on one time axis, as the caller's telephone had them. Pure: what happened in, changes of a file out.

The axis counts samples (bytes of mu-law) from the call's begin. Behind the call by a second the tape is *settled*, and nothing
changes there any more. Until then what was placed can still be moved, or cut. What has its place is given away all the same, also
what is yet to be heard: it waits in the file and not here, and is moved and cut there.

*The caller's side* comes in frames, in real time, one after the other. A frame that comes late by more than a little begins after
a gap. If the frames that follow come faster than real time, it was the network that stood still, and not the telephone: the gap
is closed from behind by as much. Where the gap is settled already, the caller's side runs ahead, until it is silent.

*The agent's side* comes faster than it is heard. What comes while nothing plays begins a *run* at that moment; what follows is
heard in its turn. The carrier's echoes of our marks tell when it really was: with the first one the run is moved to there, so
that both sides lie as they were at the telephone, and later only when it is far off. A clear cuts what was not heard.
"""

from __future__ import annotations

from attrs import define, field, frozen

from trio_voice.audio.g711 import pcm16_to_ulaw

SAMPLES_PER_S = 8000
SAID, HEARD = 0, 1
"""The sides: what the caller said, and what the caller heard of the agent."""
LATE_S = 0.1
"""A frame that comes later than this after the last one begins after a gap."""
CATCH_UP_S = 0.2
"""A caller's side that is farther ahead of the clock leaves out frames in which nobody speaks."""
FARTHEST_AHEAD_S = 5.0
MOVED_S = 0.2
"""Audio that has its place is moved only when it is off by more than this."""
MOST_MARKS = 10_000
_QUIET = b"".join(pcm16_to_ulaw(level.to_bytes(2, "little", signed=True)) for level in range(-160, 161, 4))
"""The codes of mu-law in which nobody speaks: below -46 dBFS."""


@frozen
class Put:
    """Audio in mu-law has its place on a side."""

    side: int
    at: int
    audio: bytes


@frozen
class Blank:
    """There is to be silence."""

    side: int
    at: int
    samples: int


@frozen
class Move:
    """What is at one place goes to another, and leaves silence; the two may overlap."""

    side: int
    at: int
    to: int
    samples: int


Change = Put | Blank | Move
"""Of a tape in a file. They are carried out in their order; where nothing was ever put is silence."""


@define(eq=False)
class _Stretch:
    """Audio that is heard without a gap. What was given away of it is not kept."""

    start: int
    length: int = 0
    given: int = 0
    """How many of the first samples were given away."""
    settled: int = 0
    """How many of these cannot be moved any more. If the others were moved away from them, `start` is as if these were, too."""
    dated: bool = False
    """The carrier has said when it was heard."""
    _pieces: list[bytes] = field(factory=list, init=False)

    @property
    def head(self) -> int:
        """Where the first sample is that is not settled."""
        return self.start + self.settled

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def held(self) -> int:
        """How many samples were not given away."""
        return self.length - self.given

    @property
    def has_its_place(self) -> bool:
        """It is moved only when it is far off."""
        return self.dated or self.settled > 0

    def add(self, audio: bytes) -> None:
        """Have more of it."""
        self._pieces.append(audio)
        self.length += len(audio)

    def give(self) -> bytes:
        """Give away what is held."""
        audio, self._pieces, self.given = b"".join(self._pieces), [], self.length
        return audio

    def settle(self, until: int) -> None:
        """What is before this place stays there."""
        self.settled = max(self.settled, min(self.length, until - self.start))

    def cut(self, length: int) -> int:
        """Forget what is behind the first samples; returns how much of that was given away."""
        while self.length > max(length, self.given):
            last = self._pieces.pop()
            self.length -= len(last)
            if self.length < length:
                self.add(last[: length - self.length])
        gone, self.given = max(0, self.given - length), min(self.given, length)
        self.length -= gone
        return gone


@define(eq=False)
class _Side:
    """One side: stretches in order, which do not overlap."""

    number: int
    stretches: list[_Stretch] = field(factory=list)
    position: int = 0
    """So far it is settled."""
    _changes: list[Change] = field(factory=list, init=False)
    """Of what was given away."""

    @property
    def end(self) -> int:
        return self.stretches[-1].end if self.stretches else self.position

    @property
    def held(self) -> int:
        return sum(stretch.held for stretch in self.stretches)

    def take(self, until: int) -> list[Change]:
        """Settle what is before `until`, and give away what has its place."""
        changes, self._changes = self._changes, []
        for stretch in self.stretches:
            stretch.settle(until)
            if stretch.held and stretch.has_its_place:
                changes.append(Put(self.number, stretch.start + stretch.given, stretch.give()))
        while len(self.stretches) > 1 and self.stretches[0].settled == self.stretches[0].length:
            self.stretches.pop(0)
        self.position = until
        return changes

    def move(self, index: int, start: int) -> None:
        """Have a stretch begin later, and with it those that it runs into."""
        stretch = self.stretches[index]
        end = start + stretch.length
        if index + 1 < len(self.stretches) and self.stretches[index + 1].start < end:
            self.move(index + 1, end)  # first: what was given away of it may lie where this one goes
        given = stretch.given - stretch.settled
        if given > 0:
            self._changes.append(Move(self.number, stretch.head, start + stretch.settled, given))
        stretch.start = start

    def move_back(self, by: int) -> int:
        """Have the last stretch begin earlier, as far as nothing is there and it is not settled; returns how much earlier."""
        last = self.stretches[-1]
        before = self.stretches[-2].end if len(self.stretches) > 1 else 0
        moved = 0 if last.settled else max(0, min(by, last.start - max(before, self.position)))
        last.start -= moved
        return moved

    def cut(self, at: int) -> None:
        """Forget what is behind this place, and not settled."""
        for stretch in self.stretches:
            length = max(stretch.settled, min(stretch.length, at - stretch.start))
            gone = stretch.cut(length)
            if gone:
                self._changes.append(Blank(self.number, stretch.end, gone))
        while self.stretches and self.stretches[-1].settled == self.stretches[-1].length:
            self.stretches.pop()


@define
class Tape:
    """The recording of one call. All moments are seconds since the call's begin, and never go back."""

    _said: _Side = field(factory=lambda: _Side(SAID), init=False)
    _heard: _Side = field(factory=lambda: _Side(HEARD), init=False)
    _marks: dict[str, tuple[_Stretch, int]] = field(factory=dict, init=False)
    """Where our marks are: a run, and how far in it."""

    @property
    def position(self) -> int:
        """How many samples of each side are settled."""
        return self._said.position

    @property
    def position_s(self) -> float:
        """The same, in seconds."""
        return self.position / SAMPLES_PER_S

    @property
    def held(self) -> int:
        """How many samples were not given away, of both sides."""
        return self._said.held + self._heard.held

    def take(self, until_s: float) -> list[Change]:
        """Settle all up to a moment; returns what has its place of both sides, and what became of what was given before."""
        until = max(round(until_s * SAMPLES_PER_S), self.position)
        return self._said.take(until) + self._heard.take(until)

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
            self._marks[name] = (run, run.length)

    def mark_echoed(self, name: str, now_s: float) -> None:
        """What is before this mark was heard by now, and not earlier."""
        run, place = self._marks.pop(name, (None, 0))
        runs = self._heard.stretches
        if run is None or run not in runs:
            return
        late = round(now_s * SAMPLES_PER_S) - (run.start + place)
        if late > (MOVED_S * SAMPLES_PER_S if run.has_its_place else 0):
            self._heard.move(runs.index(run), run.start + late)
        run.dated = True

    def cleared(self, now_s: float) -> None:
        """The carrier was told to forget what was not heard."""
        self._marks.clear()
        self._heard.cut(round(now_s * SAMPLES_PER_S))
