"""What a run of `bench.capacity` showed, and how it is told."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from attrs import frozen
from rich.console import Console
from rich.table import Table


@frozen
class Row:
    """One run of one system."""

    system: str
    calls: int
    seconds: float
    """The time that counts."""
    cpu_s_per_call_minute: float
    cpu_share: float
    """Of one processor."""
    setup_cpu_ms: float
    """Processor time for a call's begin: what was spent while calls began, less what those that had begun went on to cost."""
    kilobytes_per_call: float
    up_p50_ms: float
    up_p99_ms: float
    down_p50_ms: float
    down_p99_ms: float
    turns: int
    lost_up_frames: int
    lost_down_bytes: int
    ended_early: int
    late_p99_ms: float
    """The callers'."""
    generator_cpu_share: float
    """Of the callers' and the model's processor."""
    valid: bool


COLUMNS = (
    "system",
    "calls",
    "CPU s a call-minute",
    "core",
    "set-up CPU ms",
    "KB a call",
    "up p50 / p99 ms",
    "down p50 / p99 ms",
    "lost",
    "turns",
    "generator: core, late p99",
    "valid",
)


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the median of the repetitions, system by system."""
    table = Table(title="Cost and delay of a call (median of the repetitions; added delay, each way)")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "system" else "right", no_wrap=column == "system")
    for system, calls in dict.fromkeys((row.system, row.calls) for row in rows):
        same = [row for row in rows if (row.system, row.calls) == (system, calls)]

        def middle(pick: Callable[[Row], float], same: Sequence[Row] = same) -> float:
            return statistics.median(pick(row) for row in same)

        table.add_row(
            system,
            str(calls),
            f"{middle(lambda row: row.cpu_s_per_call_minute):.3f}",
            f"{middle(lambda row: row.cpu_share):.0%}",
            f"{middle(lambda row: row.setup_cpu_ms):.1f}",
            f"{middle(lambda row: row.kilobytes_per_call):.0f}",
            f"{middle(lambda row: row.up_p50_ms):.2f} / {middle(lambda row: row.up_p99_ms):.2f}",
            f"{middle(lambda row: row.down_p50_ms):.2f} / {middle(lambda row: row.down_p99_ms):.2f}",
            f"{sum(row.lost_up_frames for row in same)} fr, {sum(row.lost_down_bytes for row in same)} B"
            + (f", {ended} calls" if (ended := sum(row.ended_early for row in same)) else ""),
            str(sum(row.turns for row in same)),
            f"{middle(lambda row: row.generator_cpu_share):.0%}, {middle(lambda row: row.late_p99_ms):.1f} ms",
            f"{sum(row.valid for row in same)}/{len(same)}",
        )
    console.print(table)
    systems = list(dict.fromkeys(row.system for row in rows))
    for calls in dict.fromkeys(row.calls for row in rows):
        ours, floor = ([row for row in rows if (row.system, row.calls) == (system, calls)] for system in systems)
        ratios = [one.cpu_s_per_call_minute / other.cpu_s_per_call_minute for one, other in zip(ours, floor, strict=True)]
        console.print(
            f"{calls} calls: trio-voice costs {statistics.median(ratios):.2f} times what the relay costs (pair by pair)"
        )
