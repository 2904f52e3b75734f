from __future__ import annotations

from typing import Any

import pytest
import trio
from click.testing import CliRunner

from trio_voice.errors import ConfigError, UserError
from trio_voice.realtime_server import command
from trio_voice.realtime_server.server import ModelServerSettings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ModelServerSettings]:
    """The settings of servers that the command would have started; nothing is served, no log is configured."""
    settings: list[ModelServerSettings] = []

    async def serve(given: ModelServerSettings, *, task_status: trio.TaskStatus[str]) -> None:
        settings.append(given)
        task_status.started("ws://127.0.0.1:1/v1/realtime")
        raise UserError("that is enough")

    monkeypatch.setattr(command, "serve_model", serve)
    monkeypatch.setattr(command, "_configure_log", lambda **_: None)
    return settings


def run(*arguments: str) -> Any:
    return CliRunner().invoke(command.model, arguments)


def test_options_become_settings(started: list[ModelServerSettings]) -> None:
    result = run(
        "--port", "0", "--set", "stragglers=2", "--set", "pace=1", "--api-key", "sk-1", "--cheap", "--no-control", "--seed", "7"
    )
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == "that is enough"  # one plain error, out of all the nurseries
    (settings,) = started
    assert (settings.port, settings.api_key, settings.cheap, settings.control, settings.seed) == (0, "sk-1", True, False, 7)
    assert (settings.script.switches.stragglers, settings.script.switches.pace) == (2, 1.0)
    assert settings.script.name == "receptionist"


def test_it_is_ready_for_pcm_before_anybody_comes(started: list[ModelServerSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    monkeypatch.setattr(command, "be_ready_for_pcm", lambda: begun.append(len(started)))
    run()
    assert (begun, len(started)) == ([0], 1)


def test_what_speaks_and_what_hears_can_be_chosen(started: list[ModelServerSettings]) -> None:
    run("--voice", "espeak-ng", "--voice-workers", "3", "--detector", "silero")
    run()
    chosen, plain = started
    assert (chosen.voice.engine, chosen.voice.workers, chosen.detector) == ("espeak-ng", 3, "silero")
    assert (plain.voice.engine, plain.voice.workers, plain.detector) == ("auto", 1, "telephone")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--script", "/nowhere/x.toml"], "/nowhere/x.toml: cannot be read"),
        (["--set", "stragglers"], "write it as NAME=VALUE"),
        (["--set", "stragglers=many"], "stragglers"),
    ],
)
def test_a_users_mistake_is_one_sentence(started: list[ModelServerSettings], arguments: list[str], problem: str) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, ConfigError)
    assert problem in str(result.exception)
    assert started == []


def test_the_switches_can_be_listed(started: list[ModelServerSettings]) -> None:
    result = run("--switches")
    assert result.exit_code == 0
    assert "late_done = false\n    a cancelled response's response.done comes after" in result.output
    assert started == []
