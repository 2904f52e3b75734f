"""Many callers at once, cheap enough not to be what is measured.

Each caller is a real WebSocket client that speaks the Twilio dialect, twenty milliseconds a frame, on absolute deadlines. Frames
are masked with the key 0, which the protocol allows and which costs nothing, and one task sends the frames of all callers
(`Speaker`): a task of its own for each would cost more than the frames. A caller greets nobody: it listens until the agent has
finished, waits a while, says a sentence, and so on; how long it waits and speaks is its own dice's business, so that callers are
not in step. The generator measures its own lateness: a run in which it was late is not valid.
"""

from __future__ import annotations

import os
import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import heapify, heappush, heapreplace
from random import Random

import msgspec
import trio
from attrs import define, field

from bench.stamps import ANCILLARY_BYTES, age_ms, arrival_ns, stamp, tell_arrivals

FRAME_S = 0.02
FRAME_BYTES = 160
FIRST_PAUSE_S = (0.5, 5.0)
"""From the end of the greeting to a caller's first sentence, which is itself of another length for each: turns are spread."""
PAUSE_S = (0.5, 2.5)
"""From the end of a reply to the next sentence."""
SHORTEST_SENTENCE_S = 1.0
LAST_FRAME_S = 0.1
"""From the last frame to the hang-up: a frame that is overtaken by the end of its call is not lost, but would look so."""
LAST_SENTENCE_S = 5.0
"""No sentence begins so shortly before the end: every reply has arrived before the caller hangs up."""
MOST_UNSENT_BYTES = 100 * 400
"""Two seconds of frames that the system does not read; a caller who has so many drops the next ones."""
UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_READ_BYTES = 65536
_STEP_S = 0.001
"""The frames of one millisecond are sent together."""
_MEDIA = (
    b'{"event":"media","sequenceNumber":"%d","streamSid":"%b",'
    b'"media":{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"%b"}}'
)


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


async def upgraded(stream: trio.abc.Stream, path: str = "/media/twilio") -> bytes:
    """Ask for a WebSocket; what came behind the answer's head. Raises ConnectionError when it is not granted."""
    await stream.send_all(UPGRADE.format(path=path).encode())
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
    unsent_frames: int = 0
    """Frames that were dropped because the system did not read."""
    down_ms: list[float] = field(factory=list)
    late_ms: list[float] = field(factory=list)


@define(eq=False)
class LoadCaller:
    """One caller. `speech` and `quiet` are mu-law audio, whole frames; a sentence is a beginning of the speech.

    `totals` may be exchanged while the caller calls: what it sees from then on goes there.
    """

    number: int
    speech: bytes
    quiet: bytes
    totals: Totals
    random: Random = field(factory=Random)
    last_sentence_at: float = field(default=0.0, init=False)
    _hanging_up: bool = field(default=False, init=False)
    _stream_sid: bytes = field(init=False)
    _buffer: bytearray = field(factory=bytearray, init=False)
    _arrived_ns: int = field(default=0, init=False)
    _unsent: bytes = field(default=b"", init=False)
    _frames: int = field(default=0, init=False)
    _playing_until: float = field(default=0.0, init=False)
    _marks: list[tuple[float, str]] = field(factory=list, init=False)
    _heard_something: bool = field(default=False, init=False)
    _quiet_frames: int = field(default=0, init=False)
    _pause_frames: int = field(init=False)
    _speech_at: int | None = field(default=None, init=False)
    _sentence_bytes: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._stream_sid = b"MZ%032x" % self.number
        self._pause_frames = round(self.random.uniform(*FIRST_PAUSE_S) / FRAME_S)

    async def call(self, port: int, path: str, speaker: Speaker, begins_at: float, seconds: float) -> None:
        """Call at that moment, talk for so long, hang up. Raises ConnectionError when the call is not taken."""
        await trio.sleep_until(begins_at)
        self.last_sentence_at = begins_at + seconds - LAST_SENTENCE_S
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            self._buffer += await upgraded(stream, path)
            await stream.send_all(self._start())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, stream, nursery.cancel_scope)
                with speaker.speaking_for(self, stream.socket.fileno()):
                    await trio.sleep_until(begins_at + seconds)
                await trio.sleep(LAST_FRAME_S)
                self._hanging_up = True
                if not self._unsent:
                    await stream.send_all(client_frame(_TEXT, b'{"event":"stop","streamSid":"%b"}' % self._stream_sid))
                nursery.cancel_scope.cancel()

    def _start(self) -> bytes:
        stream_sid = self._stream_sid.decode()
        begin = {
            "event": "start", "sequenceNumber": "1", "streamSid": stream_sid,
            "start": {
                "accountSid": f"AC{0:032x}", "callSid": f"CA{self.number:032x}",
                "streamSid": stream_sid, "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}, "customParameters": {},
            },
        }  # fmt: skip
        connected = client_frame(_TEXT, b'{"event":"connected","protocol":"Call","version":"1.0.0"}')
        return connected + client_frame(_TEXT, msgspec.json.encode(begin))

    def speak(self, connection: int, now: float) -> None:
        """Send the next frame, and the marks that are due, as far as the connection takes them at once."""
        frame = self._frame(self._frames, now, may_begin=now < self.last_sentence_at)
        self._frames += 1
        if len(self._unsent) > MOST_UNSENT_BYTES:
            self.totals.unsent_frames += 1
        else:
            count, payload = self._frames, b2a_base64(stamp(frame), newline=False)
            media = _MEDIA % (count + 1, self._stream_sid, count, count * 20 - 20, payload)
            self._unsent += self._due_marks(now) + client_frame(_TEXT, media)
            self.totals.frames_sent += 1
        try:
            self._unsent = self._unsent[os.write(connection, self._unsent) :]
        except BlockingIOError:
            pass  # what waits is sent with the next frame
        except OSError:
            self._unsent = b""  # the connection is over, which the listener tells

    def _frame(self, count: int, now: float, *, may_begin: bool) -> bytes:
        if self._speech_at is not None:
            frame = self.speech[self._speech_at : self._speech_at + FRAME_BYTES]
            self._speech_at += FRAME_BYTES
            if self._speech_at >= self._sentence_bytes:
                self._speech_at, self._heard_something = None, False
                self._pause_frames = round(self.random.uniform(*PAUSE_S) / FRAME_S)
            return frame
        self._quiet_frames = self._quiet_frames + 1 if self._heard_something and now >= self._playing_until else 0
        if self._quiet_frames > self._pause_frames and may_begin:
            self._begin_to_speak()
        at = count * FRAME_BYTES % (len(self.quiet) - FRAME_BYTES)
        return self.quiet[at : at + FRAME_BYTES]

    def _begin_to_speak(self) -> None:
        whole_s = len(self.speech) / 8000
        frames = round(self.random.uniform(min(SHORTEST_SENTENCE_S, whole_s), whole_s) / FRAME_S)
        self._speech_at, self._sentence_bytes, self._quiet_frames = 0, frames * FRAME_BYTES, 0
        self.totals.turns += 1

    def _due_marks(self, now: float) -> bytes:
        out = b""
        while self._marks and self._marks[0][0] <= now:
            mark = b'{"event":"mark","sequenceNumber":"0","streamSid":"%b","mark":{"name":"%b"}}'
            out += client_frame(_TEXT, mark % (self._stream_sid, self._marks.pop(0)[1].encode()))
        return out

    async def _listen(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        tell_arrivals(stream.socket)
        while True:
            for opcode, payload in server_frames(self._buffer):
                if opcode == _CLOSE:
                    self._ended(scope)
                elif opcode == _PING:
                    self._unsent += client_frame(_PONG, payload)
                elif opcode == _TEXT:
                    self._hear(payload)
            try:
                data, ancillary, _, _ = await stream.socket.recvmsg(_READ_BYTES, ANCILLARY_BYTES)
            except OSError:
                data, ancillary = b"", []
            if not data:
                self._ended(scope)
                return
            self._arrived_ns = arrival_ns(ancillary)
            self._buffer += data

    def _ended(self, scope: trio.CancelScope) -> None:
        if not self._hanging_up and not scope.cancel_called:
            self.totals.ended_early += 1
        scope.cancel()

    def _hear(self, payload: bytes) -> None:
        now = trio.current_time()
        message = msgspec.json.decode(payload)
        match message["event"]:
            case "media":
                audio = a2b_base64(message["media"]["payload"])
                self.totals.heard_bytes += len(audio)
                self._heard_something = True
                self._playing_until = max(self._playing_until, now) + len(audio) / 8000
                age = age_ms(audio, self._arrived_ns)
                if age is not None:
                    self.totals.down_ms.append(age)
            case "mark":
                self._marks.append((self._playing_until, message["mark"]["name"]))
            case "clear":
                self.totals.clears += 1
                self._playing_until = now
                self._marks = [(now, name) for _, name in self._marks]


@define(eq=False)
class Speaker:
    """Sends every caller's frames, each 20 ms after its last. `run` must be running as long as anybody speaks."""

    _due: list[tuple[float, int, LoadCaller, int]] = field(factory=list, init=False)
    """When, whose, and on which connection: the next first."""
    _somebody: trio.Event = field(factory=trio.Event, init=False)

    @contextmanager
    def speaking_for(self, caller: LoadCaller, connection: int) -> Iterator[None]:
        """Speak for a caller during the block, from 20 to 40 ms after its begin."""
        first = trio.current_time() + FRAME_S + caller.random.uniform(0.0, FRAME_S)
        heappush(self._due, (first // _STEP_S * _STEP_S, caller.number, caller, connection))
        self._somebody.set()
        try:
            yield
        finally:
            self._due = [one for one in self._due if one[2] is not caller]
            heapify(self._due)

    async def run(self) -> None:
        """Speak until cancelled."""
        while True:
            while not self._due:  # who has begun to speak may have gone before this task is told
                self._somebody = trio.Event()
                await self._somebody.wait()
            await trio.sleep_until(self._due[0][0])
            now = trio.current_time()
            while self._due and self._due[0][0] <= now:
                due, number, caller, connection = self._due[0]
                heapreplace(self._due, (due + FRAME_S, number, caller, connection))
                caller.totals.late_ms.append((now - due) * 1000)
                caller.speak(connection, now)
