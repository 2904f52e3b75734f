import pytest

from trio_voice.core.commands import Refusal
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing
from trio_voice.core.states import TurnState
from trio_voice.core.turns import MOST_ITEMS, CallerTurn

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
    turn.dropped()
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


def test_a_commit_without_speech_is_a_turn_and_so_is_another_one_before_the_reply(turn: CallerTurn) -> None:
    assert turn.committed("u1")
    assert turn.committed("u2")
    assert turn.standing.turn is OWED


def test_a_cough_is_remembered_by_its_item(turn: CallerTurn) -> None:
    turn.speech_started(1.0)
    assert turn.was_nobodys("u1", Refusal.TOO_SHORT) == []
    assert where(turn) == (QUIET, {})
    assert [turn.why_nobodys(item) for item in ("u1", "u2")] == [Refusal.TOO_SHORT, None]


def test_what_was_committed_of_a_cough_already(turn: CallerTurn) -> None:
    turn.speech_started(1.0)
    turn.committed("u1")
    assert turn.was_nobodys("u2", Refusal.ECHO) == ["u1"]
    assert turn.items == []


def test_a_turn_is_carried_over_to_another_session(turn: CallerTurn) -> None:
    turn.standing.turn = OWED
    assert turn.carried_over(1.0)
    assert where(turn) == (OWED, {Timer.WATCHDOG: 4.0})


@pytest.mark.parametrize("state", [SPEAKING, ENDING, COMMITTING])
def test_speech_is_only_if_something_of_it_was_committed(turn: CallerTurn, state: TurnState) -> None:
    turn.standing.turn = state
    assert not turn.carried_over(1.0)
    assert where(turn) == (QUIET, {})
    turn.speech_started(2.0)
    turn.committed("u1")
    assert turn.carried_over(3.0)
    assert (turn.items, turn.standing.turn) == (["u1"], OWED)


def test_speech_without_end_is_over_at_its_limit(turn: CallerTurn) -> None:
    turn.speech_started(1.0)
    assert not turn.ended(61.0)
    assert where(turn) == (COMMITTING, {Timer.COMMIT: 62.0})


def test_a_dropped_turn_is_forgotten(turn: CallerTurn) -> None:
    turn.committed("u1")
    turn.asked_again = 2
    turn.dropped()
    assert (turn.items, turn.asked_again, turn.standing.turn) == ([], 0, QUIET)


def test_the_items_of_a_turn_are_bounded(turn: CallerTurn) -> None:
    turn.speech_started(0.0)
    for number in range(MOST_ITEMS + 1):
        turn.committed(f"u{number}")
    assert turn.items == [f"u{number}" for number in range(1, MOST_ITEMS + 1)]


def test_speech_that_is_reported_twice_is_as_new_as_it_was(turn: CallerTurn) -> None:
    turn.speech_started(0.0)
    turn.speech_started(0.1)
    assert turn.is_new
    turn.speech_stopped(0.2)
    turn.speech_started(0.3)
    turn.speech_started(0.4)
    assert not turn.is_new
