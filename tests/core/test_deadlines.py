import pytest

from trio_voice.core.deadlines import Deadlines, Timer


@pytest.fixture
def deadlines() -> Deadlines:
    deadlines = Deadlines()
    deadlines.set(Timer.IDLE, 5.0)
    deadlines.set(Timer.MARK, 2.0)
    deadlines.set(Timer.TOOL, 2.0)
    return deadlines


def test_nothing_is_armed_at_first() -> None:
    deadlines = Deadlines()
    assert (deadlines.next_at, deadlines.next_timer, deadlines.pop_due(1e9)) == (None, None, None)


def test_the_earliest_is_next_and_ties_go_in_the_order_of_arming(deadlines: Deadlines) -> None:
    assert (deadlines.next_at, deadlines.next_timer) == (2.0, Timer.MARK)


def test_due_at_its_moment_and_not_before(deadlines: Deadlines) -> None:
    assert deadlines.pop_due(1.999999) is None
    assert [deadlines.pop_due(2.0) for _ in range(3)] == [Timer.MARK, Timer.TOOL, None]
    assert deadlines.armed() == {Timer.IDLE}


def test_setting_again_moves(deadlines: Deadlines) -> None:
    deadlines.set(Timer.MARK, 9.0)
    deadlines.set(Timer.TOOL, 7.0)
    assert (deadlines.next_at, deadlines.next_timer) == (5.0, Timer.IDLE)
    deadlines.set(Timer.TOOL, 1.0)
    assert (deadlines.next_at, deadlines.next_timer) == (1.0, Timer.TOOL)
    assert deadlines.at(Timer.MARK) == 9.0


def test_cancel_of_the_earliest_and_of_what_is_not_armed(deadlines: Deadlines) -> None:
    deadlines.cancel(Timer.MARK, Timer.TOOL, Timer.DIGITS)
    assert (deadlines.next_at, deadlines.next_timer) == (5.0, Timer.IDLE)
    deadlines.cancel(Timer.IDLE)
    assert deadlines.next_at is None
    assert deadlines.at(Timer.IDLE) is None


def test_keep_only(deadlines: Deadlines) -> None:
    deadlines.keep_only(Timer.IDLE, Timer.DONE)
    assert deadlines.armed() == {Timer.IDLE}
    deadlines.keep_only()
    assert deadlines.next_at is None
