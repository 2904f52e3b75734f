"""Every answer carries the security headers; one that brings its own keeps it."""

from __future__ import annotations

import pytest
from starlette.types import Receive, Scope, Send

from tests.web.asgi_client import get
from tests.web.test_app import app_with
from trio_voice.web.headers import SECURITY_HEADERS, SecurityHeaders


@pytest.mark.parametrize("path", ["/", "/healthz", "/nowhere", "/assets/start.js", "/calls/x/events"])
async def test_every_answer_carries_the_headers(path: str) -> None:
    headers = (await get(app_with(), path)).headers
    assert {name: headers.get(name.lower()) for name in SECURITY_HEADERS} == SECURITY_HEADERS


async def test_an_answer_with_a_header_of_its_own_keeps_it() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"x-frame-options", b"SAMEORIGIN")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    answer = await get(SecurityHeaders(app), "/")
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert answer.headers["referrer-policy"] == "no-referrer"
