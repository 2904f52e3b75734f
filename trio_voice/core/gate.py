"""Is this speech a barge-in?

The model's voice detector says that somebody speaks. Whether that interrupts the agent is decided here, from what the line has
taught us: its noise floor (until that is known, nothing interrupts), the time of the last barge-in (a burst of reports is one
barge-in), whether the caller has spoken a turn of their own, how far the caller's level is above the floor, and whether it is
more than the agent's own echo.

Speech in which no sound was more than the echo could be is the echo's, and nobody's turn: the model's detector reports it all the
same, and an agent that answered it would talk to itself. The echo goes on for a moment when the agent has stopped.

A refusal for the level or the echo can pass: a caller who begins softly, or under the agent's echo, is looked at again with every
frame while the detector says that speech goes on.
"""

from __future__ import annotations

from attrs import define, field

from trio_voice.audio.floor import NoiseFloor
from trio_voice.core.commands import Refusal
from trio_voice.core.echo import AUDIBLE_DBFS, EchoGuard
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing
from trio_voice.core.states import TurnState

RECENT_FRAMES = 3
LOUDER_FRAMES = 2
"""Two of the last three measured frames; where every second frame is measured, they are 120 ms."""
TAIL_FRAMES = 15
"""So many measured frames after the agent was heard last its echo may still come: 300 to 600 ms."""
_SPEAKING = TurnState.SPEAKING  # with every measured frame: Python 3.11 takes 0.15 us to find a member
CAN_PASS = frozenset({Refusal.ECHO, Refusal.BELOW_LEVEL})


@define
class BargeInGate:
    """Decides about speech-started events; learns from every frame whose level was measured."""

    settings: CallSettings
    standing: Standing
    floor: NoiseFloor = field(factory=NoiseFloor, init=False)
    echo: EchoGuard = field(factory=EchoGuard, init=False)
    denied: Refusal | None = field(default=None, init=False)
    caller_has_spoken: bool = field(default=False, init=False)
    _recent: list[float] = field(factory=list, init=False)
    _louder: list[bool] = field(factory=list, init=False)
    _unexplained: list[bool] = field(factory=list, init=False)
    _agent_dbfs: float = field(default=float("-inf"), init=False)
    _tail_frames: int = field(default=0, init=False)
    _echo_frames: int = field(default=0, init=False)
    _caller_heard: bool = field(default=False, init=False)
    _cooldown_until: float = field(default=float("-inf"), init=False)

    def hear(self, level_dbfs: float, agent_dbfs: float | None) -> None:
        """Take the level of one caller's frame in, with what the agent was heard to say meanwhile."""
        self.floor.add(level_dbfs)
        floor_dbfs = self.floor.dbfs
        if agent_dbfs is not None:
            self._agent_dbfs, self._tail_frames = agent_dbfs, TAIL_FRAMES
        elif self._tail_frames:
            self._tail_frames -= 1
        else:
            self._agent_dbfs = float("-inf")
        self._echo_frames += self._agent_dbfs >= AUDIBLE_DBFS
        is_unexplained = self.echo.is_louder_than_echo(level_dbfs, self._agent_dbfs, floor_dbfs)
        self._recent.append(level_dbfs)
        self._louder.append(agent_dbfs is None or is_unexplained)
        self._unexplained.append(is_unexplained)
        self._caller_heard = self._caller_heard or sum(self._unexplained) >= LOUDER_FRAMES
        if len(self._recent) > RECENT_FRAMES:
            del self._recent[0], self._louder[0], self._unexplained[0]
        if agent_dbfs is not None and (self.denied is not None or self.standing.turn is not _SPEAKING):
            self.echo.learn(level_dbfs, agent_dbfs, floor_dbfs)
        if not self.standing.calibrated and self.floor.usable_frames >= self.settings.calibration_min_frames:
            self.standing.calibrated = True

    def speech_began(self) -> None:
        """Speech is reported: from here on it is judged whose it is. What made the detector report it is in the recent frames."""
        self._caller_heard = sum(self._unexplained) >= LOUDER_FRAMES
        self._echo_frames = 0

    @property
    def speech_was_echo(self) -> bool:
        """Whether the agent's echo explains all that was heard since speech began."""
        return self.settings.echo_guard and not self._caller_heard and self._echo_frames >= RECENT_FRAMES

    def refusal(self, now: float) -> Refusal | None:
        """Why speech that is reported now does not interrupt the agent; None if it does."""
        settings = self.settings
        if not self.standing.calibrated:
            return Refusal.NOT_CALIBRATED
        if now < self._cooldown_until:
            return Refusal.COOLDOWN
        if settings.require_user_has_spoken and not self.caller_has_spoken:
            return Refusal.NOT_SPOKEN_YET
        wanted_db = settings.barge_in_min_level_db
        if wanted_db is not None and self._recent and max(self._recent) < self.floor.dbfs + wanted_db:
            return Refusal.BELOW_LEVEL
        if settings.echo_guard and self._louder and sum(self._louder) < min(LOUDER_FRAMES, len(self._louder)):
            return Refusal.ECHO
        return None

    def acted(self, now: float) -> None:
        """A barge-in cut the agent off."""
        self._cooldown_until = now + self.settings.cancel_cooldown_s
