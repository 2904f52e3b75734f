"""Real processes: whatever callers and the model do, a server is afterwards as it was before."""

import sys
from pathlib import Path

import pytest
import trio

from bench.soak import left_over, slope_bytes
from bench.watched_server import Living

ROOT = Path(__file__).parents[2]
LIVING = Living(tasks=5, timers=0, threads=2, descriptors=10, resident_kb=70_000, objects=60_000)


def test_what_is_left_is_told() -> None:
    after = Living(tasks=7, timers=1, threads=1, descriptors=10, resident_kb=90_000, objects=99_000)
    assert left_over(LIVING, LIVING) == []
    assert left_over(LIVING, after) == ["tasks: 5 before, 7 after", "timers: 0 before, 1 after"]


def test_a_slope_is_told_in_bytes_a_call() -> None:
    def sample(calls: int) -> tuple[int, Living]:
        return calls, Living(5, 0, 2, 10, 70_000 + 3 * calls, 60_000)

    assert slope_bytes([sample(calls) for calls in range(0, 100, 10)]) == pytest.approx(3 * 1024)
    assert slope_bytes([]) == 0.0


@pytest.mark.prove
async def test_twenty_seconds_of_random_callers_leave_nothing_behind() -> None:
    command = [sys.executable, "-m", "bench.soak", "--minutes", "0.34", "--rate", "5", "--seed", "7"]
    with trio.fail_after(240):
        done = await trio.run_process(command, cwd=ROOT, capture_stdout=True, capture_stderr=True, check=False)
    told = done.stdout.decode()
    assert done.returncode == 0, told + done.stderr.decode()
    assert "Nothing is left." in told
