"""`python -m bench`: Ctrl-C leaves nothing running."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import trio

ROOT = Path(__file__).parents[2]
INTERRUPTED = 130


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
