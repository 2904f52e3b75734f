"""Real processes: a server is asked what lives in it, in time and not, and tells what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from bench.processes import Measured, started
from bench.watch import Watch
from bench.watched_server import ANSWER

START_LIMIT_S = 30.0
SERVER = """
import faulthandler, os, sys, time
from pathlib import Path
import trio
from bench import watched_server

faulthandler.enable()
def stand_still():
    time.sleep(60)
async def main():
    Path(sys.argv[1], "runs").touch()
    {then}
trio.run(main, instruments=[watched_server.Window(Path(sys.argv[1]))])
"""


@asynccontextmanager
async def server(
    folder: Path, then: str = "await trio.sleep_forever()", before: str = "", limit_s: float = START_LIMIT_S
) -> AsyncIterator[Watch]:
    """A process with a window that does nothing, and `then` something."""
    program = SERVER.format(then=then).replace("async def main", f"{before}\nasync def main")
    async with started(["-c", program, str(folder)], 0, folder / "server.log") as process:
        await until_runs(folder, process)
        yield Watch(process, folder, folder / "server.log", limit_s=limit_s)


async def until_runs(folder: Path, process: Measured) -> None:
    with trio.fail_after(START_LIMIT_S):
        while not (folder / "runs").exists():
            assert process.process.returncode is None, (folder / "server.log").read_text()
            await trio.sleep(0.01)


async def test_each_question_has_its_own_answer_also_after_one_that_nobody_waited_for(tmp_path: Path) -> None:
    async with server(tmp_path) as watch:
        first = await watch.look()
        for _ in range(20):
            with trio.move_on_after(0.001):
                await watch.look()
        last = await watch.look()
        assert b'"number":22' in (tmp_path / ANSWER).read_bytes()
        assert watch.complaints() == []
    assert (first.tasks, first.threads) == (last.tasks, last.threads)
    assert last.resident_kb > 1000


async def test_a_server_that_stands_still_says_where(tmp_path: Path) -> None:
    async with server(tmp_path, "stand_still()", limit_s=1.0) as watch:
        with pytest.raises(RuntimeError, match=r"(?s)the server, which still runs, did not show.*in stand_still") as raised:
            await watch.look()
    assert 'File "<string>"' in str(raised.value)


async def test_a_server_that_has_ended_says_its_last_words(tmp_path: Path) -> None:
    async with server(tmp_path, "await trio.sleep(0.2); raise ValueError('less than nothing')") as watch:
        with trio.fail_after(START_LIMIT_S):
            await watch.process.process.wait()
        with pytest.raises(RuntimeError, match=r"(?s)which ended with 1, did not.*ValueError: less than nothing"):
            await watch.look()
        assert watch.complaints()[0].startswith("Traceback")


async def test_what_cannot_be_counted_is_told_and_the_next_question_is_answered(tmp_path: Path) -> None:
    before = """
count = watched_server.living
def count_the_second_time():
    watched_server.living = count
    return 1 / 0
watched_server.living = count_the_second_time
"""
    async with server(tmp_path, before=before) as watch:
        with pytest.raises(RuntimeError, match="could not be counted: ZeroDivisionError"):
            await watch.look()
        assert (await watch.look()).tasks > 0


async def test_a_long_pass_of_the_event_loop_is_seen(tmp_path: Path) -> None:
    busy = "until = time.thread_time() + 0.25\n    while time.thread_time() < until: pass\n    await trio.sleep_forever()"
    async with server(tmp_path, busy) as watch:
        await watch.look()
        assert watch.longest_pass_ms >= 250
        watch.longest_pass_ms = 0.0
        await watch.look()
        assert watch.longest_pass_ms < 250
