"""Server-sent events, until they are over or their reader has left.

Starlette's own streaming answer loads the half of anyio that is for Trio when the first reader comes: one pass of the event loop
that took 27 to 39 ms, in which no caller was heard, and 0.7 MB that nothing else needs.
"""

from __future__ import annotations

from collections.abc import AsyncIterable

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStream(Response):
    """An answer that is sent piece by piece, as the pieces come."""

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces = pieces
        self.status_code = 200
        self.background = None
        self.init_headers(HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del scope
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_leave_with_the_reader, receive, nursery.cancel_scope)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in self._pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel()


async def _leave_with_the_reader(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
