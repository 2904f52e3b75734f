import pytest

from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing
from trio_voice.core.states import TurnState
from trio_voice.core.turns import CallerTurn

QUIET, SPEAKING, ENDING, COMMITTING, OWED = TurnState


@pytest.fixture
def turn() -> CallerTurn:
    settings = CallSettings(turn_end_s=0.25, commit_limit_s=1.0, watchdog_s=3.0, speech_limit_s=60.0)
    return CallerTurn(settings, Standing(), Deadlines())


def where(turn: CallerTurn) -> tuple[TurnState, dict[Timer, float | None]]:
    return turn.standing.turn, {timer: turn.deadlines.at(timer) for timer in turn.deadlines.armed()}


def test_spoken_ended_committed(turn: CallerTurn) -> None:
    turn.speech_started(1.0)
    assert where(turn) == (SPEAKING, {Timer.SPEECH_LIMIT: 61.0})
    assert turn.speech_stopped(2.0)
    assert where(turn) == (ENDING, {Timer.TURN_END: 2.25})
    assert not turn.committed("u1")
    assert turn.ended(2.25)
    assert where(turn) == (OWED, {})
    turn.asked(2.25)
    assert where(turn) == (OWED, {Timer.WATCHDOG: 5.25})
    turn.answered()
    assert where(turn) == (QUIET, {})


def test_the_commit_may_come_last(turn: CallerTurn) -> None:
    turn.speech_started(1.0)
    turn.speech_stopped(2.0)
    assert not turn.ended(2.25)
    assert where(turn) == (COMMITTING, {Timer.COMMIT: 3.25})
    assert turn.committed("u1")
    assert where(turn) == (OWED, {})


def test_speech_that_resumes_continues_the_turn(turn: CallerTurn) -> None:
    turn.speech_started(1.0)
    turn.speech_stopped(2.0)
    turn.committed("u1")
    turn.speech_started(2.1)
    assert where(turn) == (SPEAKING, {Timer.SPEECH_LIMIT: 62.1})
    turn.speech_stopped(3.0)
    turn.committed("u2")
    assert turn.ended(3.25)
    assert turn.items == ["u1", "u2"]


def test_a_report_of_silence_that_fits_nothing(turn: CallerTurn) -> None:
    assert not turn.speech_stopped(1.0)
    assert where(turn) == (QUIET, {})


def test_a_commit_without_speech_is_a_turn_and_a_second_one_is_none(turn: CallerTurn) -> None:
    assert turn.committed("u1")
    assert not turn.committed("u1")
    assert turn.standing.turn is OWED


def test_an_answer_to_nothing_leaves_the_caller_speaking(turn: CallerTurn) -> None:
    turn.speech_started(1.0)
    turn.answered()
    assert turn.standing.turn is SPEAKING


def test_the_watchdog_looks_after_an_owed_turn_only(turn: CallerTurn) -> None:
    turn.asked(1.0)
    assert turn.deadlines.next_at is None


def test_a_dropped_turn_is_forgotten(turn: CallerTurn) -> None:
    turn.committed("u1")
    turn.asked_again = 2
    turn.dropped()
    assert (turn.items, turn.asked_again, turn.standing.turn) == ([], 0, QUIET)
