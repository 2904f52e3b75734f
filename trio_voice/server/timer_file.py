"""A timer that is a file (Linux's timerfd), so that it can be waited for together with sockets.

One of Trio's timeouts takes a cancel scope and ends the wait with an exception, which is unwound through all that waits: with
this, a wait that is ended by the time, two hundred times a second, takes two thirds of it.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time

from attrs import define, field

_NANOSECONDS = 1_000_000_000

if sys.version_info >= (3, 13):

    def _create() -> int:
        return os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def python_set_timer(fileno: int, after_ns: int, /) -> None:
        """Have a timer go off once, so much later. Raises OSError."""
        os.timerfd_settime_ns(fileno, initial=after_ns)

else:
    _libc = ctypes.CDLL(None, use_errno=True)
    _Setting = ctypes.c_long * 4
    """What C calls an itimerspec: seconds and nanoseconds from one time to the next, and those to the first."""

    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def _create() -> int:
        return _checked(_libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))

    def python_set_timer(fileno: int, after_ns: int, /) -> None:
        """Have a timer go off once, so much later. Raises OSError."""
        setting = _Setting(0, 0, after_ns // _NANOSECONDS, after_ns % _NANOSECONDS)
        _checked(_libc.timerfd_settime(fileno, 0, setting, None))


try:
    from trio_voice._speedups import set_timer as compiled_set_timer
except ImportError:  # it was installed where nothing could compile it
    set_timer = python_set_timer
else:
    set_timer = compiled_set_timer


@define(eq=False)
class TimerFile:
    """It is readable once its time has come, until it is set again. Raises OSError where the system gives none."""

    _number: int = field(factory=lambda: _create(), init=False)  # noqa: PLW0108 - Linux's, and looked for when it is used

    def fileno(self) -> int:
        """Its number, for an epoll set."""
        return self._number

    def set(self, after_s: float) -> None:
        """Have it go off in so many seconds, more than 0, and not at the time set before."""
        set_timer(self._number, max(1, int(after_s * _NANOSECONDS)))

    def close(self) -> None:
        """Let the file go."""
        os.close(self._number)
