"""The figures that matter, of all benches of one run, in one table: what `python -m bench` ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.results_folder import read_result

Line = tuple[str, str, str]
"""What, the figure, and what it is held against: the floor of the same run, or the target."""


def _capacity(report: Any) -> Iterator[Line]:
    rows = report["rows"]
    systems = list(dict.fromkeys(row["system"] for row in rows))
    for calls in dict.fromkeys(row["calls"] for row in rows):
        ours, floor = ([row for row in rows if (row["system"], row["calls"]) == (system, calls)] for system in systems)
        cpu = "cpu_s_per_call_minute"
        ratio = median(one[cpu] / other[cpu] for one, other in zip(ours, floor, strict=True))
        yield f"{calls} calls: CPU, times the relay's", f"{ratio:.2f}", "1, 0.5 wanted"
        yield f"{calls} calls: CPU s a call-minute", _figure(ours, cpu, 3), _figure(floor, cpu, 3)
        for way in ("up", "down"):
            p99 = f"{way}_p99_ms"
            yield f"{calls} calls: added delay p99, {way}, ms", _figure(ours, p99, 1), _figure(floor, p99, 1)
        yield f"{calls} calls: frames lost", _lost(ours), _lost(floor)


def _lost(rows: Sequence[dict[str, Any]]) -> str:
    return str(sum(row["lost_up_frames"] for row in rows))


def _figure(rows: Sequence[dict[str, Any]], name: str, digits: int) -> str:
    values = [row[name] for row in rows if row[name] is not None]
    invalid = "" if all(row["valid"] for row in rows) else " (not valid)"
    return (f"{median(values):.{digits}f}" if values else "-") + invalid


def _memory(rows: Any) -> Iterator[Line]:
    *ours, floor = rows
    for row in ours:
        what = f"KB a call, {row['calls']} calls{row['system'].removeprefix('trio-voice')}"
        yield what, f"{row['kilobytes_per_call']:.0f}", f"{floor['kilobytes_per_call']:.0f}, at most 100 wanted"


def _interruptions(rows: Any) -> Iterator[Line]:
    for row in rows:
        invalid = "" if row["valid"] else " (not valid)"
        yield (
            f"{row['calls']} calls: barge-in to clear p99, ms",
            f"{row['clear_p99_ms'] or float('nan'):.1f}{invalid}",
            "3 wanted",
        )
        yield f"{row['calls']} calls: late audio, bytes", str(row["late_bytes"]), "0 wanted"


def _core(report: Any) -> Iterator[Line]:
    yield "state machine, a caller's frame, us", f"{report['event_us']['CallerAudio']:.2f}", "3 wanted"


def _transport(report: Any) -> Iterator[Line]:
    ours, floor = (f"{median(times):.0f}" for times in report["us"].values())
    yield "a message in and out again, us", ours, floor


def _frame_cost(report: Any) -> Iterator[Line]:
    *_, in_python = variants = list(report["costs"].values())  # the first is compiled, where there is a compiler
    for name, what in (("frame", "a caller's frame, warm, us"), ("piece", "250 ms of the model's speech, warm, us")):
        ours, other = (f"{costs[name]['p10_us']:.0f} to {costs[name]['median_us']:.0f}" for costs in (variants[0], in_python))
        yield what, ours, f"{other} in Python"


def _startup(rows: Any) -> Iterator[Line]:
    for name, what, target in (
        ("ready_s", "ready after s", 1),
        ("idle_mb", "idle, MB", 60),
        ("embedded_ready_s", "... with the embedded model, ready after s", 1),
        ("embedded_idle_mb", "... and idle, MB", 60),
        ("setup_ms", "a call's set-up, CPU ms", 20),
    ):
        yield what, f"{median(row[name] for row in rows):.1f}", f"{target} wanted"


def _switch(report: Any) -> Iterator[Line]:
    yield "a hand-off adds, ms", f"{report['added_ms']:.0f}", "300 wanted"


def _model_server(report: Any) -> Iterator[Line]:
    yield f"the embedded model, {report['sessions']} sessions, cores", f"{report['cores']:.2f}", "0.5 wanted"


def _chaos(report: Any) -> Iterator[Line]:
    quiet, *troubles = report["rows"]
    for way in ("up", "down"):
        measured = [row for row in troubles if row[f"{way}_times"] is not None]
        worst = max(measured, key=lambda row: row[f"{way}_times"], default=quiet)
        yield (
            f"{report['calls']} calls beside {len(troubles)} troubles: p99, {way}, ms, the worst",
            f"{worst[f'{way}_p99_ms']:.1f} ({worst['trouble']})",
            f"twice {quiet[f'{way}_p99_ms']:.1f}, or 5",
        )
    yield "frames lost, calls ended", f"{report['lost_frames']}, {sum(row['ended'] for row in report['rows'])}", "0 wanted"


_TOLD: dict[str, Callable[[Any], Iterator[Line]]] = {
    "capacity": _capacity,
    "memory": _memory,
    "interruptions": _interruptions,
    "transport": _transport,
    "frame_cost": _frame_cost,
    "core": _core,
    "startup": _startup,
    "switch": _switch,
    "model_server": _model_server,
    "chaos": _chaos,
}


def summarise(names: Sequence[str], console: Console) -> None:
    """Print one table of the named benches' figures; each must have written its result."""
    table = Table("what", "trio-voice", "floor, or target", title="All together")
    for name in names:
        if name in _TOLD:
            for line in _TOLD[name](read_result(name)):
                table.add_row(*line)
    console.print(table)
