"""What those see who measure calls: events and commands as they happen, in the call's own order, without a word of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import frozen

from trio_voice.core.commands import Command
from trio_voice.core.events import Event


@frozen
class CallFacts:
    """What is known of a call when it begins."""

    call_id: str
    call_sid: str
    dialect: str


class CallWatcher(Protocol):
    """Watches one call. It is called in the middle of the call's work: it must neither wait nor raise."""

    def on_event(self, now: float, event: Event) -> None:
        """Something happened, `now` seconds after the call's start. Single frames of the caller's audio are left out."""

    def on_command(self, now: float, command: Command) -> None:
        """Something is done about it. Audio that is handed to the model is left out."""

    def on_end(self, now: float, reason: str) -> None:
        """The call is over."""


class Listener(Protocol):
    """Listens to one call: to everything, single audio frames too. It must neither wait nor raise."""

    def on_event(self, now: float, event: Event) -> None:
        """Something happened, `now` seconds after the call's start."""

    def on_command(self, now: float, command: Command) -> None:
        """Something is done about it."""


Watch = Callable[[CallFacts], CallWatcher]
"""Makes the watcher of a call that begins."""
