"""Each deadline that acts on silence is a lifeline; those that do not are none. (R20 proves that there always is one.)"""

import pytest

from tests.core.playbook import call_with, conversing, greeting
from trio_voice.core.commands import Purpose
from trio_voice.core.deadlines import Timer
from trio_voice.core.lifeline import Lifeline, is_quiet
from trio_voice.core.response import Request
from trio_voice.core.states import CallState, TurnState

NONE_OF_THEM = {
    Timer.CALIBRATION, Timer.MEDIA, Timer.LONGEST_CALL, Timer.LONGEST_CALL_NOTICE, Timer.SESSION_AGE, Timer.SESSION_READY,
    Timer.COMFORT,
}  # fmt: skip


@pytest.mark.parametrize("timer", Timer)
def test_every_deadline(timer: Timer) -> None:
    call = conversing().call
    call.parts.deadlines.keep_only()
    call.parts.deadlines.set(timer, 1.0)
    assert (call.lifeline() is None) == (timer in NONE_OF_THEM)


def test_the_end_is_named_first_and_the_caller_s_turn_last() -> None:
    call = conversing().call
    call.parts.deadlines.keep_only(Timer.IDLE)
    named = []
    for timer in (Timer.IDLE, Timer.TOOL, Timer.CREATED, Timer.MARK, Timer.SPEECH_LIMIT, Timer.HANG_UP):
        call.parts.deadlines.set(timer, 1.0)
        named.append(call.lifeline())
    assert named == [
        Lifeline.THE_CALLERS_TURN,
        Lifeline.TOOL_RUNNING,
        Lifeline.REPLY_COMING,
        Lifeline.AGENT_SPEAKING,
        Lifeline.CALLER_SPEAKING,
        Lifeline.ENDING,
    ]


def test_where_nobody_is_asked_the_quiet_is_the_caller_s_only_if_it_is_quiet() -> None:
    call = conversing(idle_s=0.0).call
    assert call.lifeline() is Lifeline.THE_CALLERS_TURN
    call.parts.standing.turn = TurnState.SPEAKING
    assert call.lifeline() is None
    call.parts.standing.turn = TurnState.QUIET
    call.parts.standing.call = CallState.GOODBYE
    assert call.lifeline() is None


def test_a_call_that_has_not_started() -> None:
    call = call_with()
    assert call.lifeline() is Lifeline.NOT_STARTED
    call.parts.standing.call = CallState.CLOSED
    assert call.lifeline() is None


def test_quiet_is_when_nothing_at_all_goes_on() -> None:
    parts = conversing().call.parts
    assert is_quiet(parts)
    parts.keypad.pressed = "1"
    assert not is_quiet(parts)
    parts.keypad.pressed = ""
    parts.tools.reply_owed = True
    assert not is_quiet(parts)
    parts.tools.reply_owed = False
    parts.retries.request = Request(Purpose.RETRY)
    assert not is_quiet(parts)
    parts.retries.request = None
    parts.guard.waiting = Request(Purpose.TURN)
    assert not is_quiet(parts)
    parts.guard.waiting = None
    parts.announcements.put(Request(Purpose.NOTICE, "x"), 0.0)
    assert not is_quiet(parts)
    parts.announcements.drop()
    parts.standing.session = None
    assert not is_quiet(parts)
    assert not is_quiet(greeting().call.parts)
