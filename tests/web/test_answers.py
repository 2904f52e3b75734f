"""Errors: JSON for programs, a line for people."""

from __future__ import annotations

import json

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from trio_voice.web.answers import error_answer, json_answer


@pytest.mark.parametrize(
    ("path", "media_type", "body"),
    [
        (
            "/api/v1/calls/x",
            "application/problem+json",
            b'{"status":404,"title":"Not Found","detail":"no call \'x\' is in progress"}',
        ),
        ("/api", "text/plain; charset=utf-8", b"no call 'x' is in progress\n"),
    ],
)
async def test_an_error_is_told_as_its_readers_expect(path: str, media_type: str, body: bytes) -> None:
    request = Request({"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []})
    answer = await error_answer(request, HTTPException(404, "no call 'x' is in progress", {"X-More": "1"}))
    assert (answer.status_code, answer.headers["content-type"], bytes(answer.body)) == (404, media_type, body)
    assert answer.headers["x-more"] == "1"


def test_what_is_answered_is_kept_by_nobody() -> None:
    answer = json_answer({"a": 1}, status=202)
    assert (answer.status_code, json.loads(bytes(answer.body)), answer.headers["cache-control"]) == (202, {"a": 1}, "no-store")
