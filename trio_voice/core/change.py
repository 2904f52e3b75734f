"""The change of a session that is on its way: which setup, what it is for, and how far it is. The theory is in `states`."""

from __future__ import annotations

from attrs import define, field

from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.events import ChangeAsked
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing
from trio_voice.core.states import CHANGE_TABLE, ChangeSignal, ChangeState
from trio_voice.errors import LocalProtocolError


@define
class SessionChange:
    """At most one change at a time. Its state lives in `standing.change`; `asked` is what is being made of it."""

    settings: CallSettings
    standing: Standing
    deadlines: Deadlines
    asked: ChangeAsked | None = field(default=None, init=False)

    @property
    def pending(self) -> bool:
        """A change is on its way."""
        return self.standing.change is not ChangeState.SETTLED

    def ask(self, event: ChangeAsked, signal: ChangeSignal) -> None:
        """A change begins; `signal` says by which way."""
        self.signal(signal)
        self.asked = event

    def wait(self, now: float) -> None:
        """Something is awaited of the model: not for ever."""
        self.deadlines.set(Timer.CHANGE, now + self.settings.change_limit_s)

    def signal(self, signal: ChangeSignal) -> None:
        """Move on. Raises LocalProtocolError for what cannot be."""
        cell = CHANGE_TABLE[signal][self.standing.change]
        if not isinstance(cell, ChangeState):
            raise LocalProtocolError(f"{signal.value!r} is not possible while the change is {self.standing.change.value}")
        self.standing.change = cell

    def over(self, signal: ChangeSignal) -> ChangeAsked:
        """The change was made, or has failed; returns what had been asked for."""
        self.signal(signal)
        self.deadlines.cancel(Timer.CHANGE)
        asked, self.asked = self.asked, None
        assert asked is not None
        return asked
