"""A timer that is a file. Its time is the system's: what is tested is that it goes off, and not when."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator

import pytest

from trio_voice.server.timer_file import TimerFile

LIMIT_S = 20.0
NEVER_S = 86_400.0
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")


@pytest.fixture
def timer() -> Iterator[TimerFile]:
    timer = TimerFile()
    yield timer
    timer.close()


def is_readable(timer: TimerFile, within_s: float = 0.0) -> bool:
    return bool(select.select([timer], [], [], within_s)[0])


def test_it_goes_off_once_set_and_stays_so(timer: TimerFile) -> None:
    assert not is_readable(timer)
    timer.set(0.001)
    assert is_readable(timer, LIMIT_S)
    assert is_readable(timer)


@pytest.mark.parametrize("after_s", [1e-12, 0.0])
def test_the_shortest_time_is_not_none(timer: TimerFile, after_s: float) -> None:
    timer.set(after_s)
    assert is_readable(timer, LIMIT_S)


def test_set_again_it_has_not_gone_off(timer: TimerFile) -> None:
    timer.set(0.001)
    assert is_readable(timer, LIMIT_S)
    timer.set(NEVER_S)
    assert not is_readable(timer)


def test_what_was_set_before_is_forgotten(timer: TimerFile) -> None:
    timer.set(NEVER_S)
    timer.set(0.001)
    assert is_readable(timer, LIMIT_S)


def test_closed_it_is_no_file_any_more() -> None:
    timer = TimerFile()
    timer.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(timer.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        timer.set(1.0)
