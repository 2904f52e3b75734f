"""Texts that the agent shall speak although the caller did not ask: injected ones and the notice of the longest call.

They wait in a line of their own, because a reply says something else: a text that is merged into a turn's request would take the
place of the answer. An injected text waits `injected_text_wait_s` for what is being said (a response in progress, or a long
playback) and then cuts it off; the notice never does.
"""

from __future__ import annotations

from attrs import define, field

from trio_voice.core.commands import Purpose
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.response import Request
from trio_voice.core.settings import CallSettings

MOST = 8
ANNOUNCED = frozenset({Purpose.INJECTED_TEXT, Purpose.NOTICE})
NOT_CUT = ANNOUNCED | {Purpose.GREETING, Purpose.FAREWELL}
"""What an injected text lets finish."""


@define
class Announcements:
    """At most eight requests that wait to be spoken, in their order."""

    settings: CallSettings
    deadlines: Deadlines
    _waiting: list[Request] = field(factory=list, init=False)

    @property
    def next_one(self) -> Request | None:
        """The one whose turn it is; None when none waits."""
        return self._waiting[0] if self._waiting else None

    def put(self, request: Request, now: float) -> bool:
        """Let a text wait; False when too many do."""
        if len(self._waiting) >= MOST:
            return False
        self._waiting.append(request)
        self._arm(now)
        return True

    def put_back(self, request: Request, now: float) -> None:
        """One that was taken was not heard at all: it is the next again."""
        self._waiting.insert(0, request)
        self._arm(now)

    def take(self) -> Request:
        """Take the next one, to be spoken now."""
        request = self._waiting.pop(0)
        if not any(waiting.purpose is Purpose.INJECTED_TEXT for waiting in self._waiting):
            self.deadlines.cancel(Timer.INJECTED_TEXT)
        return request

    def waited(self, now: float) -> None:
        """The limit of waiting has passed once more."""
        self._arm(now)

    def drop(self) -> list[Request]:
        """Nothing of it will be spoken any more; returns what is dropped."""
        dropped, self._waiting = self._waiting, []
        self.deadlines.cancel(Timer.INJECTED_TEXT)
        return dropped

    def _arm(self, now: float) -> None:
        urgent = any(request.purpose is Purpose.INJECTED_TEXT for request in self._waiting)
        if urgent and self.deadlines.at(Timer.INJECTED_TEXT) is None:
            self.deadlines.set(Timer.INJECTED_TEXT, now + self.settings.injected_text_wait_s)
