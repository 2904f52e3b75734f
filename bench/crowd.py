"""Many connections at once that ask for an upgrade, say no more, and leave at once: a process of its own, behind all others.

    python -m bench.crowd PORT COUNT

It shares a processor with the callers and the model, whose stopwatches must not count what it does: it has the least right to the
processor, and needs no longer than they leave it. It comes when it reads a line, and leaves when its input ends; then it prints
how many were upgraded.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from contextlib import ExitStack

from bench.load import UPGRADE

LEAST_RIGHT = 19
PATH = "/media/twilio"
ANSWER_LIMIT_MS = 500
"""How long is waited for the last answers."""


def come(port: int, count: int, stack: ExitStack) -> list[socket.socket]:
    """Connect and ask."""
    ask, crowd = UPGRADE.format(path=PATH).encode(), list[socket.socket]()
    for _ in range(count):
        crowd.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
        crowd[-1].sendall(ask)
    return crowd


def is_upgraded(connection: socket.socket) -> bool:
    """Read the answer."""
    try:
        return bool(_can_be_read(connection)) and connection.recv(1024).startswith(b"HTTP/1.1 101 ")
    except OSError:
        return False


def _can_be_read(connection: socket.socket) -> bool:
    waiting = select.poll()  # select() itself takes no number above 1023
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(ANSWER_LIMIT_MS))


def main(port: int, count: int) -> None:
    """Come, stay, leave, and tell."""
    os.nice(LEAST_RIGHT)
    sys.stdin.readline()
    with ExitStack() as stack:
        crowd = come(port, count, stack)
        sys.stdin.read()
        upgraded = sum(is_upgraded(connection) for connection in crowd)
    sys.stdout.write(f"{upgraded}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
