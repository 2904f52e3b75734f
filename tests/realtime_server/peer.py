"""A WebSocket client over a memory stream, framed by wsproto: an independent reader of what the server writes."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
import trio.testing
from attrs import define, field
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from tests.realtime_server.wire import ONE_SENTENCE
from trio_voice.realtime_server.script import Script
from trio_voice.realtime_server.server import ModelServer, ModelServerSettings
from trio_voice.realtime_server.voice import VoicePool, VoiceSettings

TARGET = "/v1/realtime?model=gpt-realtime-2.1"
KEY = (b"Authorization", b"Bearer sk-test")


@define
class Peer:
    """A client. `receive` answers PINGs and joins fragments."""

    stream: trio.StapledStream[Any, Any]
    answers_pings: bool = True
    pings: list[tuple[float, bytes]] = field(factory=list)
    protocol: str | None = None
    closed: tuple[int, str | None] | None = None
    rejected: int | None = None
    body: bytes = b""
    _ws: WSConnection = field(factory=lambda: WSConnection(ConnectionType.CLIENT))
    _events: deque[Event] = field(factory=deque)

    async def open(
        self,
        target: str = TARGET,
        headers: Sequence[tuple[bytes, bytes]] = (KEY,),
        protocols: Sequence[str] = (),
        *,
        deflate: bool = False,
    ) -> bool:
        """Upgrade; False when the server answers by plain HTTP."""
        extensions = [PerMessageDeflate()] if deflate else []
        request = Request("model", target, extensions=extensions, extra_headers=list(headers), subprotocols=list(protocols))
        await self.stream.send_all(self._ws.send(request))
        while True:
            match await self.event():
                case AcceptConnection(subprotocol=subprotocol):
                    self.protocol = subprotocol
                    return True
                case RejectConnection(status_code=status):
                    self.rejected = status
                case RejectData(data=data, body_finished=finished):
                    self.body += data
                    if finished:
                        return False

    async def event(self) -> Event:
        """Return the next event of the framing."""
        while not self._events:
            data = await self.stream.receive_some(65536)
            self._ws.receive_data(bytes(data) or None)
            self._events.extend(self._ws.events())
        return self._events.popleft()

    async def receive(self) -> dict[str, Any] | None:
        """Return the next server event; None when the server has closed (see `closed`)."""
        text = ""
        while True:
            match await self.event():
                case TextMessage(data=data, message_finished=finished):
                    text += data
                    if finished:
                        event: dict[str, Any] = json.loads(text)
                        return event
                case Ping() as ping:
                    self.pings.append((trio.current_time(), bytes(ping.payload)))
                    if self.answers_pings:
                        await self.stream.send_all(self._ws.send(ping.response()))
                case CloseConnection() as close:
                    self.closed = (close.code, close.reason)
                    if close.code != 1006 and self._ws.state.name == "REMOTE_CLOSING":
                        with suppress(trio.BrokenResourceError):  # the server does not wait for it after a broken frame
                            await self.stream.send_all(self._ws.send(close.response()))
                    return None

    async def until(self, kind: str) -> dict[str, Any]:
        """Return the next event of that type; everything before it is dropped."""
        while True:
            event = await self.receive()
            assert event is not None, f"closed with {self.closed} before {kind}"
            if event["type"] == kind:
                return event

    async def send(self, type_: str, **fields: Any) -> None:
        """Send a client event."""
        await self.send_message(json.dumps({"type": type_, **fields}))

    async def send_message(self, message: str | bytes) -> None:
        """Send anything."""
        framed: Message[Any] = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        await self.stream.send_all(self._ws.send(framed))

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Send CLOSE."""
        await self.stream.send_all(self._ws.send(CloseConnection(code, reason)))


@define
class Host:
    """A server whose connections are memory streams."""

    server: ModelServer
    nursery: trio.Nursery

    def dial(self) -> Peer:
        """Connect; the upgrade is the peer's."""
        client, server = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.server.handle, server)
        return Peer(client)

    async def connect(self) -> Peer:
        """Connect and open a session; its `session.created` is the next event."""
        peer = self.dial()
        assert await peer.open()
        return peer

    async def ask(self, request: bytes) -> tuple[int, dict[str, Any]]:
        """Send a plain HTTP request and return status and JSON body of the answer."""
        client, server = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.server.handle, server)
        await client.send_all(request)
        answer = b""
        while data := await client.receive_some(65536):
            answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)


@asynccontextmanager
async def hosting(script: Script = ONE_SENTENCE, **settings: Any) -> AsyncIterator[Host]:
    """Run a server that speaks in tones."""
    async with trio.open_nursery() as nursery, VoicePool(VoiceSettings(engine="tones")) as voice:
        yield Host(ModelServer(ModelServerSettings(script=script, seed=1, **settings), voice, script.switches), nursery)
        nursery.cancel_scope.cancel()
