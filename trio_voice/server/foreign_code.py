"""Errors of code that is not ours: tools and jobs of an agent.

Whatever such code raises ends itself, and nothing else: also what is no `Exception`, an `asyncio.CancelledError` for instance, or
the panic of an extension. What must pass is Trio's own cancellation.
"""

from __future__ import annotations

from collections.abc import Iterator

import trio


def failure_in(error: BaseException) -> BaseException | None:
    """Return what foreign code raised besides being cancelled by Trio; None: nothing."""
    if isinstance(error, BaseExceptionGroup):
        failure: BaseException | None = error.split(trio.Cancelled)[1]
        return failure
    return None if isinstance(error, trio.Cancelled) else error


def cancellation_in(error: BaseException) -> BaseException | None:
    """Return the cancellation by Trio in what was raised, which has to be raised again; None: there is none."""
    if isinstance(error, BaseExceptionGroup):
        cancellation: BaseException | None = error.split(trio.Cancelled)[0]
        return cancellation
    return error if isinstance(error, trio.Cancelled) else None


def leaves(error: BaseException) -> Iterator[BaseException]:
    """All errors in a group of groups; of a single error that one."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error
