"""The model server as a program of its own, and the ends of connections that only a real socket can show."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

LIMIT_S = 20.0


@asynccontextmanager
async def model(*arguments: str) -> AsyncIterator[tuple[trio.Process, int, bytearray]]:
    """Run `python -m trio_voice model`; its process, its port, and what it has said on standard error."""
    command = [sys.executable, "-m", "trio_voice", "model", "--port", "0", "--cheap", "--log-json", *arguments]
    process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE)
    said = bytearray()
    assert process.stderr is not None
    try:
        with trio.fail_after(LIMIT_S):
            while not (found := re.search(rb"Realtime server: ws://127\.0\.0\.1:(\d+)/", said)):
                more = await process.stderr.receive_some()
                assert more, said.decode()
                said += more
        yield process, int(found.group(1)), said
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stderr.aclose()


async def upgraded(port: int) -> trio.SocketStream:
    """A session, opened with bare hands."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    key = base64.b64encode(os.urandom(16)).decode()
    await stream.send_all(
        f"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    return stream


async def read_until(stream: trio.SocketStream, end: bytes | None = None) -> bytes:
    """Read until these bytes have come, or to the end."""
    data = b""
    while (end is None or end not in data) and (more := await stream.receive_some()):
        data += more
    return data


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    async with model() as (process, port, said):
        with trio.fail_after(LIMIT_S):
            async with await upgraded(port) as stream:
                await read_until(stream, b"session.created")
                process.send_signal(number)
                data = await read_until(stream, b"going away")
            assert process.stderr is not None
            while more := await process.stderr.receive_some():
                said += more
            await process.wait()
        assert data.endswith(b"\x03\xe9the server is going away")  # CLOSE 1001
        assert process.returncode == 0
        assert b"Traceback" not in said
        assert b'"event": "session ended"' in said


async def test_a_reset_and_an_end_without_close() -> None:
    async with model("--set", "reset_after_s=0.1") as (_, port, _):
        with trio.fail_after(LIMIT_S), pytest.raises(trio.BrokenResourceError) as caught:
            async with await upgraded(port) as stream:
                await read_until(stream)
        assert isinstance(caught.value.__cause__, ConnectionResetError)
    async with model("--set", "close_after_s=0.1", "--set", "close_code=1006") as (_, port, _):
        with trio.fail_after(LIMIT_S):
            async with await upgraded(port) as stream:
                data = await read_until(stream)
        assert data.endswith(b"}")  # the last frame is session.created: no CLOSE
