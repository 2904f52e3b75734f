"""A caller of whom nothing can be expected: speaks or not, echoes marks or not, and leaves in every way that a peer can leave."""

from __future__ import annotations

import base64
import socket
import struct
from enum import Enum
from random import Random

import msgspec
import trio
from attrs import define, field

from bench.load import FRAME_BYTES, FRAME_S, client_frame, server_frames, upgraded

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
ANSWER_LIMIT_S = 20.0
GARBAGE = (
    b"",
    b"{",
    b"\x00\xff",
    b'{"event":7}',
    b'{"event":"media","media":{}}',
    b"[]" * 50,
    b'{"event":"media","media":{"payload":"*"}}',
)


class Leaving(Enum):
    """How a caller ends its call."""

    STOP = "stop"
    """As a carrier does: a stop message, then the close handshake."""
    CLOSE = "close"
    """The close handshake alone."""
    RESET = "reset"
    """A reset of the TCP connection."""
    VANISH = "vanish"
    """Nothing more is sent or read, and the connection stays open: a cable was cut."""
    WAIT = "wait"
    """The caller says nothing more and lets the server end the call."""


@define(eq=False)
class Story:
    """What all callers did and saw together."""

    calls: int = 0
    refused: int = 0
    """Connections that the server did not take, or gave up before the call began."""
    frames: int = 0
    heard_bytes: int = 0
    ended_by_server: int = 0
    leavings: dict[str, int] = field(factory=dict)


@define(eq=False)
class RandomCaller:
    """One such call. `speech` and `quiet` are mu-law audio, whole frames."""

    number: int
    random: Random
    speech: bytes
    quiet: bytes
    story: Story
    longest_s: float = 8.0
    _buffer: bytearray = field(factory=bytearray, init=False)
    _speaking_until: int = field(default=0, init=False)
    _echoes_marks: bool = field(default=True, init=False)
    _sending: trio.Lock = field(factory=trio.Lock, init=False)

    async def call(self, port: int) -> None:
        """Live one call. A server that ends it early is part of the game; a connection that it does not take is counted."""
        leaving = self.random.choice(list(Leaving))
        self._echoes_marks = self.random.random() < 0.8
        self.story.calls += 1
        self.story.leavings[leaving.value] = self.story.leavings.get(leaving.value, 0) + 1
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            self.story.refused += 1
            return
        async with stream:
            try:
                await self._live(stream, leaving)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                self.story.ended_by_server += 1

    async def _live(self, stream: trio.SocketStream, leaving: Leaving) -> None:
        try:
            self._buffer += await upgraded(stream)
        except ConnectionError:
            self.story.refused += 1
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, stream, nursery.cancel_scope)
            await self._speak(stream)
            if leaving is Leaving.STOP:
                await self._send(stream, {"event": "stop", "streamSid": self._stream_sid, "stop": {"callSid": self._call_sid}})
            if leaving in (Leaving.STOP, Leaving.CLOSE):
                await self._send_frame(stream, _CLOSE, b"\x03\xe8")
            if leaving is Leaving.RESET:
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                nursery.cancel_scope.cancel()
            if leaving is Leaving.VANISH:
                nursery.cancel_scope.cancel()
            await trio.sleep(ANSWER_LIMIT_S if leaving is not Leaving.WAIT else 3 * ANSWER_LIMIT_S)
            nursery.cancel_scope.cancel()
        if leaving is Leaving.VANISH:
            await trio.sleep(self.random.uniform(0.0, ANSWER_LIMIT_S))

    @property
    def _stream_sid(self) -> str:
        return f"MZ{self.number:032x}"

    @property
    def _call_sid(self) -> str:
        return f"CA{self.number:032x}"

    async def _speak(self, stream: trio.SocketStream) -> None:
        if self.random.random() < 0.05:
            return  # it never says `start`
        await self._send(stream, {"event": "connected", "protocol": "Call", "version": "1.0.0"})
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        ids = {"accountSid": "AC", "callSid": self._call_sid, "streamSid": self._stream_sid}
        start = {**ids, "tracks": ["inbound"], "mediaFormat": media_format, "customParameters": {}}
        await self._send(stream, {"event": "start", "sequenceNumber": "1", "streamSid": self._stream_sid, "start": start})
        began_at, count = trio.current_time(), 0
        until = began_at + self.random.uniform(0.0, self.longest_s)
        while trio.current_time() < until:
            await trio.sleep_until(began_at + count * FRAME_S)
            payload = base64.b64encode(self._frame(count)).decode()
            media = {"track": "inbound", "chunk": str(count + 1), "timestamp": str(count * 20), "payload": payload}
            await self._send(stream, {"event": "media", "streamSid": self._stream_sid, "media": media})
            self.story.frames += 1
            count += 1
            await self._disturb(stream)

    def _frame(self, count: int) -> bytes:
        if count >= self._speaking_until + 50 and self.random.random() < 0.02:
            self._speaking_until = count + self.random.randrange(5, 100)
        source = self.speech if count < self._speaking_until else self.quiet
        at = count * FRAME_BYTES % (len(source) - FRAME_BYTES)
        return source[at : at + FRAME_BYTES]

    async def _disturb(self, stream: trio.SocketStream) -> None:
        dice = self.random.random()
        if dice < 0.002:
            await self._send_frame(stream, _TEXT, self.random.choice(GARBAGE))
        elif dice < 0.006:
            digit = self.random.choice("0123456789*#")
            await self._send(
                stream, {"event": "dtmf", "streamSid": self._stream_sid, "dtmf": {"track": "inbound", "digit": digit}}
            )
        elif dice < 0.008:
            await self._send(stream, {"event": "mark", "streamSid": self._stream_sid, "mark": {"name": "never sent"}})

    async def _send(self, stream: trio.SocketStream, message: object) -> None:
        await self._send_frame(stream, _TEXT, msgspec.json.encode(message))

    async def _send_frame(self, stream: trio.SocketStream, opcode: int, payload: bytes) -> None:
        async with self._sending:
            await stream.send_all(client_frame(opcode, payload))

    async def _listen(self, stream: trio.SocketStream, call: trio.CancelScope) -> None:
        while True:
            for opcode, payload in server_frames(self._buffer):
                if opcode == _CLOSE:
                    self.story.ended_by_server += 1
                    call.cancel()
                elif opcode == _PING:
                    await self._send_frame(stream, _PONG, payload)
                elif opcode == _TEXT:
                    await self._hear(stream, payload)
            data = await stream.receive_some()
            if not data:
                call.cancel()
                return
            self._buffer += data

    async def _hear(self, stream: trio.SocketStream, payload: bytes) -> None:
        message = msgspec.json.decode(payload)
        if message["event"] == "media":
            self.story.heard_bytes += len(message["media"]["payload"]) * 3 // 4
        elif message["event"] == "mark" and self._echoes_marks:
            await self._send(stream, {"event": "mark", "streamSid": self._stream_sid, "mark": message["mark"]})
