"""The bytes under a WebSocket: read by one task, written by one task, and closed by anybody.

Over TCP the system calls are made here, and Trio is gone to only to wait: a frame costs one system call each way, and a piece of
audio can leave from a plain function, in the moment in which it is decided upon. Where a poller runs, one can be read by a plain
function too. Over any other stream (the memory streams of tests, for instance) nothing can be done without waiting.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import ClassVar, Protocol

import trio
from attrs import define, field

from trio_voice.errors import LocalProtocolError
from trio_voice.server.frames import text_frame, whole_text
from trio_voice.server.poller import Poller, Want, current_poller
from trio_voice.server.waiting_room import WaitingRoom, current_room

READ_BYTES = 16 * 1024
"""How much is read at once: with it, what a flooding peer can have done before the others get their turn is bounded."""
CLOSED = -1
"""No socket has this number."""


def text_of(data: bytes | None, masked: bool, limit_bytes: int) -> str | bytes | None:
    """What was read, or the text in it: see `whole_text`."""
    text = None if data is None else whole_text(data, masked, limit_bytes)
    return data if text is None else text


def python_read_text(fileno: int, masked: bool, limit_bytes: int, /) -> str | bytes | None:
    """Read up to READ_BYTES from a socket without waiting: what was read, or the text in it; None: nothing is there.

    Raises OSError.
    """
    try:
        return text_of(os.read(fileno, READ_BYTES), masked, limit_bytes)
    except BlockingIOError:
        return None


def python_write_text(fileno: int, text: str, key: bytes, /) -> bytes | None:
    """Write `text_frame(text, key)` to a socket without waiting: return what is left of it; None: nothing was written.

    Raises OSError, and UnicodeEncodeError for half a surrogate pair.
    """
    frame = text_frame(text, key)
    try:
        return frame[os.write(fileno, frame) :]
    except BlockingIOError:
        return None


try:
    from trio_voice._speedups import read_text as compiled_read_text
    from trio_voice._speedups import write_text as compiled_write_text
except ImportError:  # it was installed where nothing could compile it
    read_text, write_text = python_read_text, python_write_text
else:
    read_text, write_text = compiled_read_text, compiled_write_text


class Wire(Protocol):
    """A connected byte stream. Methods raise trio.BrokenResourceError when it is broken, trio.ClosedResourceError when closed."""

    @property
    def sends_now(self) -> bool:
        """Something can be sent without waiting: `send_now` is of use."""

    @property
    def unsent(self) -> bool:
        """Something that `send_now` took waits in the wire for the next `send`, of nothing for instance."""

    def unread(self, data: bytes) -> None:
        """Put back what was read too much; `receive` gives it first."""

    async def receive(self) -> bytes | bytearray:
        """Wait for the next bytes; b"" is the end. A checkpoint. Raises trio.ClosedResourceError when interrupted."""

    @property
    def is_polled(self) -> bool:
        """It can be read without waiting: `receive_now` and `watch` are of use to this task."""

    @property
    def holds_more(self) -> bool:
        """Something was read and waits in the wire for the next `receive_now`."""

    def receive_now(self) -> bytes | None:
        """Read what is there without waiting; None: nothing is, b"" is the end."""

    def receive_text_now(self, masked: bool, limit_bytes: int) -> str | bytes | None:
        """Read what is there as `receive_now` does. A str: it was one WebSocket frame, the text of which `whole_text` gives."""

    async def watch(self, readable: Callable[[], Want], *, patient: bool = False) -> None:
        """Have `readable` called whenever something has come, until it wants the end, or raises: see `Poller.watch`.

        Raises trio.ClosedResourceError when interrupted.
        """

    def interrupt(self) -> None:
        """Wake the task that waits in `receive` or `watch`, if there is one."""

    def send_now(self, data: bytes | memoryview) -> int:
        """Send what leaves without waiting, and return how much that was."""

    def send_text_now(self, text: str, key: bytes) -> bytes | None:
        """Send `text_frame(text, key)` as far as it leaves without waiting. Return what is left of it; None: it has not begun."""

    async def send(self, data: bytes | memoryview) -> None:
        """Send all; waits while the peer does not read, and is no checkpoint unless it has to wait."""

    async def send_eof(self) -> None:
        """Send no more, where the stream can say so."""

    async def aclose(self) -> None:
        """Close at once; nothing is waited for, and closing twice does nothing."""


def wire_of(stream: trio.abc.Stream, received: bytes = b"", *, at_the_door: bool = False) -> Wire:
    """Take over a stream; `received` was already read from it, and is given first.

    `at_the_door`: a stranger's, who is not waited for as those are who talk (see `waiting_room`).
    """
    # On Windows a socket is no file, and os.read does not take it.
    wire: Wire
    if isinstance(stream, WireStream):
        wire = stream.wire
    elif isinstance(stream, trio.SocketStream) and sys.platform != "win32":
        wire = _SocketWire(stream, at_the_door)
    else:
        wire = _StreamWire(stream)
    wire.unread(received)
    return wire


@define(eq=False)
class WireStream(trio.abc.HalfCloseableStream):
    """A wire as one of Trio's streams, for those who want one. `wire_of` gives the wire back."""

    wire: Wire

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Wait for the next bytes; b"" is the end."""
        data = await self.wire.receive()
        if max_bytes is not None and len(data) > max_bytes:
            self.wire.unread(bytes(data[max_bytes:]))
            data = data[:max_bytes]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all; waits while the peer does not read."""
        await trio.lowlevel.checkpoint()
        await self.wire.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: a wire tells nothing of that."""
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Send no more, where the wire can say so."""
        await self.wire.send_eof()

    async def aclose(self) -> None:
        """Close at once."""
        await self.wire.aclose()


@define(eq=False)
class _SocketWire:
    """A TCP connection."""

    sends_now: ClassVar[bool] = True
    unsent: ClassVar[bool] = False

    _stream: trio.SocketStream
    _at_the_door: bool
    _number: int = field(init=False)
    """The socket's number, as long as it is open: that of a closed socket may be another's."""
    _received: bytes = field(default=b"", init=False)
    _reading: bool = field(default=False, init=False)
    _watched_by: Poller | None = field(default=None, init=False)
    _waits_in: WaitingRoom | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._number = self._stream.socket.fileno()

    def unread(self, data: bytes) -> None:
        self._received = data + self._received

    async def receive(self) -> bytes:
        if self._received:
            await trio.lowlevel.checkpoint()
            data, self._received = self._received, b""
            return data
        while True:
            await self._wait_readable()
            try:
                return os.read(self._number, READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise _broken(error) from error

    async def _wait_readable(self) -> None:
        """Wait behind the poller, or at the door: of a thousand peers that leave at once, Trio would wake all in one pass."""
        self._waits_in = current_room() if self._at_the_door else None
        if self._waits_in is not None:
            try:
                await self._waits_in.wait_readable(self._fileno())
            finally:
                self._waits_in = None
            return
        if self.is_polled:
            await self.watch(lambda: Want.END)
            return
        self._reading = True
        try:
            await trio.lowlevel.wait_readable(self._fileno())
        finally:
            self._reading = False

    @property
    def is_polled(self) -> bool:
        return current_poller() is not None

    @property
    def holds_more(self) -> bool:
        return bool(self._received)

    def receive_now(self) -> bytes | None:
        if self._received:
            data, self._received = self._received, b""
            return data
        try:
            return os.read(self._number, READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            raise _broken(error) from error

    def receive_text_now(self, masked: bool, limit_bytes: int) -> str | bytes | None:
        if self._received:
            return text_of(self.receive_now(), masked, limit_bytes)
        try:
            return read_text(self._number, masked, limit_bytes)
        except OSError as error:
            raise _broken(error) from error

    async def watch(self, readable: Callable[[], Want], *, patient: bool = False) -> None:
        poller = current_poller()
        if poller is None:
            raise LocalProtocolError("a wire was to be watched where nobody polls")
        self._watched_by = poller
        try:
            await poller.watch(self._fileno(), readable, patient=patient)
        finally:
            self._watched_by = None

    def interrupt(self) -> None:
        if self._reading:
            trio.lowlevel.notify_closing(self._fileno())
        self._release()

    def _release(self) -> None:
        """End a wait behind the poller, or in the waiting room."""
        if self._watched_by is not None:
            self._watched_by.release(self._number)
        if self._waits_in is not None:
            self._waits_in.release(self._number)

    def send_now(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._number, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _broken(error) from error

    def send_text_now(self, text: str, key: bytes) -> bytes | None:
        try:
            return write_text(self._number, text, key)
        except OSError as error:
            raise _broken(error) from error

    async def send(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)[self.send_now(data) :]
        while rest:
            try:
                await trio.lowlevel.wait_writable(self._fileno())
            except trio.ClosedResourceError:
                self._fileno()  # it raises for a closed socket; if it does not, only the reader was meant
            rest = rest[self.send_now(rest) :]

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        self._release()
        self._number = CLOSED
        self._stream.socket.close()

    def _fileno(self) -> int:
        if self._number == CLOSED:
            raise trio.ClosedResourceError("this connection was closed")
        return self._number


@define(eq=False)
class _StreamWire:
    """Any other stream."""

    sends_now: ClassVar[bool] = False
    unsent: ClassVar[bool] = False
    is_polled: ClassVar[bool] = False
    holds_more: ClassVar[bool] = False

    _stream: trio.abc.Stream
    _received: bytes = field(default=b"", init=False)
    _waiting: trio.CancelScope | None = field(default=None, init=False)

    def unread(self, data: bytes) -> None:
        self._received = data + self._received

    async def receive(self) -> bytes | bytearray:
        if self._received:
            await trio.lowlevel.checkpoint()
            data, self._received = self._received, b""
            return data
        with trio.CancelScope() as self._waiting:
            try:
                return await self._stream.receive_some(READ_BYTES)
            finally:
                self._waiting = None
        raise trio.ClosedResourceError("this connection is being closed")

    def receive_now(self) -> bytes | None:
        raise LocalProtocolError("this stream cannot be read without waiting")

    def receive_text_now(self, masked: bool, limit_bytes: int) -> str | bytes | None:  # noqa: ARG002 - as above
        return self.receive_now()

    async def watch(self, readable: Callable[[], Want], *, patient: bool = False) -> None:  # noqa: ARG002 - one signature for all wires
        raise LocalProtocolError("this stream cannot be watched")

    def interrupt(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def send_now(self, data: bytes | memoryview) -> int:  # noqa: ARG002 - one signature for both wires
        return 0

    def send_text_now(self, text: str, key: bytes) -> bytes | None:  # noqa: ARG002 - as above
        return None

    async def send(self, data: bytes | memoryview) -> None:
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


def _broken(error: OSError) -> trio.BrokenResourceError | trio.ClosedResourceError:
    if error.errno == errno.EBADF:
        return trio.ClosedResourceError("this connection was closed")
    return trio.BrokenResourceError(f"socket connection broken: {error}")
