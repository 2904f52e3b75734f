"""Two ends of a real connection, for what waits for sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def both_ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The first does not wait; the second does."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield near, far
