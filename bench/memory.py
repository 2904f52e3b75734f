"""What a call weighs, with everything on: journal and records, with and without a recording.

    python -m bench.memory [--calls 200] [--seconds 8]

Resident memory of the process while so many calls go on, less what it was before them (after a first call, which makes what is
made once), beside the relay that does nothing, in the same run. What the allocator holds and does not use is in it, so it differs
by a tenth from run to run. It writes bench/results/memory.json.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click
import trio
from rich.console import Console
from rich.table import Table

from bench.capacity import CALLERS_PROCESSOR, System, floor_relay, measure, trio_voice
from bench.processes import Measured, pin
from bench.results_folder import write_result
from bench.rows import Row

TARGET_KB = 100.0


@asynccontextmanager
async def with_recording(model_url: str, folder: Path) -> AsyncIterator[tuple[Measured, int, str]]:
    """The server that records every call."""
    async with trio_voice(model_url, folder, "recording.enabled=true") as started:
        yield started


SYSTEMS: dict[str, System] = {
    "trio-voice, recording": with_recording,
    "trio-voice": trio_voice,
    "relay (trio-websocket)": floor_relay,
}


def show(rows: Sequence[Row], console: Console) -> None:
    """Print a table."""
    table = Table("system", "calls", "KB a call", "target", "turns", "calls that ended early", title="Memory of a call")
    for row in rows:
        target = f"{TARGET_KB:.0f}" if row.system.startswith("trio-voice") else ""
        table.add_row(row.system, str(row.calls), f"{row.kilobytes_per_call:.0f}", target, str(row.turns), str(row.ended_early))
    console.print(table)


async def run(calls: int, seconds: float) -> list[Row]:
    """All systems in turn."""
    rows = []
    for name, system in SYSTEMS.items():
        with tempfile.TemporaryDirectory(prefix="trio-voice-bench-") as folder:
            rows.append(await measure(name, system, calls, seconds, Path(folder)))
    return rows


@click.command()
@click.option("--calls", type=click.IntRange(1), default=200, show_default=True, help="How many at once.")
@click.option("--seconds", type=click.FloatRange(1), default=8.0, show_default=True, help="How long they go on after all began.")
def main(calls: int, seconds: float) -> None:
    """Measure, print, write."""
    pin(CALLERS_PROCESSOR)
    rows = trio.run(run, calls, seconds)
    write_result("memory", rows)
    show(rows, Console(width=100))


if __name__ == "__main__":
    main()
