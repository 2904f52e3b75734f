"""Work in a thread, where the system gives one and where it does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from trio_voice.storage.threads import NO_THREAD, in_thread


@contextmanager
def no_thread() -> Iterator[None]:
    """Take away the threads that wait for work, and have the system refuse new ones: nobody has so much memory for a stack."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trio._core._thread_cache.THREAD_CACHE._idle_workers", {})
        before = threading.stack_size(1 << 46)
        try:
            yield
        finally:
            threading.stack_size(before)


async def test_what_a_function_returns_and_raises_in_a_thread_comes_back() -> None:
    me = threading.get_ident()
    assert await in_thread(lambda one, other: (one + other, threading.get_ident() == me), 1, 2) == (3, False)
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)

    def complain() -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        await in_thread(complain)


async def test_a_system_that_gives_no_thread_is_like_a_disk_that_takes_nothing_and_later_it_does() -> None:
    limiter = trio.CapacityLimiter(1)
    with no_thread(), pytest.raises(OSError, match=NO_THREAD):
        await in_thread(int, "5", limiter=limiter)
    assert limiter.borrowed_tokens == 0
    assert await in_thread(int, "5", limiter=limiter) == 5
