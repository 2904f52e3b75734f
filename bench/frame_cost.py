"""What a caller's frame costs, and a piece of the model's speech, from the read of the socket to the last message that leaves.

    python -m bench.frame_cost [--calls 48] [--rounds 100] [--repeat 2] [--quick]

The real server holds so many calls, with everything on, and its far ends are in the same process (`bench.frame_cost_calls`). In
a round one frame comes from each caller, 20 ms of a quiet line, or from each model a packet: a quarter of a second of speech,
alone or with what is written of it. What is timed, on the thread's own clock, is the function that the server's poller calls for
a socket that has something: it reads, decodes, listens, tells the call, writes the journal's lines and sends. To take the time is
in it, up to a microsecond.

"Warm": all come at once and are served one after the other, with nothing between them. "After a sleep": ten come while the
process sleeps, until the poller's timer goes off, as in a server with so many calls. "Around": what the scheduler and the poller
take then, by a frame's share, with a little of the bench's own. All the time the agent is heard, so that frames are weighed
against its echo, too; for one that is silent a few functions less are called.

Two processes, one with the compiled parts and one without, take turns of ten rounds: what a machine does meanwhile happens to
both. The first figure is the 10th percentile of the rounds, the second the median, and the ratio that of the pairs of rounds: it
holds from day to day, where the figures do not. In two rounds more the functions are counted that are called, those in C
included. It writes bench/results/frame_cost.json.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

import click
import msgspec
from attrs import frozen
from rich.console import Console
from rich.table import Table

from bench.frame_cost_calls import Report
from bench.processes import ROOT
from bench.results_folder import write_result
from trio_voice.server.poller import FEWEST_PATIENT

COMPILED, IN_PYTHON = "compiled", "in Python"
BEFORE_IMPORTS = {COMPILED: "", IN_PYTHON: "sys.modules['trio_voice._speedups'] = None; "}
CHILD = "import sys; {before}from bench.frame_cost_calls import main; main({calls}, {rounds}, {folder!r})"
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


@frozen
class Figures:
    """Of one cost, with one variant."""

    p10_us: float
    median_us: float
    functions: float | None


def run(calls: int, rounds: int, repeat: int) -> Reports:
    """Measure with the compiled parts, if there are any, and without, in turn."""
    compiled = (COMPILED,) if importlib.util.find_spec("trio_voice._speedups") is not None else ()
    reports: dict[str, list[Report]] = {variant: [] for variant in (*compiled, IN_PYTHON)}
    for _ in range(repeat):
        with ExitStack() as stack:
            folder = stack.enter_context(TemporaryDirectory(prefix="trio-voice-bench-"))
            children = [stack.enter_context(child(variant, calls, rounds, f"{folder}/{variant}")) for variant in reports]
            lines = ["\n"]
            while "\n" in lines:
                lines = [next_line(each) for each in children]
        for found, line in zip(reports.values(), lines, strict=True):
            found.append(msgspec.json.decode(line, type=Report))
    return reports


@contextmanager
def child(variant: str, calls: int, rounds: int, folder: str) -> Iterator[Popen[str]]:
    """A process that measures, for the time of the block."""
    code = CHILD.format(before=BEFORE_IMPORTS[variant], calls=calls, rounds=rounds, folder=folder)
    with Popen([sys.executable, "-c", code], cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: Popen[str]) -> str:
    """Let a process work, and wait until it has worked; what it wrote."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    line = process.stdout.readline()
    if not line:
        raise click.ClickException("a process that measures has failed: see above")
    return line


def figures(reports: Sequence[Report], name: str) -> Figures:
    """What a cost is, by all rounds."""
    us = sorted(us for report in reports for us in report.costs[name].us)
    return Figures(us[len(us) // 10], statistics.median(us), reports[0].costs[name].functions)


def ratio(reports: Reports, name: str) -> float:
    """What something costs with the compiled parts, times what it costs without, by the pairs of rounds."""
    compiled, in_python = ([us for report in reports[each] for us in report.costs[name].us] for each in (COMPILED, IN_PYTHON))
    return statistics.median(one / other for one, other in zip(compiled, in_python, strict=True))


def show(result: Mapping[str, Mapping[str, Figures]], ratios: Mapping[str, float], console: Console) -> None:
    """Print a table."""
    table = Table(title="What a frame costs: us of the processor's time (10th percentile, median); functions called")
    table.add_column("what", no_wrap=True)
    for column in [column for variant in result for column in (variant, "functions")]:
        table.add_column(column, justify="right")
    table.add_column("times", justify="right")
    for name, what in NAMES.items():
        cells = []
        for found in (costs[name] for costs in result.values()):
            cells += [f"{found.p10_us:.1f}, {found.median_us:.1f}", "" if found.functions is None else f"{found.functions:.0f}"]
        table.add_row(what, *cells, f"{ratios[name]:.2f}" if ratios else "")
    console.print(table)


@click.command()
@click.option("--calls", type=click.IntRange(FEWEST_PATIENT), default=48, show_default=True, help="Fewer are not gathered.")
@click.option("--rounds", type=click.IntRange(4, 200), default=100, show_default=True, help="Of warm frames; of others half.")
@click.option("--repeat", type=click.IntRange(1), default=2, show_default=True, help="How many such pairs of processes.")
@click.option("--quick", is_flag=True, help="One pair, 40 rounds.")
def main(calls: int, rounds: int, repeat: int, *, quick: bool) -> None:
    """Measure, print a table, write bench/results/frame_cost.json."""
    if quick:
        rounds, repeat = 40, 1
    reports = run(calls, rounds, repeat)
    for report in (report for found in reports.values() for report in found):
        if (report.frames, report.pieces) != (report.frames_in_journals, report.pieces_in_journals):
            raise click.ClickException("not all that was sent came through: the figures mean nothing")
    result = {variant: {name: figures(found, name) for name in NAMES} for variant, found in reports.items()}
    ratios = {name: ratio(reports, name) for name in NAMES} if COMPILED in reports else {}
    console = Console()
    console.width = max(console.width, 100)
    show(result, ratios, console)
    write_result("frame_cost", {"calls": calls, "rounds": rounds, "repeat": repeat, "costs": result, "ratios": ratios})


if __name__ == "__main__":
    main()
