"""Work that waits, for a disk for instance, in a thread; and what it means when there is none to be had."""

from __future__ import annotations

import errno
from collections.abc import Callable
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
    try:
        return await trio.to_thread.run_sync(function, *args, limiter=limiter, abandon_on_cancel=True)
    except RuntimeError as error:
        if is_lack_of_threads(error):
            raise OSError(errno.EAGAIN, NO_THREAD) from None
        raise


def is_lack_of_threads(error: RuntimeError) -> bool:
    """Tell whether this is what Python says when the system gives no thread: it has no type of its own for that."""
    return str(error) == _PYTHONS_WORDS
