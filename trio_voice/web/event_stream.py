"""Server-sent events, until they are over or their reader has left.

Starlette's own streaming answer loads the half of anyio that is for Trio when the first reader comes: one pass of the event loop
that took 27 to 39 ms, in which no caller was heard, and 0.7 MB that nothing else needs.
"""

from __future__ import annotations

from collections.abc import AsyncIterable

import trio
from attrs import frozen
from starlette.types import Receive, Scope, Send

HEADERS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))


@frozen
class EventStream:
    """An answer, as Starlette knows them, that is sent piece by piece, as the pieces come."""

    pieces: AsyncIterable[bytes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del scope
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave_with_the_reader, receive, nursery.cancel_scope)
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            async for piece in self.pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()


async def leave_with_the_reader(receive: Receive, scope: trio.CancelScope) -> None:
    """Wait until whoever made a request has gone, and cancel what is done for it."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
