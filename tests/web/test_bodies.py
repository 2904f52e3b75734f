"""Bodies that are too long, too slow, broken or wrong."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
import trio
import trio.testing
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from trio_voice.web.bodies import BODY_LIMIT_BYTES, read_body, read_json


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    text: str = "nothing"


def request(*pieces: bytes, ends: bool = True, content_type: str | None = "application/json") -> Request:
    """A request whose body comes in pieces; one that does not end is silent after the last."""
    waiting: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": not ends or number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]

    async def receive() -> Message:
        await trio.lowlevel.checkpoint()
        if not waiting:
            await trio.sleep_forever()
        return waiting.pop(0)

    headers: Sequence[tuple[bytes, bytes]] = [(b"content-type", content_type.encode())] if content_type else []
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    return Request(scope, receive)


async def refusal(asked: Request) -> tuple[int, str]:
    with pytest.raises(HTTPException) as caught:
        await read_json(asked, Wish)
    return caught.value.status_code, caught.value.detail


async def test_a_body_comes_in_pieces_up_to_the_limit() -> None:
    assert await read_body(request(b"a" * 65_535, b"b")) == b"a" * 65_535 + b"b"
    assert BODY_LIMIT_BYTES == 65_536


async def test_r40_a_longer_body_is_refused_before_it_is_read_to_its_end() -> None:
    assert await refusal(request(b"a" * 65_536, b"b", ends=False)) == (413, "the body is longer than 65536 bytes")


async def test_r40_a_body_that_does_not_come_is_given_up_after_ten_seconds(autojump_clock: trio.testing.MockClock) -> None:
    assert await refusal(request(b"{", ends=False)) == (408, "the body did not arrive within 10 s")
    assert trio.current_time() == 10.0


async def test_a_body_that_breaks_off_is_told() -> None:
    async def receive() -> Message:
        await trio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    asked = Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}, receive)
    assert await refusal(asked) == (400, "the body broke off")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "the body is no JSON: Input data was truncated"),
        (b"\xff", 400, "the body is no JSON"),
        (b'{"text":' + b"[" * 60_000, 422, "the body does not fit"),
        (b'{"text":1}', 422, "the body does not fit: Expected `str`, got `int` - at `$.text`"),
        (b'{"txt":"a"}', 422, "the body does not fit: Object contains unknown field `txt`"),
        (b"[]", 422, "the body does not fit: Expected `object`, got `array`"),
    ],
)
async def test_what_is_wrong_with_a_body_is_said(body: bytes, status: int, says: str) -> None:
    found = await refusal(request(body))
    assert found[0] == status
    assert found[1].startswith(says)


async def test_only_json_is_read_and_nothing_is_everything_left_out() -> None:
    assert await refusal(request(b"text=a", content_type="application/x-www-form-urlencoded")) == (
        415,
        "the body must be JSON: Content-Type: application/json",
    )
    assert await read_json(request(b'{"text":"a"}', content_type=None), Wish) == Wish("a")
    assert await read_json(request(b'{"text":"a"}', content_type="Application/JSON; charset=utf-8"), Wish) == Wish("a")
    assert await read_json(request(b"", content_type=None), Wish) == Wish()
