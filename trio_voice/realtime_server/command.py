"""`python -m trio_voice model`: the embedded Realtime server on its own."""

from __future__ import annotations

from pathlib import Path

import click
import trio

from trio_voice.realtime_server.script import default_script, read_script
from trio_voice.realtime_server.server import ModelServerSettings, serve_model


@click.command("model")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True, help="Port; 0: any free one.")
@click.option("--script", "script_path", type=click.Path(path_type=Path), help="What it answers (TOML); default: a receptionist.")
@click.option("--api-key", envvar="TRIO_VOICE_MODEL_KEY", help="The key that clients must give; default: none is asked for.")
@click.option("--seed", type=int, help="Makes identifiers and random times repeatable.")
def model(host: str, port: int, script_path: Path | None, api_key: str | None, seed: int | None) -> None:
    """Run the embedded Realtime server: the OpenAI Realtime protocol without a key, an account or a network."""
    script = read_script(script_path) if script_path is not None else default_script()
    settings = ModelServerSettings(host=host, port=port, script=script, api_key=api_key, seed=seed)
    try:
        trio.run(_serve, settings)
    except* KeyboardInterrupt:
        click.echo("Stopped.")


async def _serve(settings: ModelServerSettings) -> None:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(_started, settings)
        click.echo(f"Realtime server: {url}?model=gpt-realtime-2.1")


async def _started(settings: ModelServerSettings, *, task_status: trio.TaskStatus[str]) -> None:
    await serve_model(settings, task_status=task_status)
