import pytest

from trio_voice.core.commands import AppendAudio, CloseSession, OpenSession
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.sessions import Sessions
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing
from trio_voice.core.states import CallState, TurnState


@pytest.fixture
def sessions() -> Sessions:
    settings = CallSettings(
        session_ready_limit_s=10.0,
        first_session_limit_s=4.0,
        reconnect_limit_s=15.0,
        reconnect_backoff_s=0.25,
        session_age_limit_s=100.0,
        gap_audio_ms=40,
    )
    return Sessions(settings, Standing(), Deadlines())


def serve(sessions: Sessions, now: float = 0.0) -> None:
    [opened] = sessions.open(now)
    assert isinstance(opened, OpenSession)
    assert sessions.ready(opened.session)
    sessions.take_over(now)


def test_the_first_has_number_one_and_two_limits(sessions: Sessions) -> None:
    assert sessions.open(1.0) == [OpenSession(1)]
    assert (sessions.deadlines.at(Timer.SESSION_READY), sessions.deadlines.at(Timer.RECONNECT)) == (11.0, 5.0)


def test_a_session_that_is_ready_is_the_spare_until_it_takes_over(sessions: Sessions) -> None:
    sessions.open(0.0)
    assert sessions.ready(1)
    assert (sessions.opening, sessions.spare, sessions.standing.session) == (None, 1, None)
    assert sessions.deadlines.at(Timer.SESSION_READY) is None
    assert sessions.take_over(2.0) == []
    assert (sessions.spare, sessions.standing.session) == (None, 1)
    assert (sessions.deadlines.at(Timer.RECONNECT), sessions.deadlines.at(Timer.SESSION_AGE)) == (None, 102.0)


def test_the_next_closes_the_one_before(sessions: Sessions) -> None:
    serve(sessions)
    sessions.open(5.0)
    assert sessions.deadlines.at(Timer.RECONNECT) is None
    sessions.ready(2)
    assert sessions.take_over(6.0) == [CloseSession(1)]
    assert sessions.standing.session == 2


@pytest.mark.parametrize("session", [0, 2])
def test_a_session_that_nobody_waits_for(sessions: Sessions, session: int) -> None:
    sessions.open(0.0)
    assert not sessions.ready(session)
    assert sessions.opening == 1


def test_the_pause_doubles_with_each_failure_and_is_forgotten_when_a_session_works(sessions: Sessions) -> None:
    delays = []
    for number in range(1, 5):
        [opened] = sessions.open(0.0)
        assert isinstance(opened, OpenSession)
        delays.append(opened.delay_s)
        assert not sessions.lost(number, 0.0)
    assert delays == [0.0, 0.25, 0.5, 1.0]
    sessions.open(0.0)
    assert sessions.deadlines.at(Timer.SESSION_READY) == 12.0
    sessions.ready(5)
    sessions.take_over(0.0)
    sessions.proved()
    assert sessions.open(0.0) == [OpenSession(6)]


def test_a_session_that_is_lost_before_it_worked_is_a_failure_too(sessions: Sessions) -> None:
    serve(sessions)
    assert sessions.lost(1, 0.0)
    assert sessions.open(0.0) == [OpenSession(2, 0.25)]
    sessions.ready(2)
    assert not sessions.lost(2, 0.0)
    assert sessions.open(0.0) == [OpenSession(3, 0.5)]
    sessions.ready(3)
    sessions.take_over(0.0)
    sessions.proved()
    sessions.lost(3, 0.0)
    assert sessions.open(0.0) == [OpenSession(4)]


def test_the_pause_has_an_end(sessions: Sessions) -> None:
    sessions.failures = 1000
    assert sessions.open(0.0) == [OpenSession(1, 0.25 * 2**10)]


def test_attempts_share_one_limit(sessions: Sessions) -> None:
    sessions.open(0.0)
    sessions.lost(1, 0.0)
    sessions.open(3.0)
    assert sessions.deadlines.at(Timer.RECONNECT) == 4.0


def test_a_caller_who_was_answered_waits_longer_than_one_who_has_heard_nothing(sessions: Sessions) -> None:
    sessions.standing.call = CallState.GREETING
    sessions.open(0.0)
    assert sessions.deadlines.at(Timer.RECONNECT) == 15.0


def test_the_limit_runs_from_the_loss_even_if_a_successor_is_being_opened(sessions: Sessions) -> None:
    serve(sessions)
    sessions.standing.call = CallState.CONVERSING
    sessions.open(1.0)
    assert sessions.deadlines.at(Timer.RECONNECT) is None
    sessions.lost(1, 2.0)
    assert sessions.deadlines.at(Timer.RECONNECT) == 17.0


def test_losing_the_serving_the_spare_and_a_stranger(sessions: Sessions) -> None:
    serve(sessions)
    sessions.open(0.0)
    sessions.ready(2)
    assert [sessions.is_known(session) for session in (1, 2, 7)] == [True, True, False]
    assert [sessions.coming, sessions.lost(2, 0.0), sessions.coming] == [True, False, False]
    assert sessions.spare is None
    assert sessions.lost(1, 0.0)
    assert (sessions.standing.session, sessions.deadlines.at(Timer.SESSION_AGE)) == (None, None)


def test_an_opening_that_takes_too_long_is_closed(sessions: Sessions) -> None:
    assert sessions.give_up_opening(0.0) == []
    sessions.open(0.0)
    assert sessions.give_up_opening(10.0) == [CloseSession(1)]
    assert sessions.opening is None


def test_what_the_caller_says_meanwhile_is_kept_up_to_the_bound(sessions: Sessions) -> None:
    for letter in (b"a", b"b", b"c"):
        sessions.keep(letter * 160)
    serve(sessions)
    assert sessions.hand_on() == [AppendAudio(1, b"b" * 160), AppendAudio(1, b"c" * 160)]
    assert sessions.hand_on() == []


def test_what_was_committed_makes_room(sessions: Sessions) -> None:
    serve(sessions)
    sessions.standing.turn = TurnState.SPEAKING
    for letter in (b"a", b"b"):
        sessions.keep(letter * 160)
    sessions.committed()
    for letter in (b"c", b"d"):
        sessions.keep(letter * 160)
    assert sessions.hand_on() == [AppendAudio(1, b"c" * 160), AppendAudio(1, b"d" * 160)]
