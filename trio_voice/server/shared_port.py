"""A port that several processes of this user listen on, and nobody else.

The kernel gives each new connection to one of them (SO_REUSEPORT).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from trio_voice.errors import UserError
from trio_voice.server.front_door import why_no_port

BACKLOG = 1024


@contextmanager
def shared_port(host: str, port: int) -> Iterator[int]:
    """Keep the port for our processes, without listening; 0: any free one. Raises UserError when it cannot be had.

    Who shares a port says so before binding: a server that runs already, and shares, would let us in beside it, and half of its
    calls would be ours. So the port is first asked for alone.
    """
    try:
        number = _bound_alone(host, port)
        held = _bound_shared(host, number)
    except OSError as error:
        raise UserError(why_no_port(error, host, port)) from None
    with held:
        yield number


def shared_listener(host: str, port: int) -> trio.SocketListener:
    """Listen on a port that is shared. Raises UserError."""
    try:
        bound = _bound_shared(host, port)
    except OSError as error:
        raise UserError(why_no_port(error, host, port)) from None
    bound.listen(BACKLOG)
    return trio.SocketListener(trio.socket.from_stdlib_socket(bound))


def _bound_alone(host: str, port: int) -> int:
    family, kind, protocol, address = _address(host, port)
    with socket.socket(family, kind, protocol) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(address)
        return int(alone.getsockname()[1])


def _bound_shared(host: str, port: int) -> socket.socket:
    try:
        share = socket.SO_REUSEPORT
    except AttributeError:  # no system of today lacks it but Windows
        raise UserError(
            "this system cannot share a port between processes (SO_REUSEPORT); run one worker (--workers 1)"
        ) from None
    family, kind, protocol, address = _address(host, port)
    shared = socket.socket(family, kind, protocol)
    try:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared.setsockopt(socket.SOL_SOCKET, share, 1)
        shared.bind(address)
    except OSError:
        shared.close()
        raise
    return shared


def _address(host: str, port: int) -> tuple[int, int, int, tuple[object, ...]]:
    """The first address of `host`, as a socket takes it."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return family, kind, protocol, address
