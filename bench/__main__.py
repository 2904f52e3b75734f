"""Everything that is measured, one after the other: `python -m bench [--quick]`, which is what `make bench` runs.

Each part is a program of its own (`python -m bench.capacity --help`), writes its figures to bench/results/, and can be run alone.
Measure on a machine that does nothing else. `--quick` takes about a minute and tells whether all is as it was; for figures that
are worth printing take the whole, under ten minutes. The soak and the chaos have their own time: `python -m bench.soak`,
`python -m bench.chaos`.
"""

from __future__ import annotations

import subprocess
import sys
import time

import click

WHOLE = (
    ("capacity", "--calls", "10", "--calls", "50", "--calls", "100", "--seconds", "20", "--repeat", "2"),
    ("interruptions", "--calls", "20", "--calls", "100", "--seconds", "20"),
    ("core",),
    ("startup", "--repeat", "3"),
    ("switch",),
    ("barge_in",),
    ("model_server", "--seconds", "15"),
)
QUICK = (
    ("capacity", "--quick"),
    ("interruptions", "--calls", "10", "--seconds", "12"),
    ("core", "--repeat", "3"),
    ("startup", "--repeat", "1"),
)


@click.command()
@click.option("--quick", is_flag=True, help="A minute instead of ten.")
def main(*, quick: bool) -> None:
    """Run all benches. Exit code 1 when one of them failed; the others run all the same."""
    failed = []
    for name, *arguments in QUICK if quick else WHOLE:
        click.echo(f"\n== python -m {' '.join([f'bench.{name}', *arguments])}", color=None)
        began = time.monotonic()
        try:
            code = subprocess.call([sys.executable, "-m", f"bench.{name}", *arguments])
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)
        if code:
            failed.append(name)
        click.echo(f"== {time.monotonic() - began:.0f} s")
    if failed:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
