"""How many calls a processor carries, and what a call costs, beside a relay that does nothing.

    python -m bench.capacity [--calls 10 50] [--seconds 30] [--repeat 3] [--quick]

The server under test runs on a processor of its own, with everything on (state machine, journal, levels, barge-in); the callers
and the embedded Realtime server share another. Both systems run in turn in the same run, because machines are noisy: compare rows
of one run, and look at the ratio. A run in which the callers themselves were late is marked invalid.
"""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import trio
from attrs import asdict, frozen
from rich.console import Console
from rich.table import Table

from bench.load import LoadCaller, Totals
from bench.processes import ROOT, Measured, free_port, pin, started, wait_until_listening
from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.phone.synthetic import synthetic_speech

RESULTS = Path(__file__).parent / "results"
SYSTEM_PROCESSOR, CALLERS_PROCESSOR = 1, 0
LATE_LIMIT_MS = 15.0
SENTENCE_S = 2.0
MODEL = "gpt-realtime-2.1"
INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended, as shells tell it."""


@frozen
class Row:
    """One run of one system."""

    system: str
    calls: int
    seconds: float
    cpu_s_per_call_minute: float
    kilobytes_per_call: float
    up_p50_ms: float
    up_p99_ms: float
    down_p50_ms: float
    down_p99_ms: float
    turns: int
    lost_up_frames: int
    lost_down_bytes: int
    ended_early: int
    callers_late_p99_ms: float
    valid: bool


System = Callable[[str, Path], AbstractAsyncContextManager[tuple[Measured, int, str]]]


@asynccontextmanager
async def trio_voice(model_url: str, folder: Path) -> AsyncIterator[tuple[Measured, int, str]]:
    """The server, as `make run` starts it, with the bench's model."""
    port = free_port()
    arguments = ["-m", "trio_voice", "serve", "--port", str(port), "--set", f"model.url={model_url}"]
    arguments += ["--set", f"server.calls_folder={folder / 'calls'}", "--set", "server.log_level=warning"]
    async with started(arguments, SYSTEM_PROCESSOR, folder / "trio-voice.log") as measured:
        await wait_until_listening(port)
        yield measured, port, "/media/twilio"


@asynccontextmanager
async def floor_relay(model_url: str, folder: Path) -> AsyncIterator[tuple[Measured, int, str]]:
    """The relay that does nothing."""
    arguments = ["-m", "bench.floor_relay", f"{model_url}?model={MODEL}"]
    async with started(arguments, SYSTEM_PROCESSOR, folder / "floor-relay.log") as measured:
        yield measured, int(await measured.line()), "/"


SYSTEMS: dict[str, System] = {"trio-voice": trio_voice, "relay (trio-websocket)": floor_relay}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values are; NaN for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


async def measure(name: str, system: System, calls: int, seconds: float, folder: Path) -> Row:
    """One run of one system with so many calls."""
    sentence = pcm16_to_ulaw(synthetic_speech(1, SENTENCE_S))
    quiet = bytes(0xF8 | at * 7 % 8 for at in range(8000))  # about -55 dBFS
    totals = Totals()
    async with started(["-m", "bench.model_process"], CALLERS_PROCESSOR, folder / "model.log") as model:
        model_url = await model.line()
        async with system(model_url, folder) as (measured, port, path):
            await trio.sleep(0.5)
            idle_bytes, idle_cpu_s, peak_bytes = measured.resident_bytes(), measured.cpu_s(), 0
            began_at = trio.current_time() + 0.2
            async with trio.open_nursery() as nursery:
                for number in range(calls):
                    caller = LoadCaller(number, sentence[: len(sentence) // 160 * 160], quiet, totals)
                    nursery.start_soon(caller.call, port, path, began_at + number * 0.01, seconds)
                await trio.sleep(seconds * 0.8)
                peak_bytes = measured.resident_bytes()
            await trio.sleep(0.5)
            cpu_s = measured.cpu_s() - idle_cpu_s
        seen = msgspec.json.decode(await model.last_line())
    late_ms = percentile(totals.late_ms, 0.99)
    return Row(
        system=name,
        calls=calls,
        seconds=seconds,
        cpu_s_per_call_minute=cpu_s / (calls * seconds / 60),
        kilobytes_per_call=(peak_bytes - idle_bytes) / calls / 1024,
        up_p50_ms=percentile(seen["up_ms"], 0.5),
        up_p99_ms=percentile(seen["up_ms"], 0.99),
        down_p50_ms=percentile(totals.down_ms, 0.5),
        down_p99_ms=percentile(totals.down_ms, 0.99),
        turns=totals.turns,
        lost_up_frames=totals.frames_sent - seen["frames"],
        lost_down_bytes=seen["sent_bytes"] - totals.heard_bytes,
        ended_early=totals.ended_early,
        callers_late_p99_ms=late_ms,
        valid=late_ms < LATE_LIMIT_MS and totals.turns > 0,
    )


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the median of the repetitions, system by system."""
    table = Table(title="Cost and delay of a call (median of the repetitions; added delay, each way)")
    for column in (
        "system",
        "calls",
        "CPU s / call-minute",
        "KB / call",
        "up p50/p99 ms",
        "down p50/p99 ms",
        "lost",
        "turns",
        "valid",
    ):
        table.add_column(column, justify="left" if column == "system" else "right")
    for system, calls in dict.fromkeys((row.system, row.calls) for row in rows):
        same = [row for row in rows if (row.system, row.calls) == (system, calls)]

        def middle(pick: Callable[[Row], float], same: Sequence[Row] = same) -> float:
            return statistics.median(pick(row) for row in same)

        table.add_row(
            system,
            str(calls),
            f"{middle(lambda row: row.cpu_s_per_call_minute):.3f}",
            f"{middle(lambda row: row.kilobytes_per_call):.0f}",
            f"{middle(lambda row: row.up_p50_ms):.2f} / {middle(lambda row: row.up_p99_ms):.2f}",
            f"{middle(lambda row: row.down_p50_ms):.2f} / {middle(lambda row: row.down_p99_ms):.2f}",
            f"{sum(row.lost_up_frames for row in same)} fr, {sum(row.lost_down_bytes for row in same)} B",
            str(sum(row.turns for row in same)),
            f"{sum(row.valid for row in same)}/{len(same)}",
        )
    console.print(table)
    for calls in dict.fromkeys(row.calls for row in rows):
        ours, floor = ([row for row in rows if row.system == name and row.calls == calls] for name in SYSTEMS)
        ratios = [one.cpu_s_per_call_minute / other.cpu_s_per_call_minute for one, other in zip(ours, floor, strict=True)]
        console.print(
            f"{calls} calls: trio-voice costs {statistics.median(ratios):.2f} times what the relay costs (pair by pair)"
        )


async def run(calls: Sequence[int], seconds: float, repeat: int, console: Console) -> list[Row]:
    """All runs, the systems in turn."""
    rows: list[Row] = []
    for count in calls:
        for _ in range(repeat):
            for name, system in SYSTEMS.items():
                with tempfile.TemporaryDirectory(prefix="trio-voice-bench-") as folder:
                    rows.append(await measure(name, system, count, seconds, Path(folder)))
                console.print(f"  {name}, {count} calls: {rows[-1].cpu_s_per_call_minute:.3f} CPU s / call-minute")
    return rows


@click.command()
@click.option("--calls", type=int, multiple=True, default=(10, 50), show_default=True, help="How many at once; repeatable.")
@click.option("--seconds", type=float, default=30.0, show_default=True, help="How long each run lasts.")
@click.option("--repeat", type=int, default=3, show_default=True, help="How often each pair is run.")
@click.option("--quick", is_flag=True, help="One pair of 10 calls, 15 seconds.")
def main(calls: tuple[int, ...], seconds: float, repeat: int, *, quick: bool) -> None:
    """Measure, print a table, write bench/results/capacity.json."""
    console = Console()
    console.width = max(console.width, 120)
    if quick:
        calls, seconds, repeat = (10,), 15.0, 1
    pin(CALLERS_PROCESSOR)
    rows = None
    try:
        rows = trio.run(run, calls, seconds, repeat, console)
    except* KeyboardInterrupt:
        pass
    if rows is None:
        console.print("Interrupted: nothing was written.")
        raise SystemExit(INTERRUPTED)
    show(rows, console)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / "capacity.json"
    machine = {"python": platform.python_version(), "processor": platform.processor() or platform.machine()}
    report = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, "rows": [asdict(row) for row in rows]}
    target.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print(f"Written: {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
