"""A session becomes another one: with another voice, or another agent. The theory is in `states`, the change machine.

A change that cannot be made is told to who asked for it, and to the model, which goes on as it was.
"""

from __future__ import annotations

from trio_voice.core.commands import Discard, Note, Purpose, Refusal, ReportChange, UpdateSession
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import ChangeApplied, ChangeAsked, ChangeRefused
from trio_voice.core.parts import Parts
from trio_voice.core.response import Request
from trio_voice.core.states import CallState, ChangeSignal, ChangeState, TurnState

_MAY_CHANGE = frozenset({CallState.CONNECTING, CallState.GREETING, CallState.CONVERSING})
_BETWEEN_TURNS = frozenset({TurnState.QUIET, TurnState.OWED})


def on_change_asked(parts: Parts, event: ChangeAsked, now: float) -> None:
    """Begin a change: in place, if the session can be changed as it is, else by opening its successor."""
    sessions = parts.sessions
    if parts.change.asked is not None and parts.change.asked.change == event.change:
        parts.do(Discard(Refusal.DUPLICATE))
    elif sessions.never_opened:
        parts.do(ReportChange(event.change, "the call has not begun"))
    elif parts.standing.call not in _MAY_CHANGE:
        parts.do(ReportChange(event.change, "the call is ending"))
    elif parts.change.pending:
        parts.do(ReportChange(event.change, "another change is being made"))
    elif not sessions.coming and not (event.voice_changes and _has_spoken(parts)):
        parts.change.ask(event, ChangeSignal.ASKED_IN_PLACE)
    else:
        parts.change.ask(event, ChangeSignal.ASKED_ANEW)
        parts.do(*sessions.drop_coming())
        sessions.wanted = event.change
        parts.do(*sessions.open(now))
        if parts.standing.session is not None:
            parts.change.wait(now)


def _has_spoken(parts: Parts) -> bool:
    """A response was asked for in the serving session, or began: it may have spoken."""
    return parts.sessions.has_proved or parts.guard.number > parts.sessions.requests_before


# --- the turn boundary


def at_boundary(parts: Parts, now: float) -> bool:
    """Whether the session may be changed now: nobody speaks, and nothing that was said would be lost with the old session.

    A turn that is owed a reply may be answered by another session only once its words are known.
    """
    standing = parts.standing
    if standing.call is not CallState.CONVERSING or standing.turn not in _BETWEEN_TURNS:
        return False
    if not parts.guard.idle or parts.playback.speaking:
        return False
    if standing.change is ChangeState.WAITING:
        return True
    return words_are_known(parts, now) and (standing.turn is TurnState.QUIET or standing.words_come)


def words_are_known(parts: Parts, now: float) -> bool:
    """Whether all words of the caller have come that will; they are waited for, not for ever."""
    if not parts.history.awaits_words or not parts.standing.words_come:
        return True
    if parts.deadlines.at(Timer.WORDS) is None:
        parts.deadlines.set(Timer.WORDS, now + parts.settings.words_limit_s)
    return False


def at_words(parts: Parts, _now: float) -> None:
    """The words of a turn do not come: go on without."""
    parts.do(Note("the words of a turn have not come"))
    parts.history.give_words_up()


def settle(parts: Parts, now: float) -> None:
    """Send the update of a change in place, as soon as it may be."""
    if parts.standing.change is not ChangeState.WAITING or not at_boundary(parts, now):
        return
    assert parts.change.asked is not None
    assert parts.standing.session is not None
    parts.change.signal(ChangeSignal.UPDATE_SENT)
    parts.change.wait(now)
    parts.do(UpdateSession(parts.standing.session, parts.change.asked.change))


# --- made, or not


def on_change_applied(parts: Parts, event: ChangeApplied, now: float) -> None:
    """The session has become what it shall be; also when that comes so late that it was given up."""
    asked = parts.change.asked
    if event.change == parts.sessions.setup:
        parts.do(Discard(Refusal.DUPLICATE))
    elif asked is None or asked.change != event.change:
        parts.sessions.setup = event.change
        parts.sessions.wanted = event.change if asked is None else asked.change
        parts.do(Note("a change that had been given up was made"), ReportChange(event.change))
    elif parts.standing.change is ChangeState.UPDATING:
        made(parts, now)
    else:
        parts.do(Discard(Refusal.DUPLICATE))


def made(parts: Parts, now: float) -> None:
    """The serving session has the new setup: say so to all."""
    asked = parts.change.over(ChangeSignal.MADE)
    parts.sessions.setup = parts.sessions.wanted = asked.change
    parts.do(ReportChange(asked.change))
    if asked.note:
        parts.add_text("system", asked.note)
    greets = parts.standing.call is CallState.CONNECTING and parts.settings.greeting
    if asked.reply and not greets and not parts.tools.busy:  # else the answer of the tool brings a reply about
        parts.ask(Request(Purpose.HAND_OFF), now)


def on_change_refused(parts: Parts, event: ChangeRefused, now: float) -> None:
    """The session goes on as it was."""
    asked = parts.change.asked
    if parts.standing.change is ChangeState.UPDATING and asked is not None and asked.change == event.change:
        failed(parts, event.reason, now)
    else:
        parts.do(Discard(Refusal.TOO_LATE))


def on_update_unsent(parts: Parts, event_id: str, now: float) -> None:
    """The update did not leave."""
    asked = parts.change.asked
    if parts.standing.change is ChangeState.UPDATING and asked is not None and event_id == f"update-{asked.change}":
        failed(parts, "it could not be sent to the model", now)


def at_change(parts: Parts, now: float) -> None:
    """The model does not answer, or the new session does not come: stay with the old one."""
    parts.do(*parts.sessions.drop_coming())
    failed(parts, "the model did not answer in time", now)


def failed(parts: Parts, reason: str, now: float) -> None:
    """The change is not made: the old session goes on, and its model is told."""
    asked = parts.change.over(ChangeSignal.FAILED)
    sessions = parts.sessions
    sessions.wanted = sessions.setup
    sessions.age_again(now)
    parts.do(ReportChange(asked.change, reason))
    told = parts.wording.change_failed.format(reason=reason)
    if parts.standing.session is not None:
        parts.add_text("system", told)
    else:
        parts.history.noted(f"change-{asked.change}", "system", told)  # for the session that comes


def abandon(parts: Parts, now: float) -> None:
    """The call is ending: nothing is changed any more. A session that is the only one to come is still welcome."""
    if not parts.change.pending:
        return
    if parts.standing.session is not None:
        parts.do(*parts.sessions.drop_coming())
        parts.sessions.wanted = parts.sessions.setup
        parts.sessions.age_again(now)
    asked = parts.change.over(ChangeSignal.FAILED)
    parts.do(ReportChange(asked.change, "the call is ending"))


# --- what becomes of it when sessions are lost


def serving_lost(parts: Parts) -> None:
    """The next session has the new setup, whichever way the change was to go."""
    if parts.change.asked is not None:
        parts.sessions.wanted = parts.change.asked.change
    parts.change.signal(ChangeSignal.SERVING_LOST)
    parts.deadlines.cancel(Timer.CHANGE)


def coming_lost(parts: Parts, reason: str, now: float, *, retryable: bool) -> None:
    """The session of a change is lost: it is tried again until its time is up, unless no retry can mend what was wrong."""
    if parts.standing.change not in (ChangeState.OPENING, ChangeState.READY):
        return
    if not retryable:
        failed(parts, reason, now)
        return
    was_ready = parts.standing.change is ChangeState.READY
    parts.change.signal(ChangeSignal.SPARE_LOST)
    if was_ready and parts.standing.session is not None:
        parts.change.wait(now)


def session_ready(parts: Parts) -> None:
    """The session that is open now is that of the change, if one is being made by a new session."""
    if parts.standing.change is ChangeState.OPENING:
        parts.change.signal(ChangeSignal.SESSION_READY)
        parts.deadlines.cancel(Timer.CHANGE)
