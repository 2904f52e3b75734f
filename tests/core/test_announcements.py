import pytest

from trio_voice.core.announcements import MOST, Announcements
from trio_voice.core.commands import Purpose
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.response import Request
from trio_voice.core.settings import CallSettings

TEXT, OTHER = Request(Purpose.INJECTED_TEXT, "a"), Request(Purpose.INJECTED_TEXT, "b")
NOTICE = Request(Purpose.NOTICE, "soon")


@pytest.fixture
def announcements() -> Announcements:
    return Announcements(CallSettings(injected_text_wait_s=2.0), Deadlines())


def test_they_wait_in_their_order_and_the_first_sets_the_limit(announcements: Announcements) -> None:
    assert announcements.next_one is None
    announcements.put(TEXT, 1.0)
    announcements.put(OTHER, 2.0)
    assert announcements.deadlines.at(Timer.INJECTED_TEXT) == 3.0
    assert announcements.take() == TEXT
    assert announcements.deadlines.at(Timer.INJECTED_TEXT) == 3.0
    assert announcements.take() == OTHER
    assert announcements.deadlines.at(Timer.INJECTED_TEXT) is None


def test_a_notice_is_in_no_hurry(announcements: Announcements) -> None:
    announcements.put(NOTICE, 1.0)
    assert announcements.deadlines.at(Timer.INJECTED_TEXT) is None
    announcements.put(TEXT, 5.0)
    assert announcements.deadlines.at(Timer.INJECTED_TEXT) == 7.0


def test_one_that_was_not_heard_is_the_next_again(announcements: Announcements) -> None:
    announcements.put(OTHER, 1.0)
    announcements.put_back(TEXT, 1.0)
    assert announcements.next_one == TEXT


def test_the_limit_comes_back_while_something_waits(announcements: Announcements) -> None:
    announcements.put(TEXT, 1.0)
    announcements.deadlines.cancel(Timer.INJECTED_TEXT)
    announcements.waited(3.0)
    assert announcements.deadlines.at(Timer.INJECTED_TEXT) == 5.0
    assert announcements.drop() == [TEXT]
    announcements.waited(5.0)
    assert announcements.deadlines.at(Timer.INJECTED_TEXT) is None


def test_they_are_bounded(announcements: Announcements) -> None:
    assert [announcements.put(TEXT, 0.0) for _ in range(MOST + 1)] == [True] * MOST + [False]


def test_one_that_was_not_heard_has_its_limit_again(announcements: Announcements) -> None:
    announcements.put(TEXT, 1.0)
    announcements.put_back(announcements.take(), 4.0)
    assert announcements.deadlines.at(Timer.INJECTED_TEXT) == 6.0
