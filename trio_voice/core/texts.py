"""Texts from outside of the conversation, for the agent to speak: injected ones, the notice of the longest call, and fillers.

A text and a notice wait until they can be said (`announcements`); a filler is said at once or never.
"""

from __future__ import annotations

from trio_voice.core.announcements import NOT_CUT
from trio_voice.core.commands import Purpose, Refusal, Refuse
from trio_voice.core.cutting import cut_off
from trio_voice.core.events import FillerAsked, TextInjected
from trio_voice.core.parts import Parts
from trio_voice.core.response import PASSING, Request


def on_filler_asked(parts: Parts, event: FillerAsked, now: float) -> None:
    """A few words while something takes long: only into a silence, and never later."""
    refusal = parts.guard.refusal(Purpose.FILLER)
    if refusal is None and (parts.playback.speaking or parts.guard.waiting or parts.announcements.next_one):
        refusal = Refusal.RESPONSE_ACTIVE
    if refusal is not None:
        parts.do(Refuse(Purpose.FILLER, refusal))
    else:
        parts.ask(Request(Purpose.FILLER, parts.wording.filler.format(text=event.text)), now)


def on_text_injected(parts: Parts, event: TextInjected, now: float) -> None:
    """A text from outside of the conversation is to be spoken soon."""
    announce(parts, Request(Purpose.INJECTED_TEXT, parts.wording.injected_text.format(text=event.text)), now)


def at_longest_call_notice(parts: Parts, now: float) -> None:
    """Tell the caller that the call will have to end."""
    announce(parts, Request(Purpose.NOTICE, parts.wording.notice), now)


def announce(parts: Parts, request: Request, now: float) -> None:
    """Have a text spoken, now or as soon as what is being said has been said."""
    refusal = _announcement_refusal(parts, now)
    if refusal is None:
        parts.ask(request, now)
    else:
        waits = refusal in PASSING and parts.announcements.put(request, now)
        parts.do(Refuse(request.purpose, refusal, waits))


def announce_next(parts: Parts, now: float) -> None:
    """Speak the next text that waits, if nothing stands against it any more."""
    if parts.announcements.next_one is not None and _announcement_refusal(parts, now) is None:
        parts.ask(parts.announcements.take(), now)


def _announcement_refusal(parts: Parts, now: float) -> Refusal | None:
    """As the guard sees it, and a playback that goes on for longer than a text waits is as good as an active response."""
    refusal = parts.guard.refusal(Purpose.INJECTED_TEXT)
    if refusal in (None, Refusal.CHANGING) and parts.playback.rest_s(now) > parts.settings.injected_text_wait_s:
        return Refusal.RESPONSE_ACTIVE
    return refusal


def at_injected_text(parts: Parts, now: float) -> None:
    """An injected text has waited long enough for what is being said, unless that is another such text."""
    asked = parts.guard.asked
    said = parts.guard.latest if asked is None else asked.purpose
    if said not in NOT_CUT and _announcement_refusal(parts, now) is Refusal.RESPONSE_ACTIVE:
        cut_off(parts, now)
    parts.announcements.waited(now)
