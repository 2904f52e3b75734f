"""`python -m trio_voice model`: the embedded Realtime server on its own."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
import structlog
import trio

from trio_voice.errors import UserError
from trio_voice.realtime_server.audio_formats import be_ready_for_pcm
from trio_voice.realtime_server.script import default_script, read_script
from trio_voice.realtime_server.server import ModelServerSettings, first_user_error, serve_model
from trio_voice.realtime_server.switches import describe_switches, parse_assignments
from trio_voice.realtime_server.voice import VoiceSettings


def _list_switches(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        for name, default, meaning in describe_switches():
            click.echo(f"{name} = {default}\n    {meaning}")
        context.exit()


@click.command("model")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True, help="Port; 0: any free one.")
@click.option("--script", "script_path", type=click.Path(path_type=Path), help="What it answers (TOML); default: a receptionist.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Set a switch (timing, faults); repeatable.")
@click.option("--switches", is_flag=True, is_eager=True, expose_value=False, callback=_list_switches, help="List the switches.")
@click.option("--api-key", envvar="TRIO_VOICE_MODEL_KEY", help="The key that clients must give; default: none is asked for.")
@click.option("--sessions", "most_sessions", type=click.IntRange(1), default=1000, show_default=True, help="At most so many.")
@click.option("--cheap", is_flag=True, help="For load tests: prepared audio, turns by level, almost no CPU.")
@click.option(
    "--voice", "engine", type=click.Choice(["auto", "flite", "espeak-ng", "tones"]), default="auto", help="What speaks."
)
@click.option("--voice-workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that speak.")
@click.option(
    "--detector", type=click.Choice(["telephone", "silero"]), default="telephone", show_default=True, help="What hears."
)
@click.option("--control/--no-control", default=True, help="Offer /control/ to change switches while it runs (default: yes).")
@click.option("--seed", type=int, help="Makes identifiers and random times repeatable.")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@click.option("--quiet", is_flag=True, help="Log warnings only.")
def model(
    script_path: Path | None,
    assignments: tuple[str, ...],
    engine: Literal["auto", "flite", "espeak-ng", "tones"],
    voice_workers: int,
    log_json: bool,
    quiet: bool,
    **plain: Any,
) -> None:
    """Run the embedded Realtime server: the OpenAI Realtime protocol without a key, an account or a network."""
    script = read_script(script_path) if script_path is not None else default_script()
    switches = script.switches.changed(parse_assignments(assignments), "--set")
    voice = VoiceSettings(engine=engine, workers=voice_workers)
    settings = ModelServerSettings(script=msgspec.structs.replace(script, switches=switches), voice=voice, **plain)
    _configure_log(as_json=log_json, quiet=quiet)
    be_ready_for_pcm()  # whoever comes may speak it
    problem: UserError | None = None
    try:
        trio.run(_serve, settings)
    except* UserError as group:
        problem = first_user_error(group)
    except* KeyboardInterrupt:
        pass
    if problem is not None:
        raise problem


async def _serve(settings: ModelServerSettings) -> None:
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            url = await nursery.start(_started, settings)
            click.echo(f"Realtime server: {url}?model=gpt-realtime-2.1", err=True)
            async for _ in signals:
                nursery.cancel_scope.cancel()


async def _started(settings: ModelServerSettings, *, task_status: trio.TaskStatus[str]) -> None:
    await serve_model(settings, task_status=task_status)


def _configure_log(*, as_json: bool, quiet: bool) -> None:
    if as_json:
        last: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:  # plain tracebacks: pretty ones take seconds, in which no session is served
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper("iso", utc=True), *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING if quiet else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
