"""Replies that came to nothing: asked for again after a pause that doubles, and not for ever."""

from __future__ import annotations

from attrs import define, evolve, field

from trio_voice.core.announcements import ANNOUNCED
from trio_voice.core.commands import Purpose
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.response import Request
from trio_voice.core.settings import CallSettings


@define
class Retries:
    """The request that is to be made again. `number` is that of the request that failed: its answer may still come."""

    settings: CallSettings
    deadlines: Deadlines
    request: Request | None = field(default=None, init=False)
    number: int | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)

    def failed(self, asked: Request | None, number: int, now: float) -> bool:
        """A request (None: a response of the model's own) came to nothing; False when that has happened too often in a row."""
        self._failures += 1
        if self._failures > self.settings.failed_retries:
            return False
        kept = asked is not None and asked.purpose in ANNOUNCED
        self.request = asked if kept else evolve(asked or Request(Purpose.RETRY), purpose=Purpose.RETRY)
        self.number = number
        self.deadlines.set(Timer.RETRY, now + self.settings.failed_backoff_s * 2 ** (self._failures - 1))
        return True

    def succeeded(self) -> None:
        """A reply was completed."""
        self._failures = 0

    def began(self, number: int | None, is_an_answer: bool) -> None:
        """A response began. If it answers the conversation, or is the late answer to the very request, nothing is asked again."""
        if self.request is None:
            return
        plain = self.request.instructions is None
        if (plain and is_an_answer) or (number is not None and number == self.number):
            self.take()

    def take(self) -> Request | None:
        """The request, to be made now (or never)."""
        request, self.request, self.number = self.request, None, None
        self.deadlines.cancel(Timer.RETRY)
        return request
