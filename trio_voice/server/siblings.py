"""The other workers of this server, asked for what they know: each answers its own pages on a Unix socket, too.

The sockets are in a folder that only this user can enter. Who is asked there answers for itself alone, and asks nobody. A worker
that has died, or is too busy to answer in time, is left out; whoever asks is told which ones are missing.
"""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx2
import structlog
import trio
from attrs import define, field

from trio_voice.errors import TrioVoiceError

log = structlog.get_logger(__name__)

ASK_LIMIT_S = 2.0
"""How long the others may take to answer."""
SILENCE_LIMIT_S = 45.0
"""How long an answer that goes on and on may pause: a feed says every 15 s that it is alive."""
BACKLOG = 128
_SOCKET = re.compile(r"(\d{1,5})\.sock")


class SiblingLost(TrioVoiceError):  # noqa: N818 - a fact in the past tense, like trio.Cancelled
    """Another worker cannot be reached, or does not answer."""


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

    async def ask(self, method: str, path: str) -> dict[int, httpx2.Response | None]:
        """Ask all of them at once; None for one that does not answer."""
        answers: dict[int, httpx2.Response | None] = {}

        async def ask_one(number: int, socket_file: Path) -> None:
            answers[number] = None
            try:
                with trio.move_on_after(ASK_LIMIT_S):
                    async with _client(socket_file) as client:
                        answers[number] = await client.request(method, path, headers=self._headers)
            except httpx2.TransportError:
                pass

        async with trio.open_nursery() as nursery:
            for number, socket_file in self._others().items():
                nursery.start_soon(ask_one, number, socket_file)
        self._tell_of_lost(frozenset(number for number, answer in answers.items() if answer is None))
        return answers

    @asynccontextmanager
    async def asked(self, number: int, method: str, path: str, body: bytes, kind: str) -> AsyncIterator[httpx2.Response]:
        """Ask one of them, and read its answer, however long that goes on, in the block. `kind` is the body's media type.

        Raises SiblingLost when there is none; what breaks off later raises httpx2.TransportError.
        """
        headers = {**self._headers, "Content-Type": kind} if body else self._headers
        async with _client(self.folder / f"{number}.sock") as client:
            request = client.build_request(method, path, headers=headers, content=body)
            answer: httpx2.Response | None = None
            try:
                with trio.move_on_after(ASK_LIMIT_S):
                    answer = await client.send(request, stream=True)
            except httpx2.TransportError as error:
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
    transport = httpx2.AsyncHTTPTransport(uds=str(socket_file), verify=False, trust_env=False)
    timeout = httpx2.Timeout(ASK_LIMIT_S, read=SILENCE_LIMIT_S)
    return httpx2.AsyncClient(transport=transport, base_url="http://worker", timeout=timeout, trust_env=False)
