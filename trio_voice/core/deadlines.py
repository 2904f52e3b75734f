"""Named deadlines: the only clock that the core has.

A deadline is a name and a moment. There is at most one per name; setting it again moves it. The shell asks for `next_at` after
every input and comes back when that moment has passed.
"""

from __future__ import annotations

import math
from enum import Enum

from attrs import define, field


class Timer(Enum):
    """What a deadline is for; the journal uses the same words."""

    __hash__ = object.__hash__  # a member is itself and nothing else; Enum's own hash, in Python, is most of a look-up's cost

    CALIBRATION = "calibration"
    BARGE_IN_CONFIRM = "barge_in_confirm"
    TURN_END = "turn_end"
    COMMIT = "commit"
    SPEECH_LIMIT = "speech_limit"
    WATCHDOG = "watchdog"
    CREATED = "created"
    FIRST_AUDIO = "first_audio"
    AUDIO_GAP = "audio_gap"
    DONE = "done"
    BLOCKED = "blocked"
    RETRY = "retry"
    MARK = "mark"
    PLAYBACK_END = "playback_end"
    TOOL = "tool"
    JOB = "job"
    DIGITS = "digits"
    INJECTED_TEXT = "injected_text"
    IDLE = "idle"
    HANG_UP_FALLBACK = "hang_up_fallback"
    HANG_UP = "hang_up"
    LONGEST_CALL_NOTICE = "longest_call_notice"
    LONGEST_CALL = "longest_call"
    MEDIA = "media"
    SESSION_READY = "session_ready"
    RECONNECT = "reconnect"
    SESSION_AGE = "session_age"
    CHANGE = "change"
    WORDS = "words"
    COMFORT = "comfort"


_TO_BE_FOUND = -math.inf


@define
class Deadlines:
    """The armed deadlines of one call, in seconds on the call's clock."""

    _at: dict[Timer, float] = field(factory=dict, init=False)
    _next: float | None = field(default=None, init=False)

    @property
    def next_at(self) -> float | None:
        """The earliest deadline; None when nothing is armed."""
        if self._next == _TO_BE_FOUND:  # an event moves several deadlines; the earliest is looked for once
            self._next = min(self._at.values(), default=None)
        return self._next

    @property
    def next_timer(self) -> Timer | None:
        """The name of the earliest deadline; ties go in the order of arming."""
        return min(self._at, key=self._at.__getitem__) if self._at else None

    def set(self, timer: Timer, at: float) -> None:
        """Arm a deadline, or move it."""
        self._at[timer] = at
        self._next = _TO_BE_FOUND

    def cancel(self, *timers: Timer) -> None:
        """Disarm; nothing happens for those that are not armed."""
        for timer in timers:
            if self._at.pop(timer, None) is not None:
                self._next = _TO_BE_FOUND

    def keep_only(self, *timers: Timer) -> None:
        """Disarm all but these."""
        self.cancel(*[timer for timer in self._at if timer not in timers])

    def at(self, timer: Timer) -> float | None:
        """When a deadline is due; None when it is not armed."""
        return self._at.get(timer)

    def armed(self) -> frozenset[Timer]:
        """Return the names of all armed deadlines."""
        return frozenset(self._at)

    def pop_due(self, now: float) -> Timer | None:
        """Disarm and return the earliest deadline that is due at `now`."""
        if self.next_at is None or now < self.next_at:
            return None
        timer = self.next_timer
        assert timer is not None
        self.cancel(timer)
        return timer
