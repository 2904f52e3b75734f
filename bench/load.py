"""Many callers at once, cheap enough not to be what is measured.

Each caller is a real WebSocket client that speaks the Twilio dialect, twenty milliseconds a frame, on absolute deadlines. Frames
are masked with the key 0, which the protocol allows and which costs nothing. A caller greets nobody: it listens until the agent
has finished, says its sentence, and so on. The generator measures its own lateness: a run in which it was late is not valid.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator

import msgspec
import trio
from attrs import define, field

from bench.stamps import age_ms, stamp

FRAME_S = 0.02
FRAME_BYTES = 160
QUIET_FRAMES_BEFORE_SPEECH = 50
LAST_FRAME_S = 0.1
"""From the last frame to the hang-up: a frame that is overtaken by the end of its call is not lost, but would look so."""
LAST_SENTENCE_S = 6.0
"""No sentence begins so shortly before the end: every reply has arrived before the caller hangs up."""
_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


def client_frame(opcode: int, payload: bytes) -> bytes:
    """One final, masked (with zeros) frame of a client."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BBI", 0x80 | opcode, 0x80 | size, 0) + payload
    return struct.pack("!BBHI", 0x80 | opcode, 0x80 | 126, size, 0) + payload


def server_frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take whole, unfragmented, unmasked frames off the front of the buffer."""
    while len(buffer) >= 2:
        size, head = buffer[1] & 0x7F, 2
        if size == 126:
            size, head = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < head + size:
            return
        opcode, payload = buffer[0] & 0x0F, bytes(buffer[head : head + size])
        del buffer[: head + size]
        yield opcode, payload


async def upgraded(stream: trio.SocketStream, path: str = "/media/twilio") -> bytes:
    """Ask for a WebSocket; what came behind the answer's head. Raises ConnectionError when it is not granted."""
    await stream.send_all(_UPGRADE.format(path=path).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = await stream.receive_some()
        if not data:
            raise ConnectionError("the server closed the connection during the upgrade")
        answer += data
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n")[0]:
        raise ConnectionError(f"no upgrade: {head[:60]!r}")
    return rest


@define(eq=False)
class Totals:
    """What all callers saw together."""

    frames_sent: int = 0
    heard_bytes: int = 0
    clears: int = 0
    ended_early: int = 0
    turns: int = 0
    down_ms: list[float] = field(factory=list)
    late_ms: list[float] = field(factory=list)


@define(eq=False)
class LoadCaller:
    """One caller. `sentence` and `quiet` are mu-law audio, whole frames."""

    number: int
    sentence: bytes
    quiet: bytes
    totals: Totals
    _buffer: bytearray = field(factory=bytearray, init=False)
    _playing_until: float = field(default=0.0, init=False)
    _marks: list[tuple[float, str]] = field(factory=list, init=False)
    _heard_something: bool = field(default=False, init=False)
    _quiet_frames: int = field(default=0, init=False)
    _speech_at: int | None = field(default=None, init=False)

    @property
    def stream_sid(self) -> str:
        """This caller's stream."""
        return f"MZ{self.number:032x}"

    async def call(self, port: int, path: str, began_at: float, seconds: float) -> None:
        """Call, talk for so long, hang up."""
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            self._buffer += await upgraded(stream, path)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, stream, nursery.cancel_scope)
                await self._speak(stream, began_at, seconds)
                nursery.cancel_scope.cancel()

    async def _speak(self, stream: trio.SocketStream, began_at: float, seconds: float) -> None:
        begin = {
            "event": "start", "sequenceNumber": "1", "streamSid": self.stream_sid,
            "start": {
                "accountSid": f"AC{0:032x}", "callSid": f"CA{self.number:032x}",
                "streamSid": self.stream_sid, "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}, "customParameters": {},
            },
        }  # fmt: skip
        await stream.send_all(client_frame(_TEXT, b'{"event":"connected","protocol":"Call","version":"1.0.0"}'))
        await stream.send_all(client_frame(_TEXT, msgspec.json.encode(begin)))
        first = began_at + (self.number % 20) / 1000  # callers do not speak in step
        last_sentence_at = first + seconds - LAST_SENTENCE_S
        for count in range(int(seconds / FRAME_S)):
            due = first + count * FRAME_S
            await trio.sleep_until(due)
            now = trio.current_time()
            self.totals.late_ms.append((now - due) * 1000)
            payload = base64.b64encode(stamp(self._frame(count, now, may_begin=now < last_sentence_at))).decode()
            media = (
                f'{{"event":"media","sequenceNumber":"{count + 2}","streamSid":"{self.stream_sid}","media":'
                f'{{"track":"inbound","chunk":"{count + 1}","timestamp":"{count * 20}","payload":"{payload}"}}}}'
            )
            await stream.send_all(self._due_marks(now) + client_frame(_TEXT, media.encode()))
            self.totals.frames_sent += 1
        await trio.sleep(LAST_FRAME_S)
        stop = (
            f'{{"event":"stop","sequenceNumber":"0","streamSid":"{self.stream_sid}","stop":{{"accountSid":"AC","callSid":"CA"}}}}'
        )
        await stream.send_all(client_frame(_TEXT, stop.encode()))

    def _frame(self, count: int, now: float, *, may_begin: bool) -> bytes:
        if self._speech_at is not None:
            frame = self.sentence[self._speech_at : self._speech_at + FRAME_BYTES]
            self._speech_at += FRAME_BYTES
            if self._speech_at >= len(self.sentence):
                self._speech_at, self._heard_something = None, False
            return frame
        self._quiet_frames = self._quiet_frames + 1 if self._heard_something and now >= self._playing_until else 0
        if self._quiet_frames > QUIET_FRAMES_BEFORE_SPEECH and may_begin:
            self._speech_at, self._quiet_frames = 0, 0
            self.totals.turns += 1
        at = count * FRAME_BYTES % (len(self.quiet) - FRAME_BYTES)
        return self.quiet[at : at + FRAME_BYTES]

    def _due_marks(self, now: float) -> bytes:
        out = b""
        while self._marks and self._marks[0][0] <= now:
            name = self._marks.pop(0)[1]
            mark = f'{{"event":"mark","sequenceNumber":"0","streamSid":"{self.stream_sid}","mark":{{"name":"{name}"}}}}'
            out += client_frame(_TEXT, mark.encode())
        return out

    async def _listen(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        while True:
            for opcode, payload in server_frames(self._buffer):
                if opcode == _CLOSE:
                    self.totals.ended_early += 1
                    scope.cancel()
                elif opcode == _PING:
                    await stream.send_all(client_frame(_PONG, payload))
                elif opcode == _TEXT:
                    self._hear(payload)
            data = await stream.receive_some()
            if not data:
                self.totals.ended_early += 1
                scope.cancel()
                return
            self._buffer += data

    def _hear(self, payload: bytes) -> None:
        now = trio.current_time()
        message = msgspec.json.decode(payload)
        match message["event"]:
            case "media":
                audio = base64.b64decode(message["media"]["payload"])
                self.totals.heard_bytes += len(audio)
                self._heard_something = True
                self._playing_until = max(self._playing_until, now) + len(audio) / 8000
                age = age_ms(audio)
                if age is not None:
                    self.totals.down_ms.append(age)
            case "mark":
                self._marks.append((self._playing_until, message["mark"]["name"]))
            case "clear":
                self.totals.clears += 1
                self._playing_until = now
                self._marks = [(now, name) for _, name in self._marks]
