"""The people who call in the bench, and the diary in which is kept what became of them."""

from __future__ import annotations

from enum import Enum

import numpy as np
from attrs import define, field, frozen

from bench.barge_in_lines import FRAME_S, FRAME_SAMPLES, Samples
from bench.barge_in_voices import GREETING_S, Sound, Voices

LISTENS_S = 1.0
"""A caller speaks when the agent has been silent for so long."""
FIRST_PATIENCE_S = GREETING_S + 4.0
"""The greeting, which nothing interrupts, and a little more."""
LEAVES_S = 0.6
"""An interruption is over so long before the agent would have finished."""
LATEST_S = 0.3
"""What the call does so long after the end of a sound may still be the sound's doing."""


class Conduct(Enum):
    """What a caller does while the agent speaks."""

    LISTENS = "listens"
    INTERRUPTS = "interrupts"
    COUGHS = "coughs"


@define
class Stop:
    """The agent was silenced at `at_s`; `resumed_at_s`: it went on, because what was heard was too short to be words."""

    at_s: float
    resumed_at_s: float | None = None


@frozen
class Uttered:
    """A sound of the caller's: from when to when it was heard, and whether the agent was speaking when it began."""

    conduct: Conduct
    begin_s: float
    end_s: float


@define
class Turn:
    """What the model's detector took for a turn; `dropped`: the call had it deleted instead of answered."""

    item_id: str
    begin_s: float
    end_s: float
    dropped: bool = False


@define
class Diary:
    """What happened in a call."""

    agent_s: float = 0.0
    """How long the agent was heard."""
    end_s: float = 0.0
    """When the call ended."""
    stops: list[Stop] = field(factory=list)
    uttered: list[Uttered] = field(factory=list)
    turns: list[Turn] = field(factory=list)

    def sounds(self, conduct: Conduct) -> list[Uttered]:
        """The caller's sounds of a kind whose outcome is known; those at the call's very end are left out."""
        return [uttered for uttered in self.uttered if uttered.conduct is conduct and uttered.end_s < self.end_s - LATEST_S]

    def stops_of(self, uttered: Uttered) -> list[Stop]:
        """What silenced the agent while a sound was heard, or shortly after."""
        return [stop for stop in self.stops if uttered.begin_s < stop.at_s <= uttered.end_s + LATEST_S]

    def false_turns(self) -> list[Turn]:
        """Turns that are to be answered, and in which the caller made no sound."""
        return [
            turn
            for turn in self.turns
            if not turn.dropped
            and not any(sound.begin_s < turn.end_s and turn.begin_s < sound.end_s + LATEST_S for sound in self.uttered)
        ]

    def false_stops(self) -> list[Stop]:
        """What silenced the agent although the caller was silent."""
        return [stop for stop in self.stops if not any(stop in self.stops_of(uttered) for uttered in self.uttered)]


@define(eq=False)
class Caller:
    """Somebody on the line: asks when the agent is silent, and while it speaks does what the conduct says."""

    conduct: Conduct
    voices: Voices
    patience_s: float
    """Of the agent's speech the caller hears so much before the next sound of its own."""
    gain_db: float
    source: np.random.Generator
    uttered: list[Uttered]
    _saying: Samples | None = field(default=None, init=False)
    _at: int = field(default=0, init=False)
    _agent_silent_s: float = field(default=0.0, init=False)
    _agent_heard_s: float = field(default=0.0, init=False)
    _next: Sound = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._next = self._choose()

    def frame(self, now: float, left_s: float) -> Samples:
        """20 ms of the caller's sound; `left_s` is how long the agent would still speak."""
        if self._saying is None:
            self._listen(now, left_s)
        if self._saying is None:
            return np.zeros(FRAME_SAMPLES)
        frame = self._saying[self._at : self._at + FRAME_SAMPLES]
        self._at += FRAME_SAMPLES
        if self._at >= len(self._saying):
            self._saying = None
        return frame

    def _listen(self, now: float, left_s: float) -> None:
        if left_s == 0.0:
            self._agent_silent_s += FRAME_S
            if self._agent_silent_s > LISTENS_S:
                self._say(Conduct.LISTENS, self._any(self.voices.utterances), now)
            return
        self._agent_silent_s = 0.0
        self._agent_heard_s += FRAME_S
        if self.conduct is Conduct.LISTENS or self._agent_heard_s < self.patience_s:
            return
        if left_s > self._next.frames * FRAME_S + LEAVES_S:
            self._say(self.conduct, self._next, now)
            self._next = self._choose()
            self.patience_s = self.source.uniform(2.0, 5.0)

    def _say(self, conduct: Conduct, sound: Sound, now: float) -> None:
        begin_s = now - FRAME_S  # the frame that arrives now was spoken in the 20 ms before
        self.uttered.append(Uttered(conduct, begin_s + sound.onset_ms / 1000, begin_s + sound.end_ms / 1000))
        self._saying, self._at = sound.samples * 10 ** (self.gain_db / 20), 0
        self._agent_heard_s = self._agent_silent_s = 0.0

    def _choose(self) -> Sound:
        return self._any(self.voices.coughs if self.conduct is Conduct.COUGHS else self.voices.utterances)

    def _any(self, sounds: list[Sound]) -> Sound:
        return sounds[int(self.source.integers(len(sounds)))]
