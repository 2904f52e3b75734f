"""Calls that ended with an apology, because they could not go on: their carrier may let somebody else take them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from trio_voice.core.commands import Command, PlayAudio
from trio_voice.core.ending import APOLOGY
from trio_voice.core.events import Event
from trio_voice.server.call_watch import CallFacts, CallWatcher

REMEMBERED_CALLS = 4096


@define(eq=False)
class FailedCalls:
    """Remembers them by the carrier's id. `folder`: where the processes of one server leave word for each other."""

    folder: Path | None = None
    _failed: OrderedDict[str, None] = field(factory=OrderedDict, init=False)

    def watch(self, facts: CallFacts) -> CallWatcher:
        """Watch a call for its apology."""
        return _Watcher(self, facts.call_sid)

    def note(self, call_sid: str) -> None:
        """A call says sorry. What the carrier does when its stream is over depends on it, so this is told at once."""
        self._failed[call_sid] = None
        while len(self._failed) > REMEMBERED_CALLS:
            self._failed.popitem(last=False)
        if self.folder is not None:
            with suppress(OSError):  # a disk that takes nothing: then only this process knows
                self.folder.mkdir(mode=0o700, exist_ok=True)
                self._word(call_sid, self.folder).touch(mode=0o600)

    def __contains__(self, call_sid: object) -> bool:
        if not isinstance(call_sid, str):
            return False
        if call_sid in self._failed or self.folder is None:
            return call_sid in self._failed
        try:
            return self._word(call_sid, self.folder).exists()
        except OSError:
            return False

    @staticmethod
    def _word(call_sid: str, folder: Path) -> Path:
        return folder / hashlib.sha256(f"failed {call_sid}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


@define(eq=False)
class _Watcher:
    calls: FailedCalls
    call_sid: str

    def on_event(self, _now: float, _event: Event) -> None:
        """Nothing of it matters here."""

    def on_command(self, _now: float, command: Command) -> None:
        """The apology is played."""
        if type(command) is PlayAudio and command.item_id == APOLOGY:
            self.calls.note(self.call_sid)

    def on_end(self, _now: float, _reason: str) -> None:
        """What matters was told before."""
