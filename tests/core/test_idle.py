import pytest

from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.idle import IdleClock
from trio_voice.core.settings import CallSettings


@pytest.fixture
def deadlines() -> Deadlines:
    return Deadlines()


def clock(deadlines: Deadlines, idle_s: float = 10.0) -> IdleClock:
    return IdleClock(CallSettings(idle_s=idle_s), deadlines)


def test_quiet_arms_it(deadlines: Deadlines) -> None:
    idle = clock(deadlines)
    idle.observe(False, 0.0)
    assert deadlines.at(Timer.IDLE) is None
    idle.observe(True, 1.0)
    idle.observe(True, 5.0)
    assert deadlines.at(Timer.IDLE) == 11.0


def test_activity_pauses_it_and_does_not_reset_it(deadlines: Deadlines) -> None:
    idle = clock(deadlines)
    idle.observe(True, 0.0)
    idle.observe(False, 4.0)
    assert deadlines.at(Timer.IDLE) is None
    idle.observe(True, 20.0)
    assert deadlines.at(Timer.IDLE) == 26.0


def test_reset_begins_again(deadlines: Deadlines) -> None:
    idle = clock(deadlines)
    idle.observe(True, 0.0)
    idle.prompts = 2
    idle.reset(prompts=False)
    assert (deadlines.at(Timer.IDLE), idle.prompts) == (None, 2)
    idle.observe(True, 3.0)
    assert deadlines.at(Timer.IDLE) == 13.0
    idle.reset(prompts=True)
    assert idle.prompts == 0


def test_zero_is_never(deadlines: Deadlines) -> None:
    idle = clock(deadlines, idle_s=0.0)
    idle.observe(True, 0.0)
    assert deadlines.next_at is None
