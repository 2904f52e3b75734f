"""What a caller's frame costs, and a piece of the model's speech, from the read of the socket to the last message that leaves.

    python -m bench.frame_cost [--calls 48] [--rounds 100] [--repeat 3] [--quick]

The real server holds so many calls, with everything on, and its far ends are in the same process (`bench.frame_cost_calls`). In
a round one frame comes from each caller, 20 ms of a quiet line, or from each model a packet: a quarter of a second of speech,
alone or with what is written of it. What is timed, on the thread's own clock, is the function that the server's poller calls for
a socket that has something: it reads, decodes, listens, tells the call, writes the journal's lines and sends. To take the time is
in it, up to a microsecond.

"Warm": all come at once, and the process never sleeps. "After a sleep": ten come while it sleeps, until the poller's timer goes
off, as in a server with so many calls. "Around": what the scheduler and the poller take then, by a frame's share, with a little
of the bench's own. All the time the agent is heard, so that frames are weighed against its echo, too; for one that is silent a
few functions less are called.

Once with the compiled parts and once without, each in a process of its own, in turn: compare within a run, by the ratio of the
pairs. The first figure is the 10th percentile of the rounds, the second the median, of several processes the medians. In two
rounds more the functions are counted that are called, those in C included. It writes bench/results/frame_cost.json.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence

import click
import msgspec
from rich.console import Console
from rich.table import Table

from bench.frame_cost_calls import Report
from bench.processes import ROOT
from bench.results_folder import write_result
from trio_voice.server.poller import FEWEST_PATIENT

COMPILED, IN_PYTHON = "compiled", "in Python"
BEFORE_IMPORTS = {COMPILED: "", IN_PYTHON: "sys.modules['trio_voice._speedups'] = None; "}
CHILD = "import sys; {before}from bench.frame_cost_calls import main; main({calls}, {rounds})"
CHILD_LIMIT_S = 120.0
NAMES = {
    "frame": "a caller's frame, warm",
    "first": "  the first after a sleep",
    "behind": "  those behind it",
    "around": "  around each of them",
    "piece": "the model's speech, 250 ms, warm",
    "written": "  with what is written of it",
}
"""What each of the costs is of."""

Reports = Mapping[str, Sequence[Report]]
"""By variant."""


def run(calls: int, rounds: int, repeat: int) -> Reports:
    """Measure with the compiled parts, if there are any, and without, in turn."""
    compiled = (COMPILED,) if importlib.util.find_spec("trio_voice._speedups") is not None else ()
    reports: dict[str, list[Report]] = {variant: [] for variant in (*compiled, IN_PYTHON)}
    for _ in range(repeat):
        for variant, found in reports.items():
            found.append(run_child(variant, calls, rounds))
    return reports


def run_child(variant: str, calls: int, rounds: int) -> Report:
    """Measure once, in a process of its own."""
    code = CHILD.format(before=BEFORE_IMPORTS[variant], calls=calls, rounds=rounds)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=CHILD_LIMIT_S)
    report = msgspec.json.decode(done.stdout, type=Report)
    if (report.frames, report.pieces) != (report.frames_in_journals, report.pieces_in_journals):
        raise click.ClickException("not all that was sent came through: the figures mean nothing")
    return report


def middle(reports: Sequence[Report], name: str) -> tuple[float, float]:
    """The 10th percentile and the median of a cost, in microseconds: the medians of the processes."""
    costs = [report.costs[name] for report in reports]
    return statistics.median(cost.p10_us for cost in costs), statistics.median(cost.median_us for cost in costs)


def ratio(reports: Reports, name: str) -> float:
    """What something costs with the compiled parts, times what it costs without: the median of the pairs."""
    pairs = zip(reports[COMPILED], reports[IN_PYTHON], strict=True)
    return statistics.median(one.costs[name].median_us / other.costs[name].median_us for one, other in pairs)


def show(reports: Reports, console: Console) -> None:
    """Print a table."""
    table = Table(title="What a frame costs: us of the processor's time (10th percentile, median); functions called")
    table.add_column("what", no_wrap=True)
    for column in [column for variant in reports for column in (variant, "functions")]:
        table.add_column(column, justify="right")
    table.add_column("times", justify="right")
    for name, what in NAMES.items():
        cells = []
        for found in reports.values():
            low_us, middle_us = middle(found, name)
            functions = found[0].costs[name].functions
            cells += [f"{low_us:.1f}, {middle_us:.1f}", "" if functions is None else f"{functions:g}"]
        table.add_row(what, *cells, f"{ratio(reports, name):.2f}" if COMPILED in reports else "")
    console.print(table)


@click.command()
@click.option("--calls", type=click.IntRange(FEWEST_PATIENT), default=48, show_default=True, help="Fewer are not gathered.")
@click.option("--rounds", type=click.IntRange(4, 300), default=100, show_default=True, help="Of warm frames; of others half.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Processes of each kind, in turn.")
@click.option("--quick", is_flag=True, help="One process of each kind, 40 rounds.")
def main(calls: int, rounds: int, repeat: int, *, quick: bool) -> None:
    """Measure, print a table, write bench/results/frame_cost.json."""
    if quick:
        rounds, repeat = 40, 1
    reports = run(calls, rounds, repeat)
    console = Console()
    console.width = max(console.width, 100)
    show(reports, console)
    write_result("frame_cost", {"calls": calls, "rounds": rounds, "reports": reports})


if __name__ == "__main__":
    main()
