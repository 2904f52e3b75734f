"""What one message costs on its way through: received from one WebSocket and sent on over another, and nothing else.

    python -m bench.transport [--connections 50] [--rounds 100] [--repeat 5]

Ours and trio-websocket do the same work in the same process, in turn, over real sockets on the loopback: so their ratio holds on
a busy machine too. Only the processor time of the thread that does the work counts. A round gives a message of the size of a
caller's frame to a few connections at once, as a server sees it under load. It writes bench/results/transport.json.
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import click
import trio
import trio.testing
from rich.console import Console
from rich.table import Table
from trio_websocket import WebSocketConnection, wrap_client_stream, wrap_server_stream

from bench.results_folder import write_result
from trio_voice.realtime_server.frames import mask
from trio_voice.server.handshake import ServerHandshake
from trio_voice.server.message_socket import NOTHING
from trio_voice.server.websocket import MessageSocket, answer_websocket, client_websocket

AT_ONCE = 5
PAYLOAD = (
    '{"event":"media","sequenceNumber":"1234","streamSid":"MZ' + "0" * 32 + '","media":{"payload":"' + "f" * 216 + '"}}'
).encode()
_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

Way = tuple[socket.socket, socket.socket]
"""Where a message is put in, and where it comes out."""


def caller_frame(payload: bytes) -> bytes:
    """A masked text frame of 126 to 65535 bytes."""
    key = os.urandom(4)
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + key + mask(payload, key)


async def plain_and_stream() -> tuple[socket.socket, trio.SocketStream]:
    """Both ends of a TCP connection: a plain socket that does not block, and one of Trio's."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        plain = socket.create_connection(listener.socket.getsockname())
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setblocking(False)
        return plain, await listener.accept()


async def answer_upgrade(plain: socket.socket) -> None:
    """Be the server of an upgrade, by hand."""
    handshake, request = ServerHandshake(), None
    while request is None:
        await trio.lowlevel.wait_readable(plain)
        request = handshake.receive(plain.recv(65536))
    plain.sendall(handshake.accept(None))


@asynccontextmanager
async def ours() -> AsyncIterator[Way]:
    """The server's own WebSocket."""
    (caller, near), (model, far) = await plain_and_stream(), await plain_and_stream()
    caller.sendall(_UPGRADE)
    async with answer_websocket(near) as upgrade, trio.open_nursery() as nursery:
        nursery.start_soon(answer_upgrade, model)
        async with client_websocket(far, "localhost", "/") as out:
            nursery.start_soon(_pass_on, await upgrade.accept(), out)
            caller.recv(65536)
            yield caller, model
            caller.close()
            model.close()
            nursery.cancel_scope.cancel()


async def _pass_on(source: MessageSocket, target: MessageSocket) -> None:
    while True:
        message = await source.receive()
        if target.send_now(message) is NOTHING:
            await target.send(message)


@asynccontextmanager
async def trio_websocket() -> AsyncIterator[Way]:
    """trio-websocket."""
    (caller, near), (model, far) = await plain_and_stream(), await plain_and_stream()
    caller.sendall(_UPGRADE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_upgrade, model)
        source = await (await wrap_server_stream(nursery, near)).accept()
        nursery.start_soon(_relay, source, await wrap_client_stream(nursery, far, "localhost", "/"))
        caller.recv(65536)
        yield caller, model
        caller.close()
        model.close()
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(near)
    await trio.aclose_forcefully(far)


async def _relay(source: WebSocketConnection, target: WebSocketConnection) -> None:
    while True:
        await target.send_message(await source.get_message())


System = Callable[[], AbstractAsyncContextManager[Way]]
SYSTEMS: dict[str, System] = {"trio-voice": ours, "trio-websocket": trio_websocket}


async def measure(system: System, connections: int, rounds: int) -> float:
    """Processor time a message, in microseconds."""
    async with AsyncExitStack() as stack:
        ways: list[Way] = [await stack.enter_async_context(system()) for _ in range(connections)]
        spent, frame = 0.0, caller_frame(PAYLOAD)
        for _ in range(rounds):
            for at in range(0, connections, AT_ONCE):
                for caller, _ in ways[at : at + AT_ONCE]:
                    caller.send(frame)
                left = [model for _, model in ways[at : at + AT_ONCE]]
                while left:
                    began = time.thread_time()
                    await trio.testing.wait_all_tasks_blocked()
                    spent += time.thread_time() - began
                    left = [model for model in left if not _has_arrived(model)]
        return spent / (rounds * connections) * 1e6
    raise AssertionError


def _has_arrived(model: socket.socket) -> bool:
    try:
        return len(model.recv(65536)) > len(PAYLOAD)
    except BlockingIOError:
        return False


@click.command()
@click.option("--connections", type=click.IntRange(1), default=50, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=100, show_default=True)
@click.option("--repeat", type=click.IntRange(1), default=5, show_default=True)
def main(connections: int, rounds: int, repeat: int) -> None:
    """Measure, print, write."""
    found: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    for _ in range(repeat):
        for name, system in SYSTEMS.items():
            found[name].append(trio.run(measure, system, connections, rounds))
    table = Table(title="One message in and out again: processor time, us (median, least, most)")
    table.add_column("transport")
    table.add_column("us", justify="right")
    for name, times in found.items():
        table.add_row(name, f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})")
    Console().print(table)
    ratio = statistics.median(one / other for one, other in zip(*found.values(), strict=True))
    Console().print(f"pair by pair ours costs {ratio:.2f} times what trio-websocket costs")
    write_result("transport", {"us": found, "ratio": ratio})


if __name__ == "__main__":
    main()
