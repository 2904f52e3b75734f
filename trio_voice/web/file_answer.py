"""A file as an answer: all of it, or the part that a player asks for. It is read piece by piece, in threads, within bounds.

Starlette's own answer loads the half of anyio that is for Trio when the first file is asked for (see `event_stream`), waits for
a disk as long as that likes, and is a 500 where there is no thread. No file is held open between two pieces: a reader may take
long.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import TypeVar

import structlog
import trio
from attrs import frozen
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from trio_voice.storage.threads import in_thread
from trio_voice.storage.wav_header import counted_bytes
from trio_voice.web.event_stream import leave_with_the_reader

log = structlog.get_logger(__name__)

PIECE_BYTES = 128 * 1024
READ_LIMIT_S = 10.0
"""How long the disk may take for a piece."""
READERS_LIMIT = 4
"""How many threads may read files at once: a disk that hangs must not use up those that write them."""
_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)
_T = TypeVar("_T")


@frozen
class FileAnswer:
    """An answer, as Starlette knows them, with a file that does not become shorter meanwhile, and that nobody may keep.

    Of a recording it is what its head counts when it is asked for: what is behind that was not heard.
    """

    path: Path
    media_type: str
    readers: trio.CapacityLimiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises HTTPException when the file cannot be read."""
        try:
            facts, size = await self._read(_measured, self.path)
            wanted = Headers(scope=scope)
            marks = {"last-modified": formatdate(facts.st_mtime, usegmt=True), "etag": f'"{facts.st_mtime_ns:x}-{size:x}"'}
            is_same = wanted.get("if-range") in {None, *marks.values()}
            asked_for = part_of(size, wanted.get("range", "")) if is_same else None
            part = range(size) if asked_for is None else asked_for
            has_body = scope["method"] != "HEAD"
            first = await self._piece(part) if has_body else b""
        except FileNotFoundError:
            raise HTTPException(404, "the file is gone") from None
        except OSError as error:
            raise HTTPException(503, f"the file cannot be read now ({error.strerror or error}); ask again") from None
        headers = {
            "content-type": self.media_type,
            "content-length": str(len(part)),
            "accept-ranges": "bytes",
            "cache-control": "no-store",
            **marks,
        }
        if asked_for is not None:
            headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        await send(
            {
                "type": "http.response.start",
                "status": 200 if asked_for is None else 206,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave_with_the_reader, receive, nursery.cancel_scope)
            await self._send(first, part[len(first) :] if has_body else range(0), send)
            nursery.cancel_scope.cancel()

    async def _send(self, piece: bytes, rest: range, send: Send) -> None:
        while rest:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            try:
                piece = await self._piece(rest)
            except OSError as error:
                # The answer is left unfinished: whoever reads it sees that, and can ask for the rest.
                log.warning("a file cannot be read to its end", path=str(self.path), error=error.strerror or str(error))
                return
            rest = rest[len(piece) :]
        await send({"type": "http.response.body", "body": piece, "more_body": False})

    async def _piece(self, part: range) -> bytes:
        return await self._read(_beginning, self.path, part)

    async def _read(self, read: Callable[..., _T], *arguments: object) -> _T:
        """Raises OSError, also when there is no thread, or the disk takes too long."""
        with trio.move_on_after(READ_LIMIT_S):
            return await in_thread(read, *arguments, limiter=self.readers)
        raise OSError(errno.ETIMEDOUT, f"the disk did not answer within {READ_LIMIT_S:g} s")


def part_of(size: int, wanted: str) -> range | None:
    """Return which bytes of a file a `Range` header wants (RFC 9110, section 14).

    None: all; so it is when the header cannot be read, or wants several parts, as that section allows. Raises HTTPException (416)
    when the file has none of those bytes.
    """
    found = _RANGE.fullmatch(wanted)
    if found is None or not (found[1] or found[2]):
        return None
    if found[1]:
        begin, end = int(found[1]), int(found[2]) + 1 if found[2] else size
        if found[2] and end <= begin:
            return None
    else:
        begin, end = max(0, size - int(found[2])), size
    if begin >= size:
        raise HTTPException(416, f"the file has {size} bytes", {"Content-Range": f"bytes */{size}"})
    return range(begin, min(end, size))


def _measured(path: Path) -> tuple[os.stat_result, int]:
    """What the system knows of a file, and how many bytes of it are for a reader. Raises OSError."""
    return path.stat(), counted_bytes(path)


def _beginning(path: Path, part: range) -> bytes:
    """Read the first piece of a part of a file. Raises OSError, also when the file has become shorter."""
    with path.open("rb", buffering=0) as file:
        piece = os.pread(file.fileno(), min(len(part), PIECE_BYTES), part.start)
    if part and not piece:
        raise OSError(errno.EIO, "the file has become shorter")
    return piece
