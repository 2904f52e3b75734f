"""Many sockets, read all together every few milliseconds: by the callers, and by the model's process.

A generator that wakes up for each of the thousands of messages a second that come to it costs more than the server under
test. So one task reads all sockets in turn, every 5 ms, and the kernel tells when the bytes came (see stamps.py): what is
measured does not show it.
"""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio
from attrs import define, field

from bench.stamps import ANCILLARY_BYTES, arrival_ns, clocks_apart_ns, tell_arrivals

READ_EVERY_S = 0.005
_READ_BYTES = 16384
"""At once; what is left is read the next time."""

Take = Callable[[bytes, int], None]
"""Takes what came, and when: nanoseconds of the monotonic clock. Nothing at all: the connection is over."""


@define(eq=False)
class Gathering:
    """Reads all sockets, when it is told to."""

    _selector: selectors.BaseSelector = field(factory=selectors.DefaultSelector, init=False)

    @contextmanager
    def reading(self, stream: trio.SocketStream, take: Callable[[bytes, int], None]) -> Iterator[None]:
        """Read a stream during the block; nobody else may."""
        with socket.socket(fileno=os.dup(stream.socket.fileno())) as plain:
            tell_arrivals(plain)
            plain.setblocking(False)
            self._selector.register(plain, selectors.EVENT_READ, (plain, take))
            try:
                yield
            finally:
                self._forget(plain)

    def read(self) -> None:
        """Read what has come, without waiting."""
        apart_ns = clocks_apart_ns()
        for key, _ in self._selector.select(0):
            plain, take = key.data
            self._read(plain, take, apart_ns)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await trio.sleep(READ_EVERY_S)
            self.read()

    def _read(self, plain: socket.socket, take: Take, apart_ns: int) -> None:
        try:
            data, ancillary, _, _ = plain.recvmsg(_READ_BYTES, ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        if not data:
            self._forget(plain)
        take(data, arrival_ns(ancillary, apart_ns))

    def _forget(self, plain: socket.socket) -> None:
        if plain in self._selector.get_map():
            self._selector.unregister(plain)
