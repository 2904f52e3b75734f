"""The keys that the caller pressed and that the model has not been told yet."""

from __future__ import annotations

from attrs import define, field

from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.settings import CallSettings

LONGEST = 32
LAST_KEY = "#"


@define
class Keypad:
    """Collects keys until a pause, or a #; at most 32, the rest is ignored."""

    settings: CallSettings
    deadlines: Deadlines
    pressed: str = field(default="", init=False)

    def press(self, key: str, now: float) -> bool:
        """A key was pressed: the pause begins anew. True for the key that ends an input."""
        self.pressed = (self.pressed + key)[:LONGEST]
        self.wait(now)
        return key == LAST_KEY

    def wait(self, now: float) -> None:
        """For another key, or for somebody to tell."""
        self.deadlines.set(Timer.DIGITS, now + self.settings.digits_pause_s)

    def take(self) -> str:
        """The keys, to be told now."""
        pressed, self.pressed = self.pressed, ""
        self.deadlines.cancel(Timer.DIGITS)
        return pressed
