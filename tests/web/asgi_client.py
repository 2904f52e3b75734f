"""A client for an ASGI application: requests as plain calls, answers as they are sent, disconnects at will."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, field
from starlette.types import ASGIApp, Message


@define
class Answer:
    """What the application has sent so far."""

    status: int = 0
    headers: dict[str, str] = field(factory=dict)
    body: bytes = b""
    pieces: list[tuple[float, bytes]] = field(factory=list)
    """Each piece of the body, with the time of its arrival."""
    done: bool = False
    leave: trio.Event = field(factory=trio.Event)
    """Set it to disconnect."""


@asynccontextmanager
async def request(
    app: ASGIApp,
    path: str,
    headers: Mapping[str, str] | None = None,
    method: str = "GET",
    body: bytes | None = b"",
    client: str = "192.0.2.7",
) -> AsyncIterator[Answer]:
    """Send a request; the answer grows while the block runs, which ends when it is complete.

    A `body` of None never comes.
    """
    answer = Answer()
    path, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": (client, 4711),
        "server": ("192.0.2.1", 8080),
    }
    requests = [] if body is None else [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await answer.leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            body = message.get("body", b"")
            answer.body += body
            if body:
                answer.pieces.append((trio.current_time(), body))
            answer.done = not message.get("more_body", False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, scope, receive, send)
        yield answer


async def get(
    app: ASGIApp,
    path: str,
    headers: Mapping[str, str] | None = None,
    method: str = "GET",
    body: bytes | None = b"",
    client: str = "192.0.2.7",
) -> Answer:
    """Send a request and wait for its whole answer."""
    async with request(app, path, headers, method, body, client) as answer:
        pass
    assert answer.done
    return answer
