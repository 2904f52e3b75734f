"""Answers in JSON, and errors as RFC 9457 describes them."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

API_PATH = "/api/v1"
"""Below it, errors are JSON; elsewhere they are a line of text."""


class Problem(msgspec.Struct, frozen=True):
    """What went wrong with a request (RFC 9457, "Problem Details for HTTP APIs")."""

    status: int
    title: str
    detail: str


def json_answer(facts: object, *, status: int = 200) -> Response:
    """Answer with JSON that nobody may keep."""
    return Response(msgspec.json.encode(facts), status, {"Cache-Control": "no-store"}, media_type="application/json")


async def error_answer(request: Request, error: Exception) -> Response:
    """Say what was wrong, in the form that the path's readers expect."""
    assert isinstance(error, HTTPException)
    if not request.url.path.startswith(f"{API_PATH}/"):
        return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)
    problem = Problem(error.status_code, HTTPStatus(error.status_code).phrase, error.detail)
    return Response(msgspec.json.encode(problem), error.status_code, error.headers, media_type="application/problem+json")
