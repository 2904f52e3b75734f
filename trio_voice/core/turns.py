"""The caller's turns: when one has ended, and that it is answered. The states are in `states`."""

from __future__ import annotations

from attrs import define, field

from trio_voice.core.commands import Refusal
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing
from trio_voice.core.states import TurnState

MOST_ITEMS = 32


@define
class CallerTurn:
    """The current turn. Its state lives in `standing.turn`; the methods move it and set the deadlines that lead out of it."""

    settings: CallSettings
    standing: Standing
    deadlines: Deadlines
    items: list[str] = field(factory=list, init=False)
    asked_again: int = field(default=0, init=False)
    is_new: bool = field(default=False, init=False)
    """The speech that goes on, or was last, began this turn; it did not resume one."""
    _nobodys: tuple[str, Refusal] | None = field(default=None, init=False)

    def speech_started(self, now: float) -> None:
        """The caller speaks; an utterance that had ended but was not answered yet goes on."""
        if self.standing.turn is not TurnState.SPEAKING:  # else the report is a duplicate
            self.is_new = self.standing.turn is TurnState.QUIET
        self._enter(TurnState.SPEAKING)
        self.deadlines.set(Timer.SPEECH_LIMIT, now + self.settings.speech_limit_s)

    def speech_stopped(self, now: float) -> bool:
        """The caller fell silent; False for a report that fits nothing."""
        if self.standing.turn is not TurnState.SPEAKING:
            return False
        self._enter(TurnState.ENDING)
        self.deadlines.set(Timer.TURN_END, now + self.settings.turn_end_s)
        return True

    def was_nobodys(self, item_id: str, why: Refusal) -> list[str]:
        """What was heard was not the caller's voice: the turn is dropped. Returns the items that were committed of it already."""
        committed = self.items
        self.dropped()
        self._nobodys = item_id, why
        return committed

    def why_nobodys(self, item_id: str) -> Refusal | None:
        """Why an item that is committed now is no turn of the caller's; None: it is one."""
        return self._nobodys[1] if self._nobodys is not None and self._nobodys[0] == item_id else None

    def committed(self, item_id: str) -> bool:
        """The model took the utterance into the conversation; True when a reply is to be asked for at once."""
        self.items = [*self.items, item_id][-MOST_ITEMS:]
        if self.standing.turn in (TurnState.SPEAKING, TurnState.ENDING):
            return False
        self._enter(TurnState.OWED)
        return True

    def ended(self, now: float) -> bool:
        """The turn-end deadline or the speech limit passed; True: ask for a reply now, False: the commit is awaited."""
        if self.items:
            self._enter(TurnState.OWED)
            return True
        self._enter(TurnState.COMMITTING)
        self.deadlines.set(Timer.COMMIT, now + self.settings.commit_limit_s)
        return False

    def asked(self, now: float) -> None:
        """A reply has been asked for (or its request waits): from now on the watchdog looks after it."""
        self.deadlines.set(Timer.WATCHDOG, now + self.settings.watchdog_s)

    def carried_over(self, now: float) -> bool:
        """The session that heard the turn is gone; True when a reply is owed all the same: it is asked of the next session.

        Speech of which nothing was committed, whether it goes on or has just ended, is heard again from the beginning by the
        next, as far as it was kept.
        """
        if not self.items and self.standing.turn is not TurnState.OWED:
            self.dropped()
            return False
        self._enter(TurnState.OWED)
        self.asked(now)
        return True

    def dropped(self) -> None:
        """The turn is over, answered or not."""
        self._enter(TurnState.QUIET)
        self.items = []
        self.asked_again = 0

    def _enter(self, state: TurnState) -> None:
        self.standing.turn = state
        self.deadlines.cancel(Timer.TURN_END, Timer.COMMIT, Timer.WATCHDOG, Timer.SPEECH_LIMIT)
