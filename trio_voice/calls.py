"""`trio-voice calls`: the calls that were, from their records."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from rich.console import Console, RenderableType

from trio_voice.config import load_settings
from trio_voice.errors import UserError
from trio_voice.keeping import records_address
from trio_voice.records.connection import Connection
from trio_voice.records.database import Database, DatabaseFailedError, RecordRefusedError
from trio_voice.records.reading import Wanted, find_call, list_calls
from trio_voice.records.show import calls_csv, calls_json, calls_table, whole_call
from trio_voice.settings_sources import Given
from trio_voice.storage.call_record import Outcome

USUAL_LIMIT = 30
WIDEST_IN_A_PIPE = 10_000
_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.command("calls")
@click.argument("call", required=False, metavar="[CALL]")
@click.option("--since", metavar="WHEN", help="Calls that began then or later: 90m, 24h, 7d, 2026-11-21, or 2026-11-21T09:30.")
@click.option("--caller", metavar="DIGITS", help="Calls of callers whose number ends so.")
@click.option("--outcome", type=click.Choice([each.value for each in Outcome]), help="Calls that ended so.")
@click.option("--limit", type=click.IntRange(min=1), help=f"At most so many, the newest. Default: {USUAL_LIMIT}; exported: all.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings (TOML), as for serve.")
@click.option("--calls-folder", "--calls", "folder", help="The server's calls folder, in which the records are by default.")
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="Any setting, e.g. records.url=...")
def calls(
    call: str | None,
    since: str | None,
    caller: str | None,
    outcome: str | None,
    limit: int | None,
    as_csv: bool,
    as_json: bool,
    file: Path | None,
    folder: str | None,
    assignments: tuple[str, ...],
) -> None:
    """List the calls that were, the newest first, or show one of them.

    CALL is a call's id, ours or the carrier's.
    """
    if as_csv and (as_json or call is not None):
        raise UserError("--csv lists calls, one a line: leave out --json and the call's id, or take --json for one call")
    wanted = Wanted(
        since=None if since is None else moment(since, datetime.now(UTC)),
        caller=caller,
        outcome=None if outcome is None else Outcome(outcome),
        limit=limit or (None if as_csv or as_json else USUAL_LIMIT),
    )
    flags = {} if folder is None else {"server.calls_folder": Given(folder, "--calls-folder", is_text=True)}
    settings = load_settings(file=file, environ=os.environ, assignments=assignments, flags=flags)
    database = Database(records_address(settings), reads_only=True)
    try:
        database.check()
        with database.reading() as connection:
            found = _list(connection, wanted, as_csv, as_json) if call is None else _one(connection, call, as_json)
    except (DatabaseFailedError, RecordRefusedError) as error:
        raise UserError(f"the records in {database.address} cannot be read: {error}") from None
    finally:
        database.close()
    _print(found)


def moment(text: str, now: datetime) -> datetime:
    """Read a moment: a time ago, a day, or a time of a day, local if it names no zone. Raises UserError."""
    try:
        if (ago := _AGO.fullmatch(text)) is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise UserError(f"--since {text}: must look like 90m, 24h, 7d, 2026-11-21, or 2026-11-21T09:30") from None


def _list(connection: Connection, wanted: Wanted, as_csv: bool, as_json: bool) -> RenderableType:
    rows = list_calls(connection, wanted)
    if as_csv:
        return calls_csv(rows).rstrip("\n")
    if as_json:
        return calls_json(rows)
    return calls_table(rows) if rows else "no calls"


def _one(connection: Connection, name: str, as_json: bool) -> RenderableType:
    found = find_call(connection, name)
    if found is None:
        raise UserError(f"there is no record of a call {name!r}; trio-voice calls lists those that there are")
    return calls_json(found) if as_json else whole_call(found)


def _print(found: RenderableType) -> None:
    if isinstance(found, str):
        click.echo(found)
        return
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:  # nobody wraps lines for a program
        console = Console(highlight=False, markup=False, emoji=False, width=WIDEST_IN_A_PIPE)
    console.print(found)
