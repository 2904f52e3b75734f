"""The other workers of this server, asked for what they know: each answers its own pages on a Unix socket, too.

The sockets are in a folder that only this user can enter. Who is asked there answers for itself alone, and asks nobody. A worker
that has died, or is too busy to answer in time, is left out; whoever asks is told which ones are missing. One that was silent is
not waited for again in the next seconds: else each look would cost whoever looks the whole limit.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, TypeAlias

import structlog
import trio
from attrs import define, field

from trio_voice.errors import TrioVoiceError, UserError

if TYPE_CHECKING:
    import httpx2

log = structlog.get_logger(__name__)

LOOK_LIMIT_S = 0.5
"""How long the others may take to say what they know."""
SILENT_S = 5.0
"""How long one that did not answer within that time is taken to be silent."""
ASK_LIMIT_S = 2.0
"""How long the others may take to begin what is wished of them."""
SILENCE_LIMIT_S = 45.0
"""How long an answer that goes on and on may pause: a feed says every 15 s that it is alive."""
BACKLOG = 128
LONGEST_PATH = 107 if sys.platform == "linux" else 103
"""Of a Unix socket, in bytes: `sun_path` without its final zero (unix(7))."""
SHORT_FOLDER = "/tmp"  # noqa: S108 - a folder of our own is made in it
"""Where the sockets go if the path of the folder for temporary files is too long."""
_PREFIX = "trio-voice-"
_BEHIND = len(f"/{_PREFIX}12345678/65535.sock")
_SOCKET = re.compile(r"(\d{1,5})\.sock")
OK = 200
Answers: TypeAlias = "dict[int, httpx2.Response | None]"
"""What each said, by its number; None: nothing."""


class SiblingLost(TrioVoiceError):  # noqa: N818 - a fact in the past tense, like trio.Cancelled
    """Another worker cannot be reached, or does not answer."""


@contextmanager
def sockets_folder() -> Iterator[Path]:
    """A folder that only this user can enter, for the time of the block; its path is short enough for sockets in it.

    Raises UserError when there is none.
    """
    usual = gettempdir()
    parent = usual if _is_short(usual) else SHORT_FOLDER
    try:
        made = TemporaryDirectory(prefix=_PREFIX, dir=parent)
    except OSError as error:
        problem = "" if parent == usual else f"{usual} is too long a path (at most {LONGEST_PATH - _BEHIND} bytes), and "
        raise UserError(
            f"the workers find no folder for their sockets: {problem}{parent} cannot be used ({error.strerror}); "
            "set TMPDIR to a folder with a short path"
        ) from None
    with made as folder:
        yield Path(folder)


def _is_short(parent: str) -> bool:
    return len(os.fsencode(parent)) + _BEHIND <= LONGEST_PATH


@contextmanager
def private_listener(folder: Path, number: int) -> Iterator[trio.SocketListener]:
    """Listen where the other workers find worker `number`, for the time of the block."""
    path = folder / f"{number}.sock"
    path.unlink(missing_ok=True)  # of the one that had this number before, and died
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(BACKLOG)
        try:
            yield trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        finally:
            path.unlink(missing_ok=True)


@define(eq=False)
class Siblings:
    """The workers beside worker `number`; `folder` has their sockets, and `token` is that of the HTTP interface of all."""

    folder: Path
    number: int
    token: str = field(repr=False)
    _lost: frozenset[int] = field(default=frozenset(), init=False)
    _silent_until: dict[int, float] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        import_module("httpx2")  # now: it takes 0.1 s, in which a call would not be heard

    async def look(self, path: str) -> Answers:
        """Ask all of them at once what they know; None for one that does not answer, or did not a moment ago."""
        answers: Answers = {}
        async with trio.open_nursery() as nursery:
            for number, socket_file in self._others().items():
                nursery.start_soon(self._look_at, number, socket_file, path, answers)
        self._tell_of_lost(frozenset(number for number, answer in answers.items() if answer is None))
        return answers

    async def find(self, path: str) -> int | None:
        """Ask all of them at once, until one says 200; None: nobody did."""
        found: list[int] = []

        async def ask(number: int, socket_file: Path) -> None:
            answers: Answers = {}
            await self._look_at(number, socket_file, path, answers)
            answer = answers[number]
            if answer is not None and answer.status_code == OK:
                found.append(number)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for number, socket_file in self._others().items():
                nursery.start_soon(ask, number, socket_file)
        return found[0] if found else None

    async def tell(self, path: str) -> Answers:
        """Post something to all of them, also to those that were silent; None for one that does not answer."""
        answers: Answers = {}
        async with trio.open_nursery() as nursery:
            for number, socket_file in self._others().items():
                nursery.start_soon(self._ask, number, socket_file, "POST", path, ASK_LIMIT_S, answers)
        return answers

    async def _look_at(self, number: int, socket_file: Path, path: str, answers: Answers) -> None:
        answers[number] = None
        if trio.current_time() < self._silent_until.get(number, 0):
            await trio.lowlevel.checkpoint()
        elif await self._ask(number, socket_file, "GET", path, LOOK_LIMIT_S, answers):
            self._silent_until[number] = trio.current_time() + SILENT_S

    async def _ask(self, number: int, socket_file: Path, method: str, path: str, limit_s: float, answers: Answers) -> bool:
        """Ask one, and tell whether its time ran out. One that has died is known at once: another will take its place."""
        from httpx2 import TransportError  # noqa: PLC0415 - see `_client`

        answers[number] = None
        with trio.move_on_after(limit_s) as asking, suppress(TransportError):
            async with _client(socket_file) as client:
                answers[number] = await client.request(method, path, headers=self._headers)
        return asking.cancelled_caught

    @asynccontextmanager
    async def asked(self, number: int, method: str, path: str, body: bytes, kind: str) -> AsyncIterator[httpx2.Response]:
        """Ask one of them, and read its answer, however long that goes on, in the block. `kind` is the body's media type.

        Raises SiblingLost when there is none; what breaks off later raises httpx2.TransportError.
        """
        from httpx2 import TransportError  # noqa: PLC0415 - see `_client`

        headers = {**self._headers, "Content-Type": kind} if body else self._headers
        async with _client(self.folder / f"{number}.sock") as client:
            request = client.build_request(method, path, headers=headers, content=body)
            answer: httpx2.Response | None = None
            try:
                with trio.move_on_after(ASK_LIMIT_S):
                    answer = await client.send(request, stream=True)
            except TransportError as error:
                raise SiblingLost(f"worker {number} cannot be reached ({type(error).__name__})") from None
            if answer is None:
                raise SiblingLost(f"worker {number} does not answer within {ASK_LIMIT_S:g} s")
            try:
                yield answer
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + ASK_LIMIT_S):
                    await answer.aclose()

    @property
    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _others(self) -> dict[int, Path]:
        found = {}
        for path in self.folder.iterdir():
            named = _SOCKET.fullmatch(path.name)
            if named and int(named[1]) != self.number:
                found[int(named[1])] = path
        return dict(sorted(found.items()))

    def _tell_of_lost(self, lost: frozenset[int]) -> None:
        if lost != self._lost:
            self._lost = lost
            if lost:
                log.warning("some workers do not answer: their calls are not shown", workers=sorted(lost))


def _client(socket_file: Path) -> httpx2.AsyncClient:
    import httpx2  # noqa: PLC0415 - 1 MB, for nothing in a process that has no siblings

    transport = httpx2.AsyncHTTPTransport(uds=str(socket_file), verify=False, trust_env=False)
    timeout = httpx2.Timeout(ASK_LIMIT_S, read=SILENCE_LIMIT_S)
    return httpx2.AsyncClient(transport=transport, base_url="http://worker", timeout=timeout, trust_env=False)
