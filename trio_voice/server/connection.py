"""An open WebSocket, over a `Wire` (bytes) and `frames` (RFC 6455): the one `MessageSocket` there is.

There is no task of the connection's own: frames are decoded by the task that receives, in the order in which they came, and so
are Pings answered and Closes seen. Who holds a connection and does not receive does not hear that it ended. Who wants all that
comes gives a function to `hand_over`: where a poller runs, it gets the messages without a switch to its task.

A peer that floods us is served in turn with the others: one read is bounded, and between two turns of Trio's scheduler only so
many messages of it are given out, or sent. With an `Allowance`, it is not read for a while when it has sent more.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import NoReturn

import trio
from attrs import define, field

from trio_voice.server.allowance import LIMIT_S, Allowance
from trio_voice.server.frames import Close, FrameDecoder, FrameEncoder, FrameError, Ping, Pong, Received
from trio_voice.server.message_socket import (
    ABNORMAL_CLOSURE,
    ALL,
    NORMAL_CLOSURE,
    NOTHING,
    PART,
    POLICY_VIOLATION,
    MessageSocket,
    Sent,
    SocketClosed,
)
from trio_voice.server.poller import END, MORE, TURN, Want
from trio_voice.server.wire import Wire

CLOSE_LIMIT_S = 2.0
"""How long a peer may take to answer our Close before the connection is cut."""
LATE_S = 0.1
"""Who wakes so much later than asked for has no reason to call the peer late."""
MESSAGES_AT_ONCE = 16
"""How many messages one connection may give out, or send, before the other tasks get their turn."""


class _State(Enum):
    OPEN = "open"
    LEAVING = "leaving"  # our Close is out, or on its way; the peer's is awaited
    FAILED = "failed"  # the peer broke the protocol: it is told, and what it still sends is dropped
    OVER = "over"  # both said goodbye, or the stream ended: nothing is left to be exchanged


_OPEN = _State.OPEN  # on the way of a frame: see poller.MORE


@define(eq=False)
class Connection(MessageSocket):
    """A `MessageSocket` over a wire. `allowance`: what the peer may send; None: as much as we read."""

    _wire: Wire
    _decoder: FrameDecoder
    _encoder: FrameEncoder
    remote: str
    _allowance: Allowance | None = None
    _time: Callable[[], float] = field(factory=lambda: trio.lowlevel.current_clock().current_time, init=False)
    """Trio's clock, asked directly: this is done with every read."""
    heard_at: float = field(factory=trio.current_time, init=False)
    _state: _State = field(default=_State.OPEN, init=False)
    _closed_with: SocketClosed = field(factory=lambda: SocketClosed(ABNORMAL_CLOSURE), init=False)
    """How it ended, once it is no longer open."""
    _messages: list[str | bytes] = field(factory=list, init=False)
    """Decoded and not yet given out. It is short, and an empty deque would weigh ten times an empty list: so are all queues here
    that nearly always are empty."""
    _demands: list[Received] = field(factory=list, init=False)
    """Decoded, and to be responded to by the task that receives."""
    _given: int = field(default=0, init=False)
    """How many messages were given out since the scheduler had its turn."""
    _sent: int = field(default=0, init=False)
    """How many messages were sent since then."""
    _resume_at: float = field(default=0.0, init=False)
    """When the peer may be read again, which has sent more than it may; 0: now."""
    _reading: bool = field(default=False, init=False)
    _writing: bool = field(default=False, init=False)
    _torn: bool = field(default=False, init=False)
    """Half a message has left, and its other half never will."""
    _rest: bytes = field(default=b"", init=False)
    """Of a message that `send_now` has begun."""
    _answer: bytes = field(default=b"", init=False)
    """A Ping, a Pong or a Close that waits for the message before it. Of several Pongs one is owed (RFC 6455, 5.5.3)."""
    _left: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    """Where one waits for the task that reads, or writes, to be done with it."""
    _asked: int = field(default=0, init=False)
    """How many wait for a sign of life."""
    _closing: trio.Event | None = field(default=None, init=False)

    # --- in

    async def receive(self) -> str | bytes:
        """Wait for the next message. Raises SocketClosed."""
        while True:
            if self._messages:
                self._given += 1
                if self._given <= MESSAGES_AT_ONCE:
                    return self._messages.pop(0)
                self._given = 0
                await trio.lowlevel.checkpoint()
            elif self._state is _State.OPEN:
                self._given = 0
                if self._reading:
                    await self._left.park()
                elif self._resume_at:
                    await self._hold_back()
                else:
                    await self._read()
            else:
                await trio.lowlevel.checkpoint()
                raise self._closed()

    async def hand_over(self, take: Callable[[str | bytes], None], *, patient: bool = False) -> NoReturn:
        """Call `take` with every message that comes, until the connection is over: then it raises SocketClosed."""
        if not self._wire.is_polled:
            await super().hand_over(take)
        while True:
            match self._take_in(take):
                case Want.TURN:
                    await trio.lowlevel.checkpoint()
                case Want.MORE:
                    await self._watch(take, patient=patient)
                case Want.END:
                    await self._respond_to_all()
                    await trio.lowlevel.checkpoint()
                    if self._resume_at and not self._messages:
                        await self._hold_back()
            if self._state is not _State.OPEN and not self._messages:
                raise self._closed()

    async def _watch(self, take: Callable[[str | bytes], None], *, patient: bool) -> None:
        """Have the poller hand over, until it comes to something that is for this task."""
        self._reading = True
        try:
            await self._wire.watch(partial(self._take_in, take), patient=patient)
        except trio.ClosedResourceError:
            self._end(_State.OVER, ABNORMAL_CLOSURE)
        finally:
            self._stop_reading()

    def _take_in(self, take: Callable[[str | bytes], None]) -> Want:
        """Hand over what is decoded, if there is anything, and else what one read brings; a bounded number of messages."""
        messages = self._messages
        if not messages:
            if self._demands or self._resume_at or self._state is not _OPEN:
                return END
            decoder = self._decoder
            try:
                if decoder.is_idle:
                    data = self._wire.receive_text_now(decoder.masked, decoder.limit_bytes)
                else:
                    data = b"" if decoder.has_more else self._wire.receive_now()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if data is None:
                return MORE
            if isinstance(data, str):  # nearly always
                self._count(len(data) + decoder.head_bytes, 1)
                take(data)
            elif data or decoder.has_more:
                self._decode(data)
            else:
                self._hear(b"")
        if messages:
            for _ in range(min(len(messages), MESSAGES_AT_ONCE)):
                take(messages.pop(0))
        if self._demands or self._state is not _OPEN or (self._resume_at and not messages):
            return END
        return TURN if messages or self._decoder.has_more or self._wire.holds_more else MORE

    async def _read(self) -> None:
        """Wait for bytes, and take the messages that they complete; first those in the bytes that came before."""
        self._reading = True
        try:
            if self._decoder.has_more:
                await trio.lowlevel.checkpoint()
                self._decode(b"")
            else:
                self._hear(await self._wire.receive())
            await self._respond_to_all()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end(_State.OVER, ABNORMAL_CLOSURE)
        finally:
            self._stop_reading()

    async def _hold_back(self) -> None:
        """Let the peer wait until it may be read again, or the connection is ended."""
        with trio.move_on_at(self._resume_at):
            while self._state is _State.OPEN:
                await self._left.park()
        self._resume_at = 0.0

    def _stop_reading(self) -> None:
        self._reading = False
        if self._left:
            self._left.unpark_all()

    def _hear(self, data: bytes | bytearray) -> None:
        """Take in what was read, b"" for the end."""
        if not data:
            self._end(_State.OVER, ABNORMAL_CLOSURE)
        self._decode(data)

    def _decode(self, data: bytes | bytearray) -> None:
        """Decode what was read. An answer may be cancelled: all messages are kept before the first is given."""
        all_received = self._decoder.decode(data)
        for received in all_received:
            if type(received) is str or type(received) is bytes:
                self._messages.append(received)
            elif isinstance(received, Ping) and self._demands and isinstance(self._demands[-1], Ping):
                self._demands[-1] = received  # of several Pongs one is owed: a flood of Pings costs one answer a go
            elif not isinstance(received, Pong):
                self._demands.append(received)
        self._count(len(data), len(all_received))

    def _count(self, size: int, frames: int) -> None:
        """Take note of a sign of life, and of what it costs: so many bytes, with so many whole frames."""
        now = self.heard_at = self._time()
        if self._asked:
            self._left.unpark_all()
        if self._allowance is not None:
            pause_s = self._allowance.spend(size, frames, now)
            if pause_s:
                self._resume_at = now + pause_s
                if self._allowance.is_used_up:
                    self._demands.append(FrameError(POLICY_VIOLATION, f"more than twice real time, for {LIMIT_S:g} s"))

    async def _respond_to_all(self) -> None:
        demands, self._demands = self._demands, []
        try:
            for received in demands:
                await self._respond(received)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end(_State.OVER, ABNORMAL_CLOSURE)

    async def _respond(self, received: Received) -> None:
        """Do what the protocol demands."""
        if self._state is not _State.OPEN:
            return
        if isinstance(received, Ping):
            await self._send_answer(self._encoder.pong(received.payload))
        elif isinstance(received, Close):
            self._end(_State.OVER, received.code, received.reason)
            await self._send_answer(self._encoder.close(received.code))
        elif isinstance(received, FrameError):
            self._end(_State.FAILED, received.code, str(received))
            await self._send_answer(self._encoder.close(received.code, str(received)))

    # --- out

    async def send(self, message: str | bytes) -> None:
        """Send a message; waits while the peer does not read. Raises SocketClosed."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._sent += 1
        if self._sent > MESSAGES_AT_ONCE:
            self._sent = 0
            await trio.lowlevel.checkpoint()
        await self._send_in_turn(self._encoder.message(message))

    async def flush(self) -> None:
        """Wait until all that was taken by `send_now` has left. Raises SocketClosed."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._send_in_turn(b"")

    def send_now(self, message: str | bytes) -> Sent:
        """Send a message, or its beginning, without waiting."""
        wire = self._wire
        if self._writing or self._rest or wire.unsent or self._state is not _OPEN or not wire.sends_now:
            return NOTHING
        try:
            if type(message) is str:
                rest = wire.send_text_now(message, self._encoder.next_key())
            else:
                frame = self._encoder.message(message)
                sent = wire.send_now(frame)
                rest = frame[sent:] if sent else None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return NOTHING
        if rest is None:
            return NOTHING
        self._rest = rest
        return PART if rest or wire.unsent else ALL

    async def _send_in_turn(self, frame: bytes) -> None:
        """Send a frame when no other is being sent. Raises SocketClosed."""
        while self._writing:
            await self._left.park()
        if self._state is not _State.OPEN:
            raise self._closed()
        try:
            await self._write(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end(_State.OVER, ABNORMAL_CLOSURE)
            raise self._closed() from None

    async def ping(self, limit_s: float) -> None:
        """Ask for a sign of life, and wait for one up to `limit_s`; without one the connection is over. Raises SocketClosed.

        So it is when the peer does not take the question meanwhile, whatever it says: half of it may have left.
        """
        before = self.heard_at
        while self._state is _State.OPEN and self.heard_at == before:
            with trio.move_on_after(limit_s) as waiting:
                await self._ask_for_life(before)
            if trio.current_time() <= waiting.deadline + LATE_S:
                break  # else it is us who are late, and the answer may have yet to be read
        if self._state is _State.OPEN and (self.heard_at == before or self._torn):
            what = "no sign of life" if self.heard_at == before else "nothing was read"
            self._end(_State.OVER, ABNORMAL_CLOSURE, f"{what} within {limit_s:g} s")
            self._wire.interrupt()
        if self._state is not _State.OPEN:
            raise self._closed()

    async def _ask_for_life(self, heard_at: float) -> None:
        try:
            if self._state is _State.OPEN:
                await self._send_answer(self._answer + self._encoder.ping())
            self._asked += 1
            try:
                while self._state is _State.OPEN and self.heard_at == heard_at:
                    await self._left.park()
            finally:
                self._asked -= 1
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end(_State.OVER, ABNORMAL_CLOSURE)

    async def _send_answer(self, frame: bytes) -> None:
        """Send a control frame; if a message is being sent, whoever sends it sends this too."""
        self._answer = frame
        if not self._writing:
            await self._write(b"")

    async def _write(self, frame: bytes) -> None:
        """Send, by the only task that does: first what is left, then the frame, then what was asked for meanwhile."""
        self._writing = True
        try:
            if self._rest:
                frame, self._rest = self._rest + frame, b""
            while frame or self._answer or self._wire.unsent:
                if not frame:
                    frame, self._answer = self._answer, b""
                await self._wire.send(frame)
                frame = b""
        except trio.Cancelled:
            self._torn = True
            raise
        finally:
            self._writing = False
            if self._left:
                self._left.unpark_all()

    # --- the end

    async def close(self, code: int = NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection, within CLOSE_LIMIT_S; closing twice waits for the first to be done."""
        with trio.CancelScope(shield=True):
            if self._closing is not None:
                await self._closing.wait()
                return
            self._closing = trio.Event()
            try:
                with trio.move_on_after(CLOSE_LIMIT_S):
                    await self._part(code, reason)
                await self._wire.aclose()
            finally:
                self._closing.set()

    async def _part(self, code: int, reason: str) -> None:
        """Say goodbye if it was not said, and wait for the peer's."""
        was_open = self._state is _State.OPEN
        if was_open:
            self._end(_State.LEAVING, code, reason)
        self._messages.clear()
        try:
            self._wire.interrupt()
            if self._torn:
                return
            while self._reading or self._writing:
                await self._left.park()
            if was_open and not self._torn:
                await self._write(self._encoder.close(code, reason))
                if not any(isinstance(demand, Close | FrameError) for demand in self._demands):  # else it was said already
                    await self._await_goodbye()
            elif self._state is _State.FAILED:
                # Closing a socket with unread data resets the connection, and the peer would not learn why.
                await self._wire.send_eof()
                while await self._wire.receive():
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _await_goodbye(self) -> None:
        data: bytes | bytearray = b""
        while not any(isinstance(received, Close | FrameError) for received in self._decoder.decode(data)):
            if self._decoder.has_more:
                data = b""
                await trio.lowlevel.checkpoint()
            elif not (data := await self._wire.receive()):
                return

    def _end(self, state: _State, code: int, reason: str = "") -> None:
        if self._state is _State.OPEN:
            self._state, self._closed_with = state, SocketClosed(code, reason)
            if self._left:  # a peer that is held back
                self._left.unpark_all()

    def _closed(self) -> SocketClosed:
        return SocketClosed(self._closed_with.code, self._closed_with.reason)
