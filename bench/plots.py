"""Draws what `bench.capacity` measured: delays and processor time against the number of calls, trio-voice beside the relay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from attrs import frozen
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.rows import Row

_COLOURS = ("#0072B2", "#D55E00", "#009E73")  # Okabe and Ito's: told apart by colour-blind eyes too
_INK, _PALE = "#222222", "#DDDDDD"
_DPI = 110


@frozen
class Curve:
    """One measure of one system."""

    pick: Callable[[Row], float]
    line: str
    name: str


def draw(rows: Sequence[Row], target: Path) -> None:
    """Write a PNG of four panels. `rows` may hold several runs of the same; their medians are drawn."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    up = (Curve(lambda row: row.up_p50_ms, "--", "p50"), Curve(lambda row: row.up_p99_ms, "-", "p99"))
    down = (Curve(lambda row: row.down_p50_ms, "--", "p50"), Curve(lambda row: row.down_p99_ms, "-", "p99"))
    _panel(panels[0][0], "Added delay, caller to model", "ms", rows, up)
    _panel(panels[0][1], "Added delay, model to caller", "ms", rows, down)
    _panel(panels[1][0], "Processor time", "CPU s a call-minute", rows, (Curve(lambda row: row.cpu_s_per_call_minute, "-", ""),))
    _panel(panels[1][1], "Load", "% of a core", rows, (Curve(lambda row: row.cpu_share * 100, "-", ""),))
    for panel in panels[0]:
        if any(value > 0 for line in panel.lines for value in line.get_data()[1]):  # short runs may have heard no reply
            panel.set_yscale("log")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panels[1][0].set_ylim(bottom=0)
    panels[1][1].set_ylim(0, 105)
    late = [row for row in rows if not row.valid]
    if late:
        figure.supxlabel("hollow: a run that is not valid, because the callers or their processor could not keep up", fontsize=9)
    FigureCanvasAgg(figure)
    figure.savefig(target, format="png", dpi=_DPI, metadata={"Software": None})


def _panel(axes: Axes, title: str, unit: str, rows: Sequence[Row], curves: Sequence[Curve]) -> None:
    axes.set_title(title, color=_INK, fontsize=11)
    axes.set_xlabel("calls at once")
    axes.set_ylabel(unit)
    axes.grid(color=_PALE, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    for system, colour in zip(dict.fromkeys(row.system for row in rows), _COLOURS, strict=False):
        for curve in curves:
            points = _points([row for row in rows if row.system == system], curve.pick)
            name = f"{system} {curve.name}".strip()
            axes.plot([x for x, _, _ in points], [y for _, y, _ in points], curve.line, color=colour, label=name)
            for x, y, valid in points:
                axes.plot(x, y, "o", color=colour, markersize=5, markerfacecolor=colour if valid else "white")
    axes.set_xlim(left=0)
    axes.set_xticks(sorted({row.calls for row in rows}))
    axes.legend(frameon=False, fontsize=8)


def _points(rows: Sequence[Row], pick: Callable[[Row], float]) -> list[tuple[int, float, bool]]:
    """Calls, median, and whether all runs were valid."""
    counts = sorted({row.calls for row in rows})
    same = {count: [row for row in rows if row.calls == count] for count in counts}
    return [(count, median(pick(row) for row in same[count]), all(row.valid for row in same[count])) for count in counts]
