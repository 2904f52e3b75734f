"""Many callers at once, cheap enough not to be what is measured.

Each caller is a real WebSocket client that speaks the Twilio dialect, twenty milliseconds a frame, on absolute deadlines. Frames
are masked with the key 0, which the protocol allows and which costs nothing, and are made before, but for their moments and
numbers. One task sends the frames of all callers and reads what comes for them (`Speaker`): a task of its own for each would cost
more than the frames. A caller greets nobody: it listens until the agent has finished, waits a while, says a sentence, and so on;
how long it waits and speaks is its own dice's business, so that callers are not in step. The generator measures its own lateness:
a run in which it was late is not valid.
"""

from __future__ import annotations

import os
import struct
import time
from array import array
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from random import Random

import msgspec
import trio
from attrs import define, field

from bench.gathering import READ_EVERY_S, Gathering
from bench.stamps import age_ms, stamp, with_number

FRAME_S = 0.02
FRAME_BYTES = 160
FIRST_PAUSE_S = (0.5, 5.0)
"""From the end of the greeting to a caller's first sentence, which is itself of another length for each: turns are spread."""
PAUSE_S = (0.5, 2.5)
"""From the end of a reply to the next sentence."""
SHORTEST_SENTENCE_S = 1.0
UNHURRIED_S = 0.01
"""For programs that do nothing but call."""
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
_STEP_S = 0.001
"""The frames of one millisecond are sent together."""
_STEPS = round(FRAME_S / _STEP_S)
_READ_EVERY = round(READ_EVERY_S / _STEP_S)
_HEAD_BYTES = 21
"""Of a frame: what is made when it is sent, the moment and the caller's number; a multiple of three bytes is whole in base64."""
_MEDIA = (
    b'{"event":"media","sequenceNumber":"%d","streamSid":"%b",'
    b'"media":{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"%b%b"}}'
)
_MEDIA_HEADS = [struct.pack("!BBHI", 0x80 | _TEXT, 0x80 | 126, size, 0) for size in range(512)]
"""The head of a media message's frame, by the message's length."""


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


@cache
def sounds(audio: bytes) -> tuple[bytes, ...]:
    """The frames of some audio, as they stand in a message behind the frame's head."""
    starts = range(_HEAD_BYTES, len(audio), FRAME_BYTES)
    return tuple(b2a_base64(audio[at : at + FRAME_BYTES - _HEAD_BYTES], newline=False) for at in starts)


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
    late_ms: array[float] = field(factory=partial(array, "d"))


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
    _head: bytes = field(init=False)
    _speech: tuple[bytes, ...] = field(init=False)
    _quiet: tuple[bytes, ...] = field(init=False)
    _buffer: bytearray = field(factory=bytearray, init=False)
    _arrived_ns: int = field(default=0, init=False)
    _unsent: bytes = field(default=b"", init=False)
    _frames: int = field(default=0, init=False)
    _playing_until: float = field(default=0.0, init=False)
    _marks: list[tuple[float, str]] = field(factory=list, init=False)
    _heard_something: bool = field(default=False, init=False)
    _quiet_frames: int = field(default=0, init=False)
    _pause_frames: int = field(init=False)
    _said_frames: int | None = field(default=None, init=False)  # of a sentence; None: nothing is being said
    _sentence_frames: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._stream_sid = b"MZ%032x" % self.number
        self._head = with_number(self.quiet[:_HEAD_BYTES], self.number)
        self._speech, self._quiet = sounds(self.speech), sounds(self.quiet)
        self._pause_frames = round(self.random.uniform(*FIRST_PAUSE_S) / FRAME_S)

    async def call(self, port: int, path: str, speaker: Speaker, begins_at: float, seconds: float) -> None:
        """Call at that moment, talk for so long, hang up. Raises ConnectionError when the call is not taken."""
        await trio.sleep_until(begins_at)
        self.last_sentence_at = begins_at + seconds - LAST_SENTENCE_S
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            self._buffer += await upgraded(stream, path)
            await stream.send_all(self._start())
            with trio.CancelScope() as scope, speaker.heard_by(self, stream, scope):
                with speaker.speaking_for(self, stream.socket.fileno()):
                    await trio.sleep_until(begins_at + seconds)
                await trio.sleep(LAST_FRAME_S)
                self._hanging_up = True
                if not self._unsent:
                    await stream.send_all(client_frame(_TEXT, b'{"event":"stop","streamSid":"%b"}' % self._stream_sid))

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
        sound = self._next_sound(now, may_begin=now < self.last_sentence_at)
        self._frames = count = self._frames + 1
        if len(self._unsent) > MOST_UNSENT_BYTES:
            self.totals.unsent_frames += 1
        else:
            if self._marks:
                self._unsent += self._due_marks(now)
            head = b2a_base64(stamp(self._head), newline=False)
            media = _MEDIA % (count + 1, self._stream_sid, count, count * 20 - 20, head, sound)
            self._unsent += _MEDIA_HEADS[len(media)] + media
            self.totals.frames_sent += 1
        try:
            self._unsent = self._unsent[os.write(connection, self._unsent) :]
        except BlockingIOError:
            pass  # what waits is sent with the next frame
        except OSError:
            self._unsent = b""  # the connection is over, which the listener tells

    def _next_sound(self, now: float, *, may_begin: bool) -> bytes:
        if self._said_frames is not None:
            return self._say_on(self._said_frames)
        self._quiet_frames = self._quiet_frames + 1 if self._heard_something and now >= self._playing_until else 0
        if self._quiet_frames > self._pause_frames and may_begin:
            whole_s = len(self._speech) * FRAME_S
            self._begin_to_say(round(self.random.uniform(min(SHORTEST_SENTENCE_S, whole_s), whole_s) / FRAME_S))
        return self._quiet[self._frames % len(self._quiet)]

    def _begin_to_say(self, frames: int) -> None:
        self._said_frames, self._sentence_frames, self._quiet_frames = 0, frames, 0
        self.totals.turns += 1

    def _say_on(self, said_frames: int) -> bytes:
        self._said_frames = said_frames + 1
        if self._said_frames >= self._sentence_frames:
            self._said_frames, self._heard_something = None, False
            self._pause_frames = round(self.random.uniform(*PAUSE_S) / FRAME_S)
        return self._speech[said_frames]

    def _due_marks(self, now: float) -> bytes:
        out = b""
        while self._marks and self._marks[0][0] <= now:
            mark = b'{"event":"mark","sequenceNumber":"0","streamSid":"%b","mark":{"name":"%b"}}'
            out += client_frame(_TEXT, mark % (self._stream_sid, self._marks.pop(0)[1].encode()))
        return out

    def take(self, data: bytes, arrived_ns: int) -> bool:
        """Take in bytes that came at that moment of the monotonic clock; return whether the system goes on."""
        self._buffer += data
        self._arrived_ns = arrived_ns
        now = trio.current_time() - (time.monotonic_ns() - arrived_ns) / 1e9
        for opcode, payload in server_frames(self._buffer):
            if opcode == _CLOSE:
                return self._ended()
            if opcode == _PING:
                self._unsent += client_frame(_PONG, payload)
            elif opcode == _TEXT:
                self._hear(payload, now)
        return bool(data) or self._ended()

    def _ended(self) -> bool:
        if not self._hanging_up:
            self.totals.ended_early += 1
            self._hanging_up = True
        return False

    def _hear(self, payload: bytes, now: float) -> None:
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
    """Sends every caller's frames, each 20 ms after its last, and reads what comes for them. `run` runs while anybody calls."""

    unhurried_s: float = 0.0
    """How long the program's other tasks can wait: Trio is gone to no sooner, which costs more than to send some frames."""
    _beats: list[list[tuple[LoadCaller, int]]] = field(factory=lambda: [[] for _ in range(_STEPS)], init=False)
    """Who speaks in which step of every 20 ms, and on which connection."""
    _step: int = field(default=0, init=False)
    _callers: int = field(default=0, init=False)
    _somebody: trio.Event = field(factory=trio.Event, init=False)
    _gathering: Gathering = field(factory=Gathering, init=False)

    @contextmanager
    def speaking_for(self, caller: LoadCaller, connection: int) -> Iterator[None]:
        """Speak for a caller during the block, from 0 to 20 ms after its begin."""
        one, beat = (caller, connection), self._beats[int(caller.random.uniform(0, _STEPS))]
        beat.append(one)
        try:
            yield
        finally:
            beat.remove(one)

    @contextmanager
    def heard_by(self, caller: LoadCaller, stream: trio.SocketStream, scope: trio.CancelScope) -> Iterator[None]:
        """Let a caller hear during the block what comes, and cancel the scope when the system ends the call."""

        def take(data: bytes, arrived_ns: int) -> None:
            if not caller.take(data, arrived_ns):
                scope.cancel()

        self._callers += 1
        self._somebody.set()
        try:
            with self._gathering.reading(stream, take):
                yield
        finally:
            self._callers -= 1

    async def run(self) -> None:
        """Speak and listen until cancelled."""
        while True:
            while not self._callers:  # who has begun to call may have gone before this task is told
                self._somebody = trio.Event()
                await self._somebody.wait()
                self._step = int(trio.current_time() / _STEP_S)
            await trio.sleep_until(self._due_at())
            turn_ends_at = trio.current_time() + self.unhurried_s
            self._perform()
            while (due_at := self._due_at()) < turn_ends_at:
                time.sleep(max(0.0, due_at - trio.current_time()))  # noqa: TID251, ASYNC251 - see `unhurried_s`
                self._perform()

    def _due_at(self) -> float:
        """Go to the next step in which there is something to do, and return its moment."""
        while not self._beats[self._step % _STEPS] and self._step % _READ_EVERY:
            self._step += 1
        return self._step * _STEP_S

    def _perform(self) -> None:
        now, step = trio.current_time(), self._step
        late_ms = (now - step * _STEP_S) * 1000
        for caller, connection in self._beats[step % _STEPS]:
            caller.totals.late_ms.append(late_ms)
            caller.speak(connection, now)
        if not step % _READ_EVERY:
            self._gathering.read()
        self._step += 1
