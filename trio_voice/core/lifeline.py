"""What keeps a call alive: that it is never silent without anything to end the silence.

While a call lives, at every moment somebody is speaking, or a reply is on its way, or a deadline is armed that will act on the
silence. `lifeline` names which. None would be a silent call, which the proofs exclude.

Deadlines that do not act on silence do not count: the longest call and its notice, the age of the session, the calibration, the
carrier's media. With `idle_s = 0` nobody asks whether a silent caller is still there; then a quiet line is the caller's to break,
by the user's own wish, and that counts as THE_CALLERS_TURN too.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from trio_voice.core.deadlines import Timer
from trio_voice.core.parts import Parts
from trio_voice.core.states import CallState, TurnState


class Lifeline(Enum):
    """In words that a console can show."""

    NOT_STARTED = "the stream has not started"
    ENDING = "the call is ending"
    CALLER_SPEAKING = "the caller is speaking"
    AGENT_SPEAKING = "the agent is being heard"
    TURN_ENDING = "the caller's turn is ending"
    REPLY_COMING = "a reply is on its way"
    TOOL_RUNNING = "a tool is running"
    JOB_RUNNING = "a job is running"
    CALLER_PRESSING_KEYS = "the caller is pressing keys"
    SESSION_OPENING = "a model session is being opened"
    SESSION_CHANGING = "the model session is being changed"
    THE_CALLERS_TURN = "it is the caller's turn to speak"


_BY_TIMER: Mapping[Timer, Lifeline] = {  # in the order in which they are named when several are armed
    Timer.HANG_UP: Lifeline.ENDING,
    Timer.HANG_UP_FALLBACK: Lifeline.ENDING,
    Timer.SPEECH_LIMIT: Lifeline.CALLER_SPEAKING,
    Timer.BARGE_IN_CONFIRM: Lifeline.CALLER_SPEAKING,
    Timer.MARK: Lifeline.AGENT_SPEAKING,
    Timer.PLAYBACK_END: Lifeline.AGENT_SPEAKING,
    Timer.TURN_END: Lifeline.TURN_ENDING,
    Timer.COMMIT: Lifeline.TURN_ENDING,
    Timer.CREATED: Lifeline.REPLY_COMING,
    Timer.FIRST_AUDIO: Lifeline.REPLY_COMING,
    Timer.AUDIO_GAP: Lifeline.REPLY_COMING,
    Timer.DONE: Lifeline.REPLY_COMING,
    Timer.BLOCKED: Lifeline.REPLY_COMING,
    Timer.RETRY: Lifeline.REPLY_COMING,
    Timer.WATCHDOG: Lifeline.REPLY_COMING,
    Timer.INJECTED_TEXT: Lifeline.REPLY_COMING,
    Timer.TOOL: Lifeline.TOOL_RUNNING,
    Timer.DIGITS: Lifeline.CALLER_PRESSING_KEYS,
    Timer.CHANGE: Lifeline.SESSION_CHANGING,
    Timer.WORDS: Lifeline.SESSION_CHANGING,
    Timer.JOB: Lifeline.JOB_RUNNING,
    Timer.RECONNECT: Lifeline.SESSION_OPENING,
    Timer.IDLE: Lifeline.THE_CALLERS_TURN,
}


def lifeline(parts: Parts) -> Lifeline | None:
    """What keeps the call alive; None when it has ended, or nothing does."""
    armed = parts.deadlines.armed()
    for timer, name in _BY_TIMER.items():
        if timer in armed:
            return name
    if parts.standing.call is CallState.CONNECTING and not parts.sessions.coming:
        return Lifeline.NOT_STARTED
    if parts.settings.idle_s == 0 and is_quiet(parts) and parts.standing.call is CallState.CONVERSING:
        return Lifeline.THE_CALLERS_TURN
    return None


def is_quiet(parts: Parts) -> bool:
    """Nobody speaks, nothing is owed, nothing is on its way: the silence is the caller's."""
    return (
        parts.standing.turn is TurnState.QUIET
        and parts.standing.session is not None
        and parts.guard.idle
        and parts.guard.waiting is None
        and parts.retries.request is None
        and parts.announcements.next_one is None
        and not parts.playback.speaking
        and not parts.tools.busy
        and not parts.change.pending
        and not parts.keypad.pressed
    )
