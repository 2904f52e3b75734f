"""Processes under measurement: started on a processor of their own, watched from outside, always ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import trio
from attrs import define

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 20.0
END_LIMIT_S = 15.0
_PROCESSORS: frozenset[int] = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
"""What this program may use, read before any `pin`: children inherit the narrower set of a pinned parent."""


@define(eq=False)
class Measured:
    """A running process and its children."""

    process: trio.Process
    _unread: bytes = b""

    def _family(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_s(self) -> float:
        """Processor seconds, user and system, so far."""
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._family()))

    def resident_bytes(self) -> int:
        """Resident memory."""
        return sum(process.memory_info().rss for process in self._family())

    def own_resident_bytes(self) -> int:
        """Resident memory of the process alone, without its children."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    async def line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        while b"\n" not in self._unread:
            data = await self.process.stdout.receive_some()
            if not data:
                raise RuntimeError(f"{self.process.args!r} ended before it said what was awaited")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    async def last_line(self) -> str:
        """End the process and return the last line that it prints."""
        self.process.send_signal(signal.SIGTERM)
        text = self._unread
        assert self.process.stdout is not None
        with trio.fail_after(END_LIMIT_S):
            while data := await self.process.stdout.receive_some():
                text += data
            await self.process.wait()
        return text.decode().strip().rsplit("\n", 1)[-1]


@asynccontextmanager
async def started(arguments: Sequence[str], processor: int, log: Path) -> AsyncIterator[Measured]:
    """Run `python arguments` on one processor for the length of the block; its errors go to `log`."""
    with log.open("ab") as errors:
        process = await trio.lowlevel.open_process(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            preexec_fn=lambda: pin(processor),
        )
    try:
        yield Measured(process)
    finally:
        with trio.move_on_after(END_LIMIT_S, shield=True):
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            await process.wait()
        if process.returncode is None:
            process.kill()


def pin(processor: int) -> None:
    """Keep this process on one processor, where the machine has so many."""
    if processor in _PROCESSORS:
        os.sched_setaffinity(0, {processor})


def free_port() -> int:
    """A port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def wait_until_listening(port: int, limit_s: float = START_LIMIT_S) -> None:
    """Return as soon as somebody listens there. Raises trio.TooSlowError."""
    with trio.fail_after(limit_s):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.02)
            else:
                await stream.aclose()
                return
