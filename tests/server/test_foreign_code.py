"""Errors of tools and jobs, and the cancellation that must pass."""

import pytest
import trio

from trio_voice.server.foreign_code import cancellation_in, failure_in, leaves


class Panic(BaseException):
    """What an extension raises."""


@pytest.mark.parametrize("error", [ValueError("x"), Panic("x"), GeneratorExit(), SystemExit(1), KeyboardInterrupt()])
def test_whatever_it_raises_is_a_failure(error: BaseException) -> None:
    assert failure_in(error) is error
    assert cancellation_in(error) is None
    group = BaseExceptionGroup("several", [error])
    assert list(leaves(group)) == [error]
    failure = failure_in(group)
    assert failure is not None
    assert list(leaves(failure)) == [error]


async def test_a_cancellation_is_none_and_is_told_apart_in_a_group() -> None:
    seen: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            seen.append(error)
            raise
    (cancelled,) = seen
    assert (failure_in(cancelled), cancellation_in(cancelled)) == (None, cancelled)
    panic = Panic()
    mixed = BaseExceptionGroup("several", [cancelled, BaseExceptionGroup("more", [panic, cancelled])])
    failure, cancellation = failure_in(mixed), cancellation_in(mixed)
    assert failure is not None
    assert cancellation is not None
    assert list(leaves(failure)) == [panic]
    assert list(leaves(cancellation)) == [cancelled, cancelled]
