"""`python -m bench`: each part can be run as it is listed, and Ctrl-C leaves nothing running."""

import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import psutil
import pytest
import trio

from bench.__main__ import QUICK, WHOLE

ROOT = Path(__file__).parents[2]
INTERRUPTED = 130


@pytest.mark.parametrize("part", [*WHOLE, *QUICK], ids=" ".join)
def test_each_part_understands_what_it_is_told(part: tuple[str, ...]) -> None:
    command = import_module(f"bench.{part[0]}").main
    assert isinstance(command, click.Command)
    command.make_context(part[0], list(part[1:]))


async def test_an_interrupted_bench_ends_all_that_it_started() -> None:
    with trio.fail_after(50):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "bench", "--quick"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        bench = psutil.Process(process.pid)
        while len(bench.children(recursive=True)) < 3:  # noqa: ASYNC110 - a real process: the part, its model, the server
            await trio.sleep(0.05)
        family = bench.children(recursive=True)
        process.send_signal(signal.SIGINT)  # not to the others, as a terminal would: it has to end them itself
        assert await process.wait() == INTERRUPTED
    assert [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
