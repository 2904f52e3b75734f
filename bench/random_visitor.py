"""Who comes to a server's door and is no caller: says nothing, half a request, or nonsense; reads a page, or follows a call."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from random import Random

import trio
from attrs import define, field

from bench.load import upgraded
from bench.random_caller import connected, reset_on_close

LONGEST_S = 12.0
"""Longer than the server waits for a request."""
READ_S = 0.5
PAGES = ("/healthz", "/readyz", "/metrics", "/api/v1/calls", "/", "/nowhere")


@define(eq=False)
class RandomVisitor:
    """One such visit. `token` opens the server's API; `calls` are the carrier's ids of calls that may be live."""

    random: Random
    token: str
    calls: tuple[str, ...]
    visits: dict[str, int] = field(factory=dict)
    """How many of each kind there were, of all visitors."""

    async def visit(self, port: int, tls: ssl.SSLContext | None) -> None:
        """Come and go. That the server ends it is part of the game."""
        visit = self.random.choice((self._be_silent, self._stop_in_the_head, self._talk_nonsense, self._read_a_page,
                                    self._follow_a_call, self._mistake_the_path, self._drop_the_upgrade))  # fmt: skip
        name = visit.__name__.strip("_")
        self.visits[name] = self.visits.get(name, 0) + 1
        try:
            stream = await connected(port, None if self.random.random() < 0.1 else tls)
            async with stream:
                await visit(stream)
                if self.random.random() < 0.5:
                    reset_on_close(stream)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
            pass

    async def read_every_page(self, port: int, tls: ssl.SSLContext | None) -> None:
        """Ask for all pages, and follow the calls for a moment: what a server loads for the first of their readers stays."""
        for path in (*PAGES, *(f"/calls/{call}/events" for call in self.calls)):
            async with await connected(port, tls) as stream:
                await stream.send_all(self._request(path, {"Authorization": f"Bearer {self.token}"}))
                with trio.move_on_after(READ_S):
                    while await stream.receive_some(4096):
                        pass

    async def _be_silent(self, _stream: trio.abc.Stream) -> None:
        await trio.sleep(self.random.uniform(0.0, LONGEST_S))

    async def _stop_in_the_head(self, stream: trio.abc.Stream) -> None:
        head = self._request("/media/twilio", {"Connection": "Upgrade", "Upgrade": "websocket"})
        await stream.send_all(head[: self.random.randrange(len(head))])
        await trio.sleep(self.random.uniform(0.0, LONGEST_S))

    async def _talk_nonsense(self, stream: trio.abc.Stream) -> None:
        await stream.send_all(self.random.randbytes(self.random.randrange(1, 5000)))
        await self._read(stream)

    async def _read_a_page(self, stream: trio.abc.Stream) -> None:
        await stream.send_all(self._request(self.random.choice(PAGES), self._key()))
        await self._read(stream)

    async def _follow_a_call(self, stream: trio.abc.Stream) -> None:
        call = self.random.choice(self.calls) if self.calls else "nobody"
        await stream.send_all(self._request(f"/calls/{call}/events", self._key()))
        await self._read(stream)

    async def _mistake_the_path(self, stream: trio.abc.Stream) -> None:
        await upgraded(stream, "/media/nobody")

    async def _drop_the_upgrade(self, stream: trio.abc.Stream) -> None:
        await upgraded(stream)

    async def _read(self, stream: trio.abc.Stream) -> None:
        """Read to the end, or for a moment, or not at all."""
        with trio.move_on_after(self.random.choice((0.0, 0.2, 5.0))):
            while await stream.receive_some(4096):
                pass

    def _key(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token if self.random.random() < 0.8 else 'wrong'}"}

    @staticmethod
    def _request(path: str, headers: Mapping[str, str]) -> bytes:
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()
