"""The command line: help at once, and every mistake one line and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click
import pytest
import trio
from click.testing import CliRunner

from tests.test_public_names import imported_with
from trio_voice import cli
from trio_voice.errors import ConfigError, UserError

SERVE = "from trio_voice.cli import main\nmain.get_command(None, 'serve')"
NOT_USED = {
    "rich",
    "pygments",
    "httpx2",
    "openai",
    "numpy",
    "sqlalchemy",
    "alembic",
    "matplotlib",
    "boto3",
    "opentelemetry",
    "jinja2",
    "trio_voice.phone.carrier",
    "trio_voice.doctor",
}


def test_a_server_imports_only_what_it_uses() -> None:
    names = imported_with(SERVE)
    assert {"structlog", "trio", "trio_voice.server.call_runner", "trio_voice.web.console"} <= names
    assert names & (NOT_USED | {"trio_voice.realtime_server.server"}) == set()


def test_the_embedded_model_adds_its_own_modules_and_its_detector() -> None:
    names = imported_with(f"{SERVE}\nimport trio_voice.embedded_model")
    assert "trio_voice.realtime_server.session" in names
    assert names & NOT_USED == set()
    added = {name.partition(".")[0] for name in names - imported_with(SERVE)}
    assert added - sys.stdlib_module_names == {"trio_voice", "webrtcvad", "_webrtcvad"}


def test_the_garbage_collector_comes_less_often_from_the_first_import_on() -> None:
    looked = "import gc\nassert gc.get_threshold() == cli.NEW_OBJECTS\nassert gc.get_stats()[2]['collections'] == 0"
    assert "trio_voice.serve" in imported_with(f"from trio_voice import cli\n{SERVE}\n{looked}")


def test_other_commands_draw_with_rich() -> None:
    assert "rich.console" in imported_with("from trio_voice.cli import main\nmain.get_command(None, 'replay')")
    code = "from trio_voice.cli import *; import_structlog_alone(); import rich.console; import_structlog_alone()"
    assert {"structlog", "rich.console"} <= imported_with(code)


def command_that(run: Callable[[], None]) -> click.Command:
    return click.Command("serve", callback=run)


@pytest.fixture
def serve_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], tuple[int, str, str]]:
    """Run `serve` with another body; returns exit code, standard output, standard error."""

    def run(body: Callable[[], None]) -> tuple[int, str, str]:
        monkeypatch.setattr(cli.LazyCommands, "get_command", lambda self, ctx, name: command_that(body))
        result = CliRunner().invoke(cli.main, ["serve"])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


Serve = Callable[[Callable[[], None]], tuple[int, str, str]]


def fail(error: Exception) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize(
    "error",
    [
        UserError("port 1 is taken; take another"),
        ConfigError("port 1 is taken; take another"),
        ExceptionGroup("nursery", [ExceptionGroup("nursery", [UserError("port 1 is taken; take another")])]),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(serve_with: Serve, error: Exception) -> None:
    assert serve_with(fail(error)) == (2, "", "trio-voice: port 1 is taken; take another\n")


def test_a_mistake_out_of_nurseries_is_one_line_too(serve_with: Serve) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise UserError("no")

    assert serve_with(lambda: trio.run(main)) == (2, "", "trio-voice: no\n")


def test_a_bug_is_not_dressed_up_as_a_mistake(serve_with: Serve) -> None:
    with pytest.raises(ZeroDivisionError):
        serve_with(fail(ZeroDivisionError()))
    with pytest.raises(ExceptionGroup):
        serve_with(fail(ExceptionGroup("both", [UserError("no"), ZeroDivisionError()])))


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("srve", "trio-voice: there is no command 'srve'; did you mean 'serve'?\n"),
        ("xyz", f"trio-voice: there is no command 'xyz'; there are: {', '.join(cli.COMMANDS)}\n"),
    ],
)
def test_an_unknown_command_is_told_what_was_meant(typed: str, says: str) -> None:
    result = CliRunner().invoke(cli.main, [typed])
    assert (result.exit_code, result.stderr) == (2, says)


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0
    for name, (_, about) in cli.COMMANDS.items():
        assert f"  {name}" in result.stdout
        assert about in result.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_its_own_help(name: str) -> None:
    result = CliRunner().invoke(cli.main, [name, "--help"])
    assert result.exit_code == 0
    assert f"Usage: main {name}" in result.stdout


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(cli.main, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("trio-voice, version ")


@pytest.mark.parametrize("nested", [False, True])
def test_a_reader_who_leaves_is_a_quiet_end(serve_with: Serve, nested: bool) -> None:
    async def print_in_a_nursery() -> None:
        async with trio.open_nursery():
            raise BrokenPipeError

    def body() -> None:
        if nested:
            trio.run(print_in_a_nursery)
        raise BrokenPipeError

    assert serve_with(body) == (0, "", "")


@pytest.mark.parametrize(
    ("typed", "offered"), [("trio-voice do", "plain,doctor\n"), ("trio-voice serve --por", "plain,--port\n")]
)
def test_a_shell_completes_commands_and_options(typed: str, offered: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_TRIO_VOICE_COMPLETE": "bash_complete"}
    result = CliRunner().invoke(cli.main, env=words, prog_name="trio-voice")
    assert result.stdout == offered


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["serve", "--prot", "8080"], "there is no option --prot; did you mean --port? (trio-voice serve --help)"),
        (["serve", "--quark"], "there is no option --quark (trio-voice serve --help)"),
        (["serve", "-q"], "there is no option -q (trio-voice serve --help)"),
        (["serve", "--port"], "option '--port' requires an argument"),
        (["serve", "a.py", "b.py"], "got unexpected extra argument (b.py) (trio-voice serve --help)"),
        (
            ["serve", "--voice", "x"],
            "invalid value for '--voice': 'x' is not one of 'auto', 'flite', 'espeak-ng', 'tones' (trio-voice serve --help)",
        ),
        (["--versoin"], "there is no option --versoin; did you mean --version? (trio-voice --help)"),
    ],
)
def test_a_slip_of_the_flags_is_one_line_that_says_what_was_meant(words: list[str], told: str) -> None:
    result = CliRunner().invoke(cli.main, words, prog_name="trio-voice")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"trio-voice: {told}\n")


def test_no_command_is_help_and_no_mistake() -> None:
    result = CliRunner().invoke(cli.main, [], prog_name="trio-voice")
    assert "Commands:" in result.output
    assert "trio-voice: " not in result.output
