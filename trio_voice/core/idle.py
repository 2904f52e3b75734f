"""How long nobody has said anything.

Idle time runs only while nothing is going on: nobody speaks, playback has drained, no reply is owed or on its way, no tool or
job runs. When something begins it is paused, not reset: a line whose noise is reported as speech every few seconds still becomes
idle. It is reset by a turn of the caller's that was answered, by pressed keys, and by the agent's own prompt.
"""

from __future__ import annotations

from attrs import define, field

from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.settings import CallSettings


@define
class IdleClock:
    """A stopwatch over the quiet stretches of a call; it owns the deadline IDLE."""

    settings: CallSettings
    deadlines: Deadlines
    prompts: int = field(default=0, init=False)
    _left_s: float = field(init=False)
    _since: float | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._left_s = self.settings.idle_s

    def observe(self, quiet: bool, now: float) -> None:
        """Tell whether anything is going on at this moment."""
        if not self.settings.idle_s or quiet == (self._since is not None):
            return
        if quiet:
            self._since = now
            self.deadlines.set(Timer.IDLE, now + self._left_s)
        else:
            assert self._since is not None
            self._left_s = max(0.0, self._left_s - (now - self._since))
            self._since = None
            self.deadlines.cancel(Timer.IDLE)

    def reset(self, *, prompts: bool) -> None:
        """Count from the beginning again; with `prompts`, forget the prompts that were given too."""
        self._left_s = self.settings.idle_s
        self._since = None
        self.deadlines.cancel(Timer.IDLE)
        if prompts:
            self.prompts = 0
