"""Everything that is measured, one after the other: `python -m bench [--quick]`, which is what `make bench` runs.

Each part is a program of its own (`python -m bench.capacity --help`), writes its figures to bench/results/, and can be run alone.
Measure on a machine that does nothing else. `--quick` takes about a minute and tells whether all is as it was; for figures that
are worth printing take the whole, under ten minutes. What has its own time: `python -m bench.soak`, and the whole of
`python -m bench.barge_in`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import click
from rich.console import Console

from bench.summary import summarise

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended, as shells tell it."""
END_LIMIT_S = 40.0
"""How long a bench may take to end what it started."""
WHOLE = (
    ("capacity", "--calls", "50", "--calls", "100", "--calls", "200", "--seconds", "8", "--repeat", "1"),
    ("memory", "--calls", "200", "--seconds", "4"),
    ("interruptions", "--calls", "100", "--seconds", "15"),
    ("transport", "--repeat", "3"),
    ("frame_cost",),
    ("core",),
    ("startup", "--repeat", "2", "--calls", "50"),
    ("switch", "--switches", "6"),
    ("barge_in", "--quick"),
    ("model_server", "--seconds", "10"),
    ("chaos", "--seconds", "1.2"),
)
QUICK = (
    ("capacity", "--quick"),
    ("transport", "--repeat", "1", "--rounds", "30"),
    ("frame_cost", "--quick"),
    ("core", "--repeat", "3"),
    ("startup", "--repeat", "1", "--calls", "8"),
)


def run_part(name: str, arguments: Sequence[str]) -> int:
    """Run one bench; its exit code. Ctrl-C is passed on to it, and waited for: it ends the servers that it started."""
    with subprocess.Popen([sys.executable, "-m", f"bench.{name}", *arguments]) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


@click.command()
@click.option("--quick", is_flag=True, help="A minute instead of ten.")
def main(*, quick: bool) -> None:
    """Run all benches, and print their figures in one table. Exit code 1 when one of them failed; the others run all the same."""
    failed: list[str] = []
    done: list[str] = []
    for name, *arguments in QUICK if quick else WHOLE:
        click.echo(f"\n== python -m {' '.join([f'bench.{name}', *arguments])}", color=None)
        began = time.monotonic()
        try:
            code = run_part(name, arguments)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(INTERRUPTED)
        (failed if code else done).append(name)
        click.echo(f"== {time.monotonic() - began:.0f} s")
    console = Console()
    console.width = max(console.width, 100)
    summarise(done, console)
    if failed:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
