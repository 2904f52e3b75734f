import pytest

from trio_voice.core.commands import Purpose
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.response import Request
from trio_voice.core.retries import Retries
from trio_voice.core.settings import CallSettings


@pytest.fixture
def retries() -> Retries:
    return Retries(CallSettings(failed_retries=3, failed_backoff_s=0.5), Deadlines())


def test_the_pause_doubles_and_has_an_end(retries: Retries) -> None:
    due = []
    for number in range(4):
        due.append((retries.failed(Request(Purpose.TURN), number, 10.0), retries.deadlines.at(Timer.RETRY)))
        assert retries.request == (Request(Purpose.RETRY) if number < 3 else None)
        assert retries.take() == (Request(Purpose.RETRY) if number < 3 else None)
    assert due == [(True, 10.5), (True, 11.0), (True, 12.0), (False, None)]


def test_success_forgets_the_failures(retries: Retries) -> None:
    for _ in range(3):
        retries.failed(None, 1, 0.0)
    retries.succeeded()
    assert retries.failed(None, 1, 0.0)
    assert retries.deadlines.at(Timer.RETRY) == 0.5


def test_instructions_are_kept_and_announcements_stay_what_they_are(retries: Retries) -> None:
    retries.failed(Request(Purpose.GREETING, "hi", then=Purpose.TURN), 1, 0.0)
    assert retries.take() == Request(Purpose.RETRY, "hi", then=Purpose.TURN)
    retries.failed(Request(Purpose.INJECTED_TEXT, "say"), 1, 0.0)
    assert retries.take() == Request(Purpose.INJECTED_TEXT, "say")
    retries.failed(None, 1, 0.0)
    assert retries.take() == Request(Purpose.RETRY)
    assert retries.take() is None


def test_a_response_that_begins_answers_a_plain_request(retries: Retries) -> None:
    retries.failed(Request(Purpose.TURN), 4, 0.0)
    retries.began(None, False)
    assert retries.deadlines.at(Timer.RETRY) == 0.5
    retries.began(None, True)
    assert (retries.take(), retries.deadlines.at(Timer.RETRY)) == (None, None)


@pytest.mark.parametrize(("number", "kept"), [(4, False), (5, True), (None, True)])
def test_and_one_with_instructions_only_if_it_is_its_own_late_answer(retries: Retries, number: int | None, kept: bool) -> None:
    retries.failed(Request(Purpose.GREETING, "hi"), 4, 0.0)
    retries.began(number, True)
    assert (retries.request is not None) == kept


def test_nothing_waits_and_one_begins(retries: Retries) -> None:
    retries.began(None, True)
    assert retries.request is None
