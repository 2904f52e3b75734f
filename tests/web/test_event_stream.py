"""Server-sent events, piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio
import trio.testing

from tests.web.asgi_client import request
from trio_voice.web.event_stream import EventStream


class Pieces:
    """One a second, so many."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        await trio.sleep(1)
        return b"data: %d\n\n" % self.left


async def test_each_piece_is_sent_as_it_comes_and_the_answer_ends_with_the_last(autojump_clock: trio.testing.MockClock) -> None:
    async with request(EventStream(Pieces(2)), "/") as answer:
        pass
    assert answer.done
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
    assert "content-length" not in answer.headers
    assert answer.pieces == [(1.0, b"data: 1\n\n"), (2.0, b"data: 0\n\n")]
    assert trio.current_time() == 2.0


async def test_it_ends_when_its_reader_leaves(autojump_clock: trio.testing.MockClock) -> None:
    pieces = Pieces(100)
    async with request(EventStream(pieces), "/") as answer:
        await trio.sleep(2.5)
        answer.leave.set()
    assert trio.current_time() == 2.5
    assert (answer.done, len(answer.pieces)) == (False, 2)
