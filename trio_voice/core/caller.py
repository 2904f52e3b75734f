"""The caller's side: voice, keys, turns, and when speech is a barge-in."""

from __future__ import annotations

from trio_voice.core.commands import (
    BEEP,
    AppendAudio,
    DeleteItem,
    Discard,
    InterruptTools,
    Note,
    Purpose,
    Refusal,
    Refuse,
    SendDigits,
)
from trio_voice.core.cutting import cut_off
from trio_voice.core.deadlines import Timer
from trio_voice.core.ending import extend_fallback, keep, may_be_kept
from trio_voice.core.events import (
    CallerAudio,
    CallerTranscribed,
    CallStarted,
    DigitPressed,
    DigitsAsked,
    ModelAudio,
    PlaybackMarked,
    SpeechStarted,
    SpeechStopped,
    TurnCommitted,
)
from trio_voice.core.gate import CAN_PASS
from trio_voice.core.parts import Parts
from trio_voice.core.playback import Flow
from trio_voice.core.renewal import comfort_later
from trio_voice.core.response import Request
from trio_voice.core.settings import Turns
from trio_voice.core.states import CallState, TurnState

# --- the line


def on_call_started(parts: Parts, _event: CallStarted, now: float) -> None:
    """Open the first session, behind a tone if there is one; from here on the call is timed."""
    settings, deadlines = parts.settings, parts.deadlines
    if not parts.sessions.never_opened:
        parts.do(Discard(Refusal.DUPLICATE))
        return
    parts.media_at = now
    deadlines.set(Timer.CALIBRATION, now + settings.calibration_limit_s)
    deadlines.set(Timer.MEDIA, now + settings.media_limit_s)
    deadlines.set(Timer.LONGEST_CALL, now + settings.longest_call_s)
    if settings.longest_call_s > settings.longest_call_notice_s > 0:
        deadlines.set(Timer.LONGEST_CALL_NOTICE, now + settings.longest_call_s - settings.longest_call_notice_s)
    comfort_later(parts, now)
    parts.do(*parts.playback.play(ModelAudio(0, BEEP, BEEP, parts.beep), now), *parts.playback.end_item(BEEP, now))
    parts.do(*parts.sessions.open(now))


def on_caller_audio(parts: Parts, event: CallerAudio, now: float) -> bool:
    """Hand a frame on, or keep it while there is no session; True when its level made a barge-in of what was none before."""
    parts.media_at = now
    level_dbfs, playback, cut = event.level_dbfs, parts.playback, False
    if level_dbfs is not None:
        parts.gate.hear(level_dbfs, playback.level_dbfs(now) if playback.speaking else None)
        cut = parts.gate.denied is not None and _looked_at_again(parts, now)
    if parts.sessions.keeping:
        parts.sessions.keep(event.audio)
    session = parts.standing.session
    if session is not None:
        parts.out.append(AppendAudio(session, event.audio))
    return cut


def _looked_at_again(parts: Parts, now: float) -> bool:
    """Whether what was no barge-in is one by now."""
    gate = parts.gate
    if gate.denied not in CAN_PASS or parts.standing.turn is not TurnState.SPEAKING:
        return False
    gate.denied = _barge_in(parts, now)
    return gate.denied is None


def on_mark(parts: Parts, event: PlaybackMarked, now: float) -> None:
    """An echo of a mark: heard, if it is of this generation."""
    if not parts.playback.marked(event.name, now):
        parts.do(Discard(Refusal.STALE_MARK))


def on_digit(parts: Parts, event: DigitPressed, now: float) -> None:
    """A key is handed on with those that follow it, after a pause or a #. It also shows that the caller is there."""
    parts.idle.reset(prompts=True)
    if parts.keypad.press(event.digit, now):
        at_digits(parts, now)


def at_digits(parts: Parts, now: float) -> None:
    """Tell the model the keys, as text, and ask for a reply."""
    if parts.standing.session is None:
        parts.keypad.wait(now)
        return
    parts.add_text("user", parts.wording.digits.format(digits=parts.keypad.take()))
    parts.ask(Request(Purpose.DIGITS), now)


def on_digits_asked(parts: Parts, event: DigitsAsked, _now: float) -> None:
    """Press keys on the caller's line, unless the call is over."""
    if parts.standing.call is CallState.LEAVING:
        parts.do(Discard(Refusal.CLOSING))
    else:
        parts.do(SendDigits(event.digits))


# --- barge-in


def on_speech_started(parts: Parts, _event: SpeechStarted, now: float) -> None:
    """Speech begins, or resumes, a turn, and may be a barge-in."""
    parts.turn.speech_started(now)
    parts.sessions.spoken()
    parts.gate.speech_began()
    parts.gate.denied = _barge_in(parts, now)
    if parts.gate.denied is not None:
        parts.do(Discard(parts.gate.denied))


def _barge_in(parts: Parts, now: float) -> Refusal | None:
    """The caller speaks: interrupt the agent, if it is saying or doing anything, or say why not."""
    busy = parts.guard.coming or parts.playback.speaking or parts.tools.running
    if not busy or parts.playback.flow is Flow.HELD:
        return None
    refusal = _barge_in_refusal(parts, now)
    if refusal is None:
        _interrupt(parts, now)
    return refusal


def _barge_in_refusal(parts: Parts, now: float) -> Refusal | None:
    settings = parts.settings
    match parts.standing.call:
        case CallState.LEAVING:
            return Refusal.CLOSING
        case CallState.GOODBYE:
            if not may_be_kept(parts):
                return Refusal.HANG_UP_PENDING
            if parts.guard.idle and parts.playback.rest_s(now) <= settings.hang_up_return_s:
                return Refusal.PAST_RETURN
        case CallState.GREETING if settings.turns is Turns.OURS and not settings.greeting_interruptible:
            return Refusal.GREETING_LOCK
        case _:
            pass
    if settings.turns is Turns.MODEL:
        return None  # the model has cut itself off already
    return parts.gate.refusal(now)


def _interrupt(parts: Parts, now: float) -> None:
    """Stop the sound at once: for good, or until it is certain that these are words."""
    settings = parts.settings
    if settings.barge_in_confirm_ms and settings.turns is Turns.OURS and parts.playback.speaking:
        parts.do(*parts.playback.hold(now))
        wait_s = (settings.barge_in_confirm_ms + settings.vad_silence_ms) / 1000
        parts.deadlines.set(Timer.BARGE_IN_CONFIRM, now + wait_s)
    else:
        _take_the_floor(parts, now)


def _take_the_floor(parts: Parts, now: float) -> None:
    parts.gate.acted(now)
    if parts.standing.call is CallState.GOODBYE and may_be_kept(parts):
        keep(parts)
    elif parts.standing.call is CallState.GREETING:
        parts.standing.call = CallState.CONVERSING
        parts.do(Note("the greeting is interrupted"))
    if parts.settings.turns is Turns.MODEL:
        parts.guard.abandon(now)
    cut_off(parts, now)
    if parts.tools.running:
        parts.do(InterruptTools())


def at_barge_in_confirm(parts: Parts, now: float) -> None:
    """It has gone on for too long to be a cough."""
    _take_the_floor(parts, now)


def at_calibration(parts: Parts, _now: float) -> None:
    """Whatever was heard so far: from now on speech may interrupt."""
    parts.standing.calibrated = True


# --- turns


def on_speech_stopped(parts: Parts, event: SpeechStopped, now: float) -> None:
    """The turn is ending, or it was a cough, after which a held reply goes on, or the agent's own echo."""
    parts.gate.denied = None
    if parts.playback.flow is Flow.HELD:
        _go_on_after_a_cough(parts, event.item_id, now)
    elif not parts.turn.speech_stopped(now):
        parts.do(Discard(Refusal.DUPLICATE))
    elif parts.turn.is_new and parts.gate.speech_was_echo and parts.settings.turns is Turns.OURS:
        _nobody_spoke(parts, event.item_id, Refusal.ECHO)


def _nobody_spoke(parts: Parts, item_id: str, why: Refusal) -> None:
    parts.do(Discard(why))
    for committed in parts.turn.was_nobodys(item_id, why):
        _delete(parts, committed)


def _go_on_after_a_cough(parts: Parts, item_id: str, now: float) -> None:
    parts.deadlines.cancel(Timer.BARGE_IN_CONFIRM)
    if parts.turn.is_new:
        _nobody_spoke(parts, item_id, Refusal.TOO_SHORT)
    else:  # what the caller said before the cough is still to be answered
        parts.do(Discard(Refusal.TOO_SHORT))
        parts.turn.speech_stopped(now)
    parts.do(*parts.playback.resume(now))
    if parts.standing.call is CallState.GOODBYE:
        extend_fallback(parts, now)


def _delete(parts: Parts, item_id: str) -> None:
    parts.history.forget(item_id)
    if parts.standing.session is not None:
        parts.do(DeleteItem(parts.standing.session, item_id))


def on_turn_committed(parts: Parts, event: TurnCommitted, now: float) -> None:
    """The utterance is part of the conversation: unless it was a cough or an echo, it is owed a reply."""
    if parts.standing.turn is not TurnState.SPEAKING:  # else what is kept is of the next utterance, too
        parts.sessions.committed()
    why = parts.turn.why_nobodys(event.item_id)
    if why is not None:
        parts.do(Discard(why))
        _delete(parts, event.item_id)
        return
    if event.item_id in parts.history:
        parts.do(Discard(Refusal.DUPLICATE))
        return
    parts.history.caller_spoke(event.item_id)
    parts.gate.caller_has_spoken = True
    if parts.turn.committed(event.item_id):
        _ask_for_reply(parts, now)


def _ask_for_reply(parts: Parts, now: float) -> None:
    if parts.settings.turns is Turns.MODEL:
        parts.turn.dropped()
        parts.do(Refuse(Purpose.TURN, Refusal.MODEL_DECIDES))
    else:
        parts.ask(Request(Purpose.TURN), now)
        parts.turn.asked(now)


def on_caller_transcribed(parts: Parts, event: CallerTranscribed, _now: float) -> None:
    """The words of a turn, for the memory of the conversation."""
    if event.item_id in parts.history:
        parts.history.transcribed(event.item_id, event.text)
        parts.standing.words_come = parts.standing.words_come or bool(event.text)
        if not parts.history.awaits_words:
            parts.deadlines.cancel(Timer.WORDS)
    else:
        parts.do(Discard(Refusal.NOT_COMMITTED))


def at_turn_end(parts: Parts, now: float) -> None:
    """The caller has not resumed (or has spoken for too long): the turn is over."""
    if parts.turn.ended(now):
        _ask_for_reply(parts, now)


def at_commit(parts: Parts, _now: float) -> None:
    """The model has not taken the turn: there is nothing to answer."""
    parts.turn.dropped()
    parts.do(Discard(Refusal.NOT_COMMITTED))
