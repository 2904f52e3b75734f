"""Whether a call was a good one, from what the phone saw and what the call's journal says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from attrs import define, field

from trio_voice.phone.caller import EndedBy, PhoneCall
from trio_voice.phone.carrier import Happening
from trio_voice.phone.report import unanswered

_NORMAL_CLOSURE = 1000
_PATIENCE_S = 8.0
"""A caller who has heard nothing for so long was not answered."""
_APOLOGY = "apology"
"""The item that the server plays when the model cannot speak any more."""
_APOLOGY_SOUND = ("server", "apology.ulaw")
_RECOGNISED_BYTES = slice(4000, 12000)
"""The second of the apology's sound that it is recognised by."""

NOT_JUDGED = (
    "Judged by the line alone. What only the server's journal tells is not known: whether something failed inside it, "
    "or its model was lost and came back."
)


def why_failed(call: PhoneCall, journal: Iterable[str]) -> str | None:
    """Say in one sentence why an ended call was not a good one; None: it was.

    `journal` are the lines of the call's journal; none, if the server is elsewhere: then what the phone heard has to do
    (`NOT_JUDGED` says what it cannot tell). What is not understood is passed over.
    """
    story = _Story()
    for record in _records(journal):
        story.take(record)
    return story.failure or _what_the_line_tells(call)


def _what_the_line_tells(call: PhoneCall) -> str | None:
    ending, carrier = call.ending, call.carrier
    assert ending is not None
    if ending.code != _NORMAL_CLOSURE:
        return f"the {ending.by.value} ended the call with code {ending.code}" + (f" ({ending.reason})" if ending.reason else "")
    if carrier.warnings:
        return f"the server broke the carrier's protocol: {carrier.warnings[0].code} {carrier.warnings[0].text}"
    if _apology() in carrier.heard:
        return "the caller heard an apology" + (f": {ending.reason}" if ending.reason else "; the server's log tells why")
    was_heard = any(event.what is Happening.AGENT_HEARD for event in carrier.events)
    if not was_heard and (ending.by is EndedBy.SERVER or ending.at_s >= _PATIENCE_S):
        return f"the agent was never heard in {ending.at_s:.1f} s" + (
            ", and the server ended the call" if ending.by is EndedBy.SERVER else ""
        )
    if found := unanswered(bytes(carrier.heard), call.performance.spoken, _PATIENCE_S):
        utterance, waited_s = found
        return f"the caller spoke at {utterance.onset_s:.1f} s, and heard nothing for {waited_s:.1f} s"
    return None


@cache
def _apology() -> bytes:
    """What is unmistakable in the sound that our own servers play where the model cannot: mu-law at 8000 Hz."""
    return files("trio_voice").joinpath(*_APOLOGY_SOUND).read_bytes()[_RECOGNISED_BYTES]


def _records(journal: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for line in journal:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


@define
class _Story:
    """What went wrong, in the order of the journal."""

    fatal: str | None = None
    apology: str | None = None
    """Why the caller heard an apology; "" until the reason is known."""
    lost: str | None = None
    """Why the model's session was lost, if no other took its place."""
    _is_over: bool = field(default=False, init=False)

    def take(self, record: Mapping[str, Any]) -> None:
        """Take the next line; what comes after the hang-up is its consequence."""
        if self._is_over:
            return
        reason = str(record.get("reason") or "")
        match record.get("event") or record.get("command"):
            case "FatalErrorRaised":
                self.fatal = self.fatal or reason
            case "SessionLost":
                self.lost = reason or "for no reason that was told"
            case "SessionReady":
                self.lost = None
            case "PlayAudio" if record.get("item_id") == _APOLOGY:
                self.apology = self.apology or ""
            case "HangUp" | "Close" | "CallerHungUp" as end:
                self._is_over = True
                if self.apology is not None and end != "CallerHungUp":
                    self.apology = reason

    @property
    def failure(self) -> str | None:
        """The sentence; None: nothing went wrong."""
        if self.fatal is not None:
            return f"something failed in the server: {self.fatal}; its log tells more"
        if self.apology is not None:
            why = self.apology or self.lost or "the journal does not say why"
            cause = f" ({self.lost})" if self.lost and self.lost not in why else ""
            return f"the caller heard an apology: {why}{cause}"
        if self.lost is not None:
            return f"the model's session was lost, and no other came: {self.lost}"
        return None
