"""How a call ends: politely, with an apology, or at once."""

from __future__ import annotations

from trio_voice.core import switching
from trio_voice.core.commands import Close, Discard, HangUp, Note, Purpose, Refusal, Refuse
from trio_voice.core.cutting import cut_off
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import CallerHungUp, FatalErrorRaised, HangUpAsked, ModelAudio
from trio_voice.core.parts import Parts
from trio_voice.core.response import Request
from trio_voice.core.states import CallState

APOLOGY = "apology"
_ENDING = (CallState.GOODBYE, CallState.LEAVING)
_OF_AN_APOLOGY = (Timer.MARK, Timer.PLAYBACK_END, Timer.HANG_UP_FALLBACK)


def on_hang_up_asked(parts: Parts, event: HangUpAsked, now: float) -> None:
    """End the call politely; asked again, nothing new happens, but that with `farewell` it cannot be kept any more."""
    if event.farewell:
        parts.deadlines.cancel(Timer.LONGEST_CALL)  # see `may_be_kept`
    if parts.standing.call in _ENDING:
        parts.do(Discard(Refusal.HANG_UP_PENDING))
    elif not event.farewell:
        part(parts, event.reason, now, say_first=True)
    elif parts.standing.session is None:
        apologise(parts, event.reason, now)
    else:
        cut_off(parts, now)
        say_farewell(parts, event.reason, now)


def on_caller_hung_up(parts: Parts, event: CallerHungUp, _now: float) -> None:
    """The line is gone: close."""
    close(parts, parts.standing.end_reason or event.reason)


def on_fatal_error(parts: Parts, event: FatalErrorRaised, now: float) -> None:
    """Something of ours failed: say sorry and hang up."""
    parts.do(Note(f"REALTIME_FATAL: {event.reason}"))
    apologise(parts, event.reason, now)


# --- goodbye


def part(parts: Parts, reason: str, now: float, *, say_first: bool = False) -> None:
    """End the call once what is being said has been heard. What waited to be said will not be, but texts with `say_first`.

    They become the farewell: what may still be asked for, is awaited, and is bounded by the fallback.
    """
    parts.standing.end_reason = reason
    parts.standing.call = CallState.GOODBYE
    switching.abandon(parts, now)
    waiting = [parts.guard.waiting, parts.retries.take(), *parts.announcements.drop()]
    parts.guard.waiting = None
    texts: list[str] = []
    for request in [request for request in waiting if request is not None]:
        if say_first and request.purpose is Purpose.INJECTED_TEXT and request.instructions is not None:
            texts.append(request.instructions)
        else:
            parts.do(Refuse(request.purpose, Refusal.HANG_UP_PENDING))
    parts.deadlines.set(Timer.HANG_UP_FALLBACK, now + parts.settings.hang_up_fallback_s)
    extend_fallback(parts, now)
    if texts:
        parts.ask(Request(Purpose.FAREWELL, "\n".join(texts)), now)


def extend_fallback(parts: Parts, now: float) -> None:
    """A goodbye that is longer than the fallback is heard to its end."""
    end = parts.playback.expected_end(now) + parts.settings.mark_grace_s
    if end > (parts.deadlines.at(Timer.HANG_UP_FALLBACK) or 0.0):
        parts.deadlines.set(Timer.HANG_UP_FALLBACK, end)


def say_farewell(parts: Parts, reason: str, now: float) -> None:
    """End the call with a goodbye that is asked for now."""
    part(parts, reason, now)
    parts.ask(Request(Purpose.FAREWELL, parts.wording.farewell), now)


def may_be_kept(parts: Parts) -> bool:
    """Whether a caller who speaks during the goodbye keeps the call: not beyond the longest call."""
    return parts.settings.hang_up_keep_on_speech and parts.deadlines.at(Timer.LONGEST_CALL) is not None


def keep(parts: Parts) -> None:
    """The caller spoke during the goodbye: the call goes on."""
    parts.standing.call = CallState.CONVERSING
    parts.standing.end_reason = ""
    parts.guard.waiting = None  # the farewell, if it was waiting
    parts.deadlines.cancel(Timer.HANG_UP_FALLBACK)
    parts.do(Note("the caller keeps the call"))


# --- apology


def apologise(parts: Parts, reason: str, now: float) -> None:
    """The call cannot go on: tell the caller so where the line works, and end it."""
    if parts.standing.call is CallState.LEAVING:
        return
    cut_off(parts, now)
    part(parts, reason, now)
    parts.standing.call = CallState.LEAVING
    parts.do(*parts.playback.play(ModelAudio(0, APOLOGY, APOLOGY, parts.apology), now))
    parts.do(*parts.playback.end_item(APOLOGY, now))
    extend_fallback(parts, now)


def let_nothing_else_act(parts: Parts) -> None:
    """While an apology is heard no deadline but its own may act, whatever the peers still say."""
    parts.deadlines.keep_only(*_OF_AN_APOLOGY)


# --- the end


def hang_up_when_heard(parts: Parts, now: float) -> bool:
    """Hang up if the goodbye, or the apology, has been heard; tells whether it is so."""
    state, guard = parts.standing.call, parts.guard
    if state not in _ENDING or parts.playback.speaking:
        return False
    if state is CallState.GOODBYE and (guard.coming or guard.waiting_for is Purpose.FAREWELL):
        return False
    hang_up(parts, now)
    return True


def hang_up(parts: Parts, now: float) -> None:
    """Command the hang-up: once, and nothing after it but the close."""
    parts.standing.call = CallState.HANGING_UP
    parts.deadlines.keep_only()
    parts.deadlines.set(Timer.HANG_UP, now + parts.settings.hang_up_limit_s)
    parts.do(HangUp(parts.standing.end_reason))


def close(parts: Parts, reason: str) -> None:
    """The end."""
    parts.standing.call = CallState.CLOSED
    parts.deadlines.keep_only()
    parts.do(Close(reason))


# --- deadlines


def at_hang_up_fallback(parts: Parts, now: float) -> None:
    """The goodbye (or the apology) should have been heard by now."""
    hang_up(parts, now)


def at_hang_up(parts: Parts, _now: float) -> None:
    """The carrier has not confirmed the hang-up: close without it."""
    close(parts, parts.standing.end_reason)


def at_longest_call(parts: Parts, now: float) -> None:
    """Say goodbye. From now on a goodbye that is being said cannot be stopped: see `may_be_kept`."""
    if parts.standing.call not in _ENDING:
        say_farewell(parts, "the longest call time is over", now)


def at_media(parts: Parts, now: float) -> None:
    """A carrier that sends nothing is gone; the deadline is only looked at when it passes, not moved with every frame."""
    silent_from = parts.media_at + parts.settings.media_limit_s
    if silent_from > now:
        parts.deadlines.set(Timer.MEDIA, silent_from)
    else:
        parts.standing.end_reason = "the carrier sends no audio"
        hang_up(parts, now)
