"""Work that waits, for a disk for instance, in a thread; and what it means when there is none to be had."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

NO_THREAD = "the system gives this process no more threads"
_PYTHONS_WORDS = "can't start new thread"
_T = TypeVar("_T")


async def in_thread(function: Callable[..., _T], *args: object, limiter: trio.CapacityLimiter | None = None) -> _T:
    """Run a function in a thread, which is abandoned on cancellation: nothing can interrupt it in the disk.

    Raises what the function raises, and OSError when the system gives no thread: for whoever writes to a disk it is one more way
    in which that can fail, and passes like the others.
    """
    with needing_a_thread():
        return await trio.to_thread.run_sync(function, *args, limiter=limiter, abandon_on_cancel=True)


@contextmanager
def needing_a_thread() -> Iterator[None]:
    """Raise OSError when the system gives no thread in the block: Python has no type of its own for that.

    Trio takes one to start a process, and to resolve a host name.
    """
    try:
        yield
    except RuntimeError as error:
        if str(error) == _PYTHONS_WORDS:
            raise OSError(errno.EAGAIN, NO_THREAD) from None
        raise
