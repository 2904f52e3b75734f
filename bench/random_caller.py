"""A caller of whom nothing can be expected.

It speaks or not, often while the agent does, echoes marks or not, reads late, sends in bursts and in fragments, over TCP or TLS,
and leaves in every way that a peer can leave.
"""

from __future__ import annotations

import base64
import socket
import ssl
import struct
from enum import Enum
from random import Random

import msgspec
import trio
from attrs import define, field

from bench.load import FRAME_BYTES, FRAME_S, client_frame, server_frames, upgraded

_CONTINUATION, _TEXT, _CLOSE, _PING, _PONG = 0, 1, 8, 9, 10
_NOT_FINAL = 0x7F
"""What is left of a frame's first byte when its message goes on in another frame."""
BURST_FRAMES = 100
BEGINS_TO_SPEAK, INTERRUPTS = 0.02, 0.05
"""How likely a caller begins to speak within a frame's time: while the agent is silent, and while it speaks."""
READS_LATE = 0.01
ANSWER_LIMIT_S = 12.0
"""So long a server may take to end a call that the caller has ended; three times as long for one that just fell silent."""
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
    cleared: int = 0
    """Times that what a caller was to hear was taken back, because it had begun to speak."""
    left_waiting: int = 0
    """Callers whose call the server did not end in time."""
    leavings: dict[str, int] = field(factory=dict)


TcpOrTls = trio.SocketStream | trio.SSLStream[trio.SocketStream]


async def connected(port: int, tls: ssl.SSLContext | None) -> TcpOrTls:
    """Connect to a server on this machine. Raises OSError, and trio.BrokenResourceError later when TLS is not agreed on."""
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    return tcp if tls is None else trio.SSLStream(tcp, tls, server_hostname="localhost", https_compatible=True)


def reset_on_close(stream: TcpOrTls) -> None:
    """Have the connection reset, and not ended, when it is closed."""
    tcp = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


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
    _agent_until: float = field(default=0.0, init=False)
    """When what came from the agent will have been played."""
    _sending: trio.Lock = field(factory=trio.Lock, init=False)

    async def call(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Live one call. A server that ends it early is part of the game; a connection that it does not take is counted."""
        leaving = self.random.choice(list(Leaving))
        self._echoes_marks = self.random.random() < 0.8
        self.story.calls += 1
        self.story.leavings[leaving.value] = self.story.leavings.get(leaving.value, 0) + 1
        try:
            stream = await connected(port, tls)
        except OSError:
            self.story.refused += 1
            return
        async with stream:
            try:
                await self._live(stream, leaving)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                self.story.ended_by_server += 1

    async def _live(self, stream: TcpOrTls, leaving: Leaving) -> None:
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
                reset_on_close(stream)
                nursery.cancel_scope.cancel()
            if leaving is Leaving.VANISH:
                nursery.cancel_scope.cancel()
            await trio.sleep(ANSWER_LIMIT_S if leaving is not Leaving.WAIT else 3 * ANSWER_LIMIT_S)
            self.story.left_waiting += leaving in (Leaving.STOP, Leaving.CLOSE, Leaving.WAIT)
            nursery.cancel_scope.cancel()
        if leaving is Leaving.VANISH:
            await trio.sleep(self.random.uniform(0.0, ANSWER_LIMIT_S))

    @property
    def _stream_sid(self) -> str:
        return f"MZ{self.number:032x}"

    @property
    def _call_sid(self) -> str:
        return f"CA{self.number:032x}"

    async def _speak(self, stream: trio.abc.Stream) -> None:
        if self.random.random() < 0.05:
            return  # it never says `start`
        await self._send(stream, {"event": "connected", "protocol": "Call", "version": "1.0.0"})
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        ids = {"accountSid": "AC", "callSid": self._call_sid, "streamSid": self._stream_sid}
        start = {**ids, "tracks": ["inbound"], "mediaFormat": media_format, "customParameters": {}}
        await self._send(stream, {"event": "start", "sequenceNumber": "1", "streamSid": self._stream_sid, "start": start})
        began_at, count = trio.current_time(), 0
        until = began_at + self.random.uniform(0.0, self.longest_s)
        burst_until = 0
        while trio.current_time() < until:
            if count >= burst_until:
                await trio.sleep_until(began_at + count * FRAME_S)
                if self.random.random() < 0.001:  # what comes now waited somewhere on the way, or is ahead of its time
                    burst_until = count + BURST_FRAMES
            payload = base64.b64encode(self._frame(count)).decode()
            media = {"track": "inbound", "chunk": str(count + 1), "timestamp": str(count * 20), "payload": payload}
            await self._send(stream, {"event": "media", "streamSid": self._stream_sid, "media": media})
            self.story.frames += 1
            count += 1
            await self._disturb(stream)

    def _frame(self, count: int) -> bytes:
        likely = INTERRUPTS if trio.current_time() < self._agent_until else BEGINS_TO_SPEAK
        if count >= self._speaking_until + 50 and self.random.random() < likely:
            self._speaking_until = count + self.random.randrange(5, 100)
        source = self.speech if count < self._speaking_until else self.quiet
        at = count * FRAME_BYTES % (len(source) - FRAME_BYTES)
        return source[at : at + FRAME_BYTES]

    async def _disturb(self, stream: trio.abc.Stream) -> None:
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
        elif dice < 0.010:
            await self._send_frame(stream, _PING, b"are you there?")
        elif dice < 0.012:
            await self._send_in_pieces(stream)

    async def _send_in_pieces(self, stream: trio.abc.Stream) -> None:
        """A message in two fragments, with a Ping between them and a pause in the middle of a frame."""
        message = msgspec.json.encode({"event": "mark", "streamSid": self._stream_sid, "mark": {"name": "in pieces"}})
        first, rest = client_frame(_TEXT, message[:20]), client_frame(_CONTINUATION, message[20:])
        async with self._sending:
            await stream.send_all(bytes([first[0] & _NOT_FINAL]) + first[1:] + client_frame(_PING, b"") + rest[:5])
            await trio.sleep(FRAME_S)
            await stream.send_all(rest[5:])

    async def _send(self, stream: trio.abc.Stream, message: object) -> None:
        await self._send_frame(stream, _TEXT, msgspec.json.encode(message))

    async def _send_frame(self, stream: trio.abc.Stream, opcode: int, payload: bytes) -> None:
        async with self._sending:
            await stream.send_all(client_frame(opcode, payload))

    async def _listen(self, stream: trio.abc.Stream, call: trio.CancelScope) -> None:
        while True:
            for opcode, payload in server_frames(self._buffer):
                if opcode == _CLOSE:
                    self.story.ended_by_server += 1
                    call.cancel()
                elif opcode == _PING:
                    await self._send_frame(stream, _PONG, payload)
                elif opcode == _TEXT:
                    await self._hear(stream, payload)
            if self.random.random() < READS_LATE:
                await trio.sleep(self.random.uniform(0.0, 3.0))
            data = await stream.receive_some()
            if not data:
                call.cancel()
                return
            self._buffer += data

    async def _hear(self, stream: trio.abc.Stream, payload: bytes) -> None:
        message = msgspec.json.decode(payload)
        if message["event"] == "media":
            size = len(message["media"]["payload"]) * 3 // 4
            self.story.heard_bytes += size
            self._agent_until = max(self._agent_until, trio.current_time()) + size / 8000
        elif message["event"] == "clear":
            self.story.cleared += 1
            self._agent_until = 0.0
        elif message["event"] == "mark" and self._echoes_marks:
            await self._send(stream, {"event": "mark", "streamSid": self._stream_sid, "mark": message["mark"]})
