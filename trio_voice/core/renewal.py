"""The model's sessions: one serves, is lost or renewed, and the next takes over."""

from __future__ import annotations

from trio_voice.core import switching
from trio_voice.core.announcements import ANNOUNCED
from trio_voice.core.commands import COMFORT, CloseSession, Discard, Note, Purpose, Refusal
from trio_voice.core.cutting import forget_silent_items
from trio_voice.core.deadlines import Timer
from trio_voice.core.ending import apologise, close
from trio_voice.core.events import ModelAudio, OutboxOverran, SessionLost, SessionReady
from trio_voice.core.lifeline import is_quiet
from trio_voice.core.parts import Parts
from trio_voice.core.playback import Flow
from trio_voice.core.response import EXEMPT, Request
from trio_voice.core.states import CallState, ChangeState

_CHANGED_IN_PLACE = (ChangeState.WAITING, ChangeState.UPDATING)


def on_session_ready(parts: Parts, event: SessionReady, _now: float) -> None:
    """The session that is being opened waits as the spare until it may take over."""
    if not parts.sessions.ready(event.session):
        parts.do(Discard(Refusal.STALE_SESSION))
        return
    parts.standing.words_come = parts.standing.words_come or event.transcribes
    switching.session_ready(parts)


def on_session_lost(parts: Parts, event: SessionLost, now: float) -> None:
    """Go on with what is there, and open another, unless no retry can help."""
    sessions = parts.sessions
    if not sessions.is_known(event.session):
        parts.do(Discard(Refusal.STALE_SESSION))
        return
    changing = parts.change.pending
    if sessions.lost(event.session, now):
        _go_on_without(parts, now)
    else:
        switching.coming_lost(parts, event.reason, now, retryable=event.retryable)
    if parts.standing.call is CallState.LEAVING or sessions.coming:
        return
    change_failed = changing and not parts.change.pending
    if change_failed and parts.standing.session is not None:
        return
    if event.retryable or change_failed:  # the setup that cannot be had is not asked for again
        parts.do(*sessions.open(now))
    elif parts.standing.session is None:
        apologise(parts, f"the model is not available: {event.reason}", now)
    else:
        parts.do(Note(f"the session cannot be renewed: {event.reason}"))


def on_outbox_overran(parts: Parts, event: OutboxOverran, now: float) -> None:
    """A peer does not read: without the caller the call is over, without the model another session may do."""
    if event.leg == "caller":
        close(parts, "the carrier does not read")
    elif event.session in (None, parts.standing.session):
        replace(parts, now)
    elif parts.sessions.is_known(event.session):
        parts.do(CloseSession(event.session))
        on_session_lost(parts, SessionLost(event.session, "the model does not read"), now)
    else:
        parts.do(Discard(Refusal.STALE_SESSION))


def replace(parts: Parts, now: float) -> None:
    """The serving session cannot be worked with: close it and go on in another. A second one in a row ends the call."""
    session = parts.standing.session
    if session is None or parts.standing.call is CallState.LEAVING:
        return
    parts.sessions.replaced += 1
    if parts.sessions.replaced > 1:
        apologise(parts, "the model does not answer", now)
        return
    parts.do(CloseSession(session))
    on_session_lost(parts, SessionLost(session, "replaced"), now)


def _go_on_without(parts: Parts, now: float) -> None:
    """The serving session is gone: what is being heard goes on, and what was owed is asked of the next."""
    guard, playback = parts.guard, parts.playback
    comfort_later(parts, now)
    if parts.change.pending:
        switching.serving_lost(parts)
    begun = guard.response_id is not None and playback.has_audio_of(guard.response_id)
    wanted = guard.session_ended(now)
    if playback.flow is Flow.HELD:  # nobody can tell any more whether it was a cough
        parts.deadlines.cancel(Timer.BARGE_IN_CONFIRM)
        parts.do(*playback.resume(now))
    parts.do(*playback.end_response(None, now))
    forget_silent_items(parts, delete=False)
    if wanted is not None and not (begun and wanted.instructions is not None):
        _want_again(parts, wanted, now)
    if parts.turn.carried_over(now):
        guard.keep(Request(Purpose.RETRY))


def _want_again(parts: Parts, wanted: Request, now: float) -> None:
    if wanted.purpose is Purpose.FILLER:
        return
    if wanted.purpose in ANNOUNCED:
        parts.announcements.put_back(wanted, now)
    else:
        purpose = wanted.purpose if wanted.purpose in EXEMPT else Purpose.RETRY
        parts.guard.keep(Request(purpose, wanted.instructions))


def may_take_over(parts: Parts, now: float) -> bool:
    """Whether the spare session may serve now: at once where none serves, a change at a turn boundary, a renewal in a silence."""
    if parts.standing.session is None:
        return True
    if parts.change.pending:
        return parts.standing.change is ChangeState.READY and switching.at_boundary(parts, now)
    return is_quiet(parts) and switching.words_are_known(parts, now)


def take_over(parts: Parts, now: float) -> None:
    """Let the spare session serve: tell it the conversation so far, and what the caller said meanwhile."""
    first = parts.standing.call is CallState.CONNECTING
    parts.do(*parts.sessions.take_over(now, parts.guard.number))
    parts.deadlines.cancel(Timer.COMFORT, Timer.WORDS)
    parts.history.give_words_up()  # those of a session that is gone will not come
    for role, text in parts.history.seed():
        parts.add_text(role, text, remember=False)
    parts.do(*parts.sessions.hand_on())
    if parts.standing.change is ChangeState.READY:
        switching.made(parts, now)
    if not first:
        return
    parts.standing.call = CallState.GREETING if parts.settings.greeting else CallState.CONVERSING
    if parts.settings.greeting:
        parts.ask(Request(Purpose.GREETING, parts.wording.greeting), now, forced=True)


# --- deadlines


def at_session_ready(parts: Parts, now: float) -> None:
    """The opening takes too long: try another."""
    parts.do(*parts.sessions.give_up_opening(now), *parts.sessions.open(now))


def at_reconnect(parts: Parts, now: float) -> None:
    """No session for too long: the call cannot go on."""
    apologise(parts, "no model session within the limit", now)


def at_session_age(parts: Parts, now: float) -> None:
    """The session will expire: open its successor."""
    if parts.standing.change in _CHANGED_IN_PLACE:
        parts.deadlines.set(Timer.SESSION_AGE, now + parts.settings.change_limit_s)
    elif not parts.sessions.coming:
        parts.do(*parts.sessions.open(now))


# --- a gap that the caller hears


def comfort_later(parts: Parts, now: float) -> None:
    """Let the caller hear something if there is no session for long; without a sound for it, nothing is done."""
    if parts.comfort and parts.settings.comfort_after_s:
        parts.deadlines.set(Timer.COMFORT, now + parts.settings.comfort_after_s)


def at_comfort(parts: Parts, now: float) -> None:
    """Nobody has spoken for a while, because there is no session: say without words that the line lives."""
    if not parts.playback.speaking:
        item_id = f"{COMFORT}-{round(now * 1000)}"
        parts.do(*parts.playback.play(ModelAudio(0, COMFORT, item_id, parts.comfort), now))
        parts.do(*parts.playback.end_item(item_id, now))
    parts.deadlines.set(Timer.COMFORT, parts.playback.expected_end(now) + parts.settings.comfort_after_s)
