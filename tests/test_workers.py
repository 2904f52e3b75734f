"""Workers that are small scripts: started, replaced, told to end."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import psutil
import pytest
import structlog
import trio

from trio_voice import workers
from trio_voice.errors import UserError
from trio_voice.workers import Order, Wanted, Workers

READY = "import json, os, sys, signal, time; order = json.loads(sys.stdin.readline()); os.write(order['ready'], b'r'); "
TELL = "open(sys.argv[1], 'a').write(f\"{order['number']} {os.getpid()} {order['token']}\\n\"); "
UNTIL_TOLD = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); sys.stdin.read()"


def order(number: int, ready: int) -> Order:
    return Order(number=number, wanted=Wanted(), port=1, token="secret", model_url=None, sockets="/nowhere", ready=ready)


def script(text: str, file: Path) -> tuple[str, ...]:
    return (sys.executable, "-c", text, str(file))


@asynccontextmanager
async def running(count: int, command: tuple[str, ...]) -> AsyncIterator[trio.MemorySendChannel[int]]:
    """Workers that are ready; the channel sends signals. At the end they must have ended."""
    send, receive = trio.open_memory_channel[int](4)
    async with send, receive, trio.open_nursery() as nursery:
        await nursery.start(Workers(count, order, drain_limit_s=1.0, command=command).run, receive)
        yield send


def lines(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


async def until_there_are(number: int, file: Path) -> list[list[str]]:
    with trio.fail_after(20):
        while len(lines(file)) < number:  # noqa: ASYNC110 - another process writes the file
            await trio.sleep(0.02)
    return lines(file)


def is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    return True


async def test_each_worker_gets_its_order_and_ends_with_a_signal(tmp_path: Path) -> None:
    told = tmp_path / "told"
    async with running(3, script(TELL.join((READY, UNTIL_TOLD)), told)) as signals:
        known = await until_there_are(3, told)
        assert sorted(number for number, _, _ in known) == ["1", "2", "3"]
        assert {token for _, _, token in known} == {"secret"}
        await signals.send(signal.SIGTERM)
    assert not any(is_running(process) for _, process, _ in known)


async def test_another_takes_the_place_of_one_that_died(tmp_path: Path) -> None:
    told = tmp_path / "told"
    async with running(2, script(TELL.join((READY, UNTIL_TOLD)), told)) as signals:
        known = await until_there_are(2, told)
        os.kill(int(known[0][1]), signal.SIGKILL)
        again = await until_there_are(3, told)
        assert again[2][0] == known[0][0]
        await signals.send(signal.SIGTERM)


async def test_one_that_cannot_be_started_again_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, opened = tmp_path / "told", trio.lowlevel.open_process
    open_descriptors = psutil.Process().num_fds()
    refused = 0

    async def refuse(*_arguments: object, **_options: object) -> NoReturn:
        nonlocal refused
        refused += 1
        if refused == 2:
            monkeypatch.setattr(trio.lowlevel, "open_process", opened)
            raise RuntimeError("can't start new thread")
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(workers, "FIRST_PAUSE_S", 0.01)
    with structlog.testing.capture_logs() as logs:
        async with running(2, script(TELL.join((READY, UNTIL_TOLD)), told)) as signals:
            known = await until_there_are(2, told)
            monkeypatch.setattr(trio.lowlevel, "open_process", refuse)
            os.kill(int(known[0][1]), signal.SIGKILL)
            assert (await until_there_are(3, told))[2][0] == known[0][0]
            await signals.send(signal.SIGTERM)
    assert [line["error"] for line in logs if line["event"] == "a worker cannot be started"] == [
        "Resource temporarily unavailable",
        "the system gives this process no more threads",
    ]
    assert psutil.Process().num_fds() == open_descriptors


async def test_one_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "END_LIMIT_S", 0.2)
    told = tmp_path / "told"
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " + TELL + "time.sleep(60)"
    async with running(1, script(READY + deaf, told)) as signals:
        known = await until_there_are(1, told)
        await signals.send(signal.SIGTERM)
    assert not is_running(known[0][1])


async def test_workers_end_with_their_parent_whatever_became_of_it(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with trio.CancelScope() as scope:
        async with running(1, script(TELL.join((READY, "sys.stdin.read()")), told)):
            known = await until_there_are(1, told)
            scope.cancel()
    assert not is_running(known[0][1])


async def test_what_cannot_start_is_no_reason_to_go_on(tmp_path: Path) -> None:
    no_start = pytest.RaisesExc(UserError, match="could not start")
    with pytest.RaisesGroup(no_start, flatten_subgroups=True):
        async with running(1, script("import sys; sys.exit(2)", tmp_path / "told")):
            pass


async def test_a_signal_before_they_are_ready_ends_them(tmp_path: Path) -> None:
    send, receive = trio.open_memory_channel[int](1)
    never_ready = script("import time; time.sleep(60)", tmp_path)
    async with send, receive:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Workers(1, order, drain_limit_s=1.0, command=never_ready).run, receive)
                await trio.sleep(0.3)
                await send.send(signal.SIGTERM)
