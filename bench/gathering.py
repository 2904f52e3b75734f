"""The embedded model's connections, served as cheaply as a load test needs it, without being late where it is measured.

A model that wakes up for each of twelve thousand frames a second costs more than the server under test, and shares its processor
with the callers. So one task reads all sessions' sockets every 5 ms, and the kernel tells when the bytes came (see stamps.py);
and what a session sends leaves in the moment in which it is stamped, not when the task that writes is served.
"""

# ruff: noqa: SLF001 - parts of the model's connection are exchanged here for cheaper ones

from __future__ import annotations

import os
import selectors
import socket
from typing import Any

import trio
from attrs import define, field

from bench.stamps import ANCILLARY_BYTES, arrival_ns, tell_arrivals
from trio_voice.realtime_server.connection import Connection

READ_EVERY_S = 0.005
_READ_BYTES = 65536


@define(eq=False)
class Reading:
    """One session that is read."""

    connection: Connection
    socket: socket.socket
    over: trio.Event = field(factory=trio.Event)


@define(eq=False)
class Gathering:
    """Reads all sessions. `run` must be running as long as there are any."""

    arrived_ns: int = 0
    """When the bytes came whose messages a session is receiving now: nanoseconds of the monotonic clock."""
    _selector: selectors.BaseSelector = field(factory=selectors.DefaultSelector, init=False)

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await trio.sleep(READ_EVERY_S)
            for key, _ in self._selector.select(0):
                self._read(key.data)

    async def read(self, connection: Connection) -> None:
        """Read a session's messages until its connection is over: in the place of `Connection._read`."""
        stream = connection.socket.stream
        assert isinstance(stream, trio.SocketStream)
        with socket.socket(fileno=os.dup(stream.socket.fileno())) as plain:
            tell_arrivals(plain)
            plain.setblocking(False)
            reading = Reading(connection, plain)
            self._take(reading, connection.socket.first_bytes)
            connection.socket.first_bytes = b""
            self._selector.register(plain, selectors.EVENT_READ, reading)
            try:
                await reading.over.wait()
            finally:
                self._selector.unregister(plain)

    def _read(self, reading: Reading) -> None:
        try:
            data, ancillary, _, _ = reading.socket.recvmsg(_READ_BYTES, ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        self.arrived_ns = arrival_ns(ancillary)
        if data:
            self._take(reading, data)
        else:
            reading.connection.socket.ended = (1006, "the connection was lost")
        if reading.connection.socket.ended is not None:
            reading.over.set()

    def _take(self, reading: Reading, data: bytes) -> None:
        connection, now = reading.connection, trio.current_time()
        if connection._silent:
            return
        for message in connection.socket._take(data):
            outputs = connection.session.receive(message, now)
            if outputs:
                connection.feed(outputs)


def send_at_once(connection: Connection) -> None:
    """Have all that waits to be sent leave now, as far as the network takes it, unless the task that writes is at it."""
    outbox: Any = connection.socket
    waiting = b"".join(outbox._outbox)
    stream = outbox.stream
    if not waiting or len(waiting) != outbox._outbox_bytes or not isinstance(stream, trio.SocketStream):
        return
    try:
        sent = os.write(stream.socket.fileno(), waiting)
    except OSError:
        return  # the task that writes is told the same
    outbox._outbox.clear()
    if sent < len(waiting):
        outbox._outbox.append(waiting[sent:])
    outbox._outbox_bytes -= sent
