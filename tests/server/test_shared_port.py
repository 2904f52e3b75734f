"""A port of ours, and of nobody else."""

import socket

import pytest
import trio

from trio_voice.errors import UserError
from trio_voice.server.shared_port import shared_listener, shared_port


async def test_each_of_us_gets_connections_and_another_server_does_not_get_in() -> None:
    with shared_port("127.0.0.1", 0) as port:
        async with shared_listener("127.0.0.1", port) as one, shared_listener("127.0.0.1", port) as other:
            taken: set[trio.SocketListener] = set()

            async def take(listener: trio.SocketListener) -> None:
                while True:
                    async with await listener.accept():
                        taken.add(listener)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(take, one)
                nursery.start_soon(take, other)
                with trio.fail_after(10):
                    while len(taken) < 2:
                        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                            assert await stream.receive_some() == b""
                nursery.cancel_scope.cancel()
            with pytest.raises(UserError, match="already in use"), shared_port("127.0.0.1", port):
                pass


def test_the_port_of_another_program_is_not_shared() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {number} on 127.0.0.1 is already in use"), shared_port("127.0.0.1", number):
            pass
        with pytest.raises(UserError, match="already in use"):
            shared_listener("127.0.0.1", number)


def test_a_host_that_is_none_is_told() -> None:
    with pytest.raises(UserError, match="cannot be resolved"), shared_port("no.such.host.invalid", 0):
        pass
