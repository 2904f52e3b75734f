"""The background jobs of a call: only that they run, so that a call which waits for one is not taken as idle."""

from __future__ import annotations

from attrs import define, field

from trio_voice.core.deadlines import Deadlines, Timer

LATE_S = 1.0
"""A job's end is reported by the shell; so much later than its limit it is taken as over."""


@define
class Jobs:
    """The jobs that have not ended, with the moments at which they are taken as over."""

    deadlines: Deadlines
    _due_at: dict[int, float] = field(factory=dict, init=False)

    @property
    def running(self) -> bool:
        """At least one job has not ended."""
        return bool(self._due_at)

    def started(self, job: int, limit_s: float, now: float) -> None:
        """A job runs."""
        self._due_at[job] = now + limit_s + LATE_S
        self._arm()

    def ended(self, job: int) -> bool:
        """A job is over; False when it was not known to run."""
        known = self._due_at.pop(job, None) is not None
        self._arm()
        return known

    def give_up(self, now: float) -> None:
        """Jobs whose end should have been reported are over."""
        self._due_at = {job: due_at for job, due_at in self._due_at.items() if due_at > now}
        self._arm()

    def _arm(self) -> None:
        if self._due_at:
            self.deadlines.set(Timer.JOB, min(self._due_at.values()))
        else:
            self.deadlines.cancel(Timer.JOB)
