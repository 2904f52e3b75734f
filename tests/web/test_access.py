"""Who is let in."""

from __future__ import annotations

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from trio_voice.web.access import COOKIE, Access

ACCESS = Access("the-token")


def shown(headers: dict[str, str], method: str = "GET") -> int:
    """The status that a request with these headers gets."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": raw}
    try:
        ACCESS.check(Request(scope))
    except HTTPException as error:
        return error.status_code
    return 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer the-token"}, 200),
        ({"Authorization": "bearer  the-token "}, 200),
        ({"Authorization": "Bearer the-tokeN"}, 401),
        ({"Authorization": "Bearer the-token2"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Basic the-token"}, 401),
        ({"Cookie": f"{COOKIE}=the-token"}, 200),
        ({"Cookie": f"{COOKIE}=other"}, 401),
    ],
)
def test_r40_only_the_token_opens(headers: dict[str, str], status: int) -> None:
    assert shown(headers) == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://voice.example:8080", 200), ("http://evil.example", 403), ("null", 403), ("http://[", 403), (None, 403)],
)
def test_r40_a_page_of_another_site_does_nothing_with_our_cookie(origin: str | None, status: int) -> None:
    headers = {"Cookie": f"{COOKIE}=the-token", "Host": "voice.example:8080"} | ({"Origin": origin} if origin else {})
    assert shown(headers, "POST") == status
    assert shown(headers, "GET") == 200


def test_the_token_is_not_in_what_is_printed() -> None:
    assert "the-token" not in repr(ACCESS)
