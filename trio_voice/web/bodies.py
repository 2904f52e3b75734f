"""Request bodies, read within bounds of size and time."""

from __future__ import annotations

from contextlib import aclosing
from typing import TypeVar

import msgspec
import trio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

BODY_LIMIT_BYTES = 64 * 1024
BODY_LIMIT_S = 10.0

Wanted = TypeVar("Wanted", bound=msgspec.Struct)


async def read_body(request: Request, *, limit_bytes: int = BODY_LIMIT_BYTES) -> bytes:
    """Read the whole body. Raises HTTPException: 413 beyond the limit, 408 when it takes too long, 400 when it breaks off."""
    pieces: list[bytes] = []
    size = 0
    try:
        with trio.fail_after(BODY_LIMIT_S):
            async with aclosing(request.stream()) as stream:
                async for piece in stream:
                    size += len(piece)
                    if size > limit_bytes:
                        raise HTTPException(413, f"the body is longer than {limit_bytes} bytes")
                    pieces.append(piece)
    except trio.TooSlowError:
        raise HTTPException(408, f"the body did not arrive within {BODY_LIMIT_S:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body broke off") from None
    return b"".join(pieces)


async def read_json(request: Request, kind: type[Wanted]) -> Wanted:
    """Read a body in JSON; an empty one counts as `{}`. Raises HTTPException: 422 for what does not fit, 400 for no JSON."""
    body = await read_body(request)
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if body and media_type != "application/json":
        raise HTTPException(415, "the body must be JSON: Content-Type: application/json")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise HTTPException(422, f"the body does not fit: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, f"the body is no JSON: {error}") from None
