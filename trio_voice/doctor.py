"""`trio-voice doctor`: would calls be answered here? A line for each check, with the fix."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import httpx2
import trio

from trio_voice.agent_file import load_agent
from trio_voice.checks import Checks, Finding, Verdict, as_facts, exit_code
from trio_voice.config import Settings, load_settings
from trio_voice.entrance import log_redaction
from trio_voice.logs import set_up_logging
from trio_voice.sections import LogFormat, LogLevel


@click.command("doctor")
@click.argument("agent", required=False, metavar="[AGENT.py[:NAME]]")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings (TOML). Default: trio-voice.toml, if there.")
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="Any setting, as with serve.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def doctor(agent: str | None, file: Path | None, assignments: tuple[str, ...], is_json: bool) -> None:
    """Look whether calls would be answered with these settings, and say what to do where not.

    It looks at the settings, the server's own certificate, the calls folder, the disk, the records, the recordings, the port, the
    limit of open files, who may call, the model and its key, the public address, the Twilio account, the traces and the clock.
    Nothing is changed, and no call is placed; the embedded model is started and ended, with another a session is opened and
    closed.

    Exit code 0: nothing is wrong. 1: something is. 2: the settings cannot be read.
    """
    loaded = None if agent is None else load_agent(agent)
    settings = load_settings(file=file, environ=os.environ, assignments=assignments, loaded=loaded)
    set_up_logging(LogFormat.CONSOLE, LogLevel.WARNING, redact=log_redaction(settings))
    findings = trio.run(_look, settings)
    click.echo(json.dumps(as_facts(findings), indent=2) if is_json else _in_words(findings))
    raise click.exceptions.Exit(exit_code(findings))


async def _look(settings: Settings) -> list[Finding]:
    async with httpx2.AsyncClient(follow_redirects=False) as client:
        return await Checks(settings, client).run()


def _in_words(findings: list[Finding]) -> str:
    lines = [f"{each.verdict.value:<6} {each.topic:<13} {each.text}" for each in findings]
    wrong = sum(each.verdict is Verdict.WRONG for each in findings)
    end = "Nothing is wrong." if not wrong else f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong."
    return "\n".join([*lines, "", end])
