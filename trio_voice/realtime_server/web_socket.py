"""A server's WebSocket over a Trio stream: one task reads, one writes, PING and CLOSE in between.

`receive` gives all messages that one read brought: at fifty messages a second and session, waking up is what costs.
"""

from __future__ import annotations

import os
import socket
import struct

import trio
from attrs import define, field

from trio_voice.realtime_server.frames import (
    Closed,
    FrameError,
    FrameReader,
    Opcode,
    Ping,
    Pong,
    deflate,
    encode_close,
    encode_frame,
)

SEND_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 5.0
_READ_BYTES = 65536


@define
class WebSocket:
    """`send` and `close` never wait: what the network does not take at once fills the outbox that `write` empties.

    `ended` tells how it ended (code, reason).
    """

    stream: trio.abc.Stream
    limit_bytes: int
    outbox_limit_bytes: int
    deflated: bool = False
    first_bytes: bytes = b""
    """What came behind the upgrade's head."""
    ended: tuple[int, str] | None = field(default=None, init=False)
    closed_with: tuple[int, str] | None = field(default=None, init=False)
    """The CLOSE that we sent (code, reason)."""
    pong: bytes | None = field(default=None, init=False)
    """The payload of the last PONG."""
    _reader: FrameReader = field(init=False)
    _outbox: list[bytes] = field(factory=list, init=False)
    _outbox_bytes: int = field(default=0, init=False)
    _filled: trio.Event = field(factory=trio.Event, init=False)
    _closing: bool = field(default=False, init=False)  # our CLOSE is in the outbox: nothing may follow it
    _silent: bool = field(default=False, init=False)
    _close_sent: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._reader = FrameReader(self.limit_bytes, self.deflated)

    # --- reading ---------------------------------------------------------------------------------------------------

    async def receive(self) -> list[str | bytes]:
        """Wait for messages and return all that have come; an empty list: the connection is over (see `ended`)."""
        while self.ended is None:
            try:
                data = self.first_bytes or await self._read()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            self.first_bytes = b""
            messages = self._take(data)
            if messages:
                return messages
        return []

    def fileno(self) -> int | None:
        """Return the number of its socket, for `receive_now`; None: its stream is none."""
        return self.stream.socket.fileno() if isinstance(self.stream, trio.SocketStream) else None

    def receive_now(self) -> list[str | bytes]:
        """Return what has come, without waiting, from a stream that is a socket; `ended` tells if the connection is over."""
        assert isinstance(self.stream, trio.SocketStream)
        try:
            data = self.first_bytes or os.read(self.stream.socket.fileno(), _READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        self.first_bytes = b""
        return self._take(data)

    def _take(self, data: bytes) -> list[str | bytes]:
        messages: list[str | bytes] = []
        if not data:
            self.ended = (1006, "the connection was lost")
            return messages
        try:
            for incoming in self._reader.feed(data):
                match incoming:
                    case str() | bytes():
                        messages.append(incoming)
                    case Ping(payload):
                        self._post(encode_frame(Opcode.PONG, payload))
                    case Pong(payload):
                        self.pong = payload
                    case Closed(code, reason):
                        self.ended = (code, reason)
                        self.close(1000 if code == 1005 else code, reason)
                        return messages
        except FrameError as error:
            self.ended = (error.code, error.reason)
            self.close(error.code, error.reason)
        return [] if self._closing else messages

    async def _read(self) -> bytes:
        if not isinstance(self.stream, trio.SocketStream):
            return bytes(await self.stream.receive_some(_READ_BYTES))
        sock = self.stream.socket
        while True:  # half the cost of SocketStream.receive_some: no first try that finds nothing, one checkpoint
            await trio.lowlevel.wait_readable(sock)
            try:
                return os.read(sock.fileno(), _READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error

    # --- writing ---------------------------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Send a text message (UTF-8)."""
        if self.deflated:
            self._post(encode_frame(Opcode.TEXT, deflate(message), compressed=True))
        else:
            self._post(encode_frame(Opcode.TEXT, message))

    def ping(self, payload: bytes) -> None:
        """Send a PING."""
        self._post(encode_frame(Opcode.PING, payload))

    def close(self, code: int, reason: str) -> None:
        """Send CLOSE after what was sent before; nothing can be sent after it."""
        if not self._closing:
            self._post(encode_close(code, reason))
            self._closing = True
            self._filled.set()  # `write` is to end, even if nothing waits for it
            self.closed_with = (code, reason)

    @property
    def overrun(self) -> bool:
        """Whether more waits to be sent than may: the peer does not read."""
        return self._outbox_bytes > self.outbox_limit_bytes

    def fall_silent(self) -> None:
        """Send nothing any more, as if half open: a fault."""
        self._silent = True

    def _post(self, frame: bytes) -> None:
        if self._closing or self._silent:
            return
        sent = 0 if self._outbox_bytes else self._send_now(frame)
        if sent < len(frame):
            self._outbox.append(frame[sent:])
            self._outbox_bytes += len(frame) - sent
            self._filled.set()

    def _send_now(self, frame: bytes) -> int:
        """Return how much left without waiting: to wake a task for each message costs more than to send it."""
        if not isinstance(self.stream, trio.SocketStream):
            return 0
        try:
            return os.write(self.stream.socket.fileno(), frame)
        except OSError:
            return 0  # it is full, or the peer is gone, which `write` is told as well

    async def write(self) -> None:
        """Write what is sent, all that waits in one go; return after our CLOSE has left, or when the peer cannot be reached."""
        while True:
            await self._filled.wait()
            data = b"".join(self._outbox)
            self._outbox.clear()
            self._filled = trio.Event()
            try:
                with trio.fail_after(SEND_TIMEOUT_S):
                    await self.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                self.ended = self.ended or (1006, "the peer cannot be written to")
                self._close_sent.set()
                return
            self._outbox_bytes -= len(data)
            if self._closing and not self._outbox:
                self._close_sent.set()
                return

    # --- the end ---------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Let our CLOSE leave, wait a little for the peer's, close the stream. `write` must be running until then."""
        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            if self._closing:
                await self._close_sent.wait()
                while self.ended is None:
                    await self.receive()
        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await self.stream.aclose()

    def reset(self) -> None:
        """End the TCP connection by RST, without CLOSE."""
        if isinstance(self.stream, trio.SocketStream):
            self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # on, for no time
