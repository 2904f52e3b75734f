"""A media-stream server for the phone's tests: the other end of a memory stream, with a script of its own."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, field
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

TONE = bytes([0x90, 0x10]) * 80
"""20 ms of a loud 4 kHz square wave in mu-law: -8 dBFS."""


@define(eq=False)
class FakeServer:
    """The server's end of one call: what the phone sent, with the time of its arrival, and the means to answer."""

    socket: WebSocketConnection
    received: list[tuple[float, dict[str, Any]]] = field(factory=list)
    closed: ConnectionClosed | None = None
    _arrival: trio.Event = field(factory=trio.Event, init=False)

    async def read(self) -> None:
        """Read until the socket closes."""
        while True:
            try:
                message = await self.socket.get_message()
            except ConnectionClosed as closed:
                self.closed = closed
                break
            self.received.append((trio.current_time(), json.loads(message)))
            self._arrival.set()
            self._arrival = trio.Event()
        self._arrival.set()

    async def started(self) -> str:
        """Wait for the stream's start; returns its streamSid."""
        while not self.of("start"):
            await self._arrival.wait()
        return str(self.of("start")[0]["streamSid"])

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return every message of one type."""
        return [message for _, message in self.received if message["event"] == event]

    def times_of(self, event: str) -> list[float]:
        """Return when each message of one type arrived."""
        return [at for at, message in self.received if message["event"] == event]

    async def send(self, event: str, **rest: object) -> None:
        sid = self.of("start")[0]["streamSid"]
        await self.socket.send_message(json.dumps({"event": event, "streamSid": sid, **rest}))

    async def play(self, audio: bytes) -> None:
        await self.send("media", media={"payload": b64encode(audio).decode()})

    async def mark(self, name: str) -> None:
        await self.send("mark", mark={"name": name})

    async def clear(self) -> None:
        await self.send("clear")


Script = Callable[[FakeServer], Awaitable[None]]


@asynccontextmanager
async def serving(script: Script, *, status: int = 101) -> AsyncIterator[tuple[trio.abc.Stream, list[FakeServer]]]:
    """Serve one call on a memory stream: yields the phone's end of it, and the server once the call is there."""
    phone_end, server_end = memory_stream_pair()
    servers: list[FakeServer] = []

    async def serve() -> None:
        async with trio.open_nursery() as connection:
            request = await wrap_server_stream(connection, server_end)
            if status != 101:
                await request.reject(status, body=b"no such path\n")
                return
            server = FakeServer(await request.accept())
            servers.append(server)
            connection.start_soon(server.read)
            await server.started()
            await script(server)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield phone_end, servers
        nursery.cancel_scope.cancel()
