"""The command: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from trio_voice.checks import Checks, Finding, Verdict
from trio_voice.cli import main

FINE = [Finding("settings", Verdict.OK, "the defaults"), Finding("Twilio", Verdict.NOTE, "no account")]
BAD = [*FINE, Finding("port", Verdict.WRONG, "taken; set another")]


pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "TRIO_VOICE_CONFIG", "TWILIO_AUTH_TOKEN", "TWILIO_ACCOUNT_SID"):
        monkeypatch.delenv(name, raising=False)


def found(monkeypatch: pytest.MonkeyPatch, findings: list[Finding]) -> None:
    async def run(self: Checks) -> list[Finding]:
        assert isinstance(self, Checks)
        return findings

    monkeypatch.setattr(Checks, "run", run)


@pytest.mark.parametrize(
    ("findings", "code", "end"),
    [(FINE, 0, "Nothing is wrong.\n"), (BAD, 1, "1 thing is wrong.\n"), (BAD * 2, 1, "2 things are wrong.\n")],
)
def test_a_line_for_each_finding(monkeypatch: pytest.MonkeyPatch, findings: list[Finding], code: int, end: str) -> None:
    found(monkeypatch, findings)
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == code
    assert result.output.startswith("ok     settings      the defaults\nnote   Twilio        no account\n")
    assert result.output.endswith(end)


def test_json_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, BAD)
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.output)[2] == {"topic": "port", "verdict": "wrong", "text": "taken; set another"}


def test_it_looks_at_the_settings_that_it_is_given() -> None:
    result = CliRunner().invoke(main, ["doctor", "--set", "server.port=0", "--set", "server.calls_folder=elsewhere"])
    assert result.exit_code == 0
    assert "elsewhere can be written" in result.output


def test_settings_that_cannot_be_read_are_exit_code_2() -> None:
    Path("trio-voice.toml").write_text("nonsense", encoding="utf-8")
    result = CliRunner().invoke(main, ["doctor"])
    assert (result.exit_code, "not valid TOML" in result.stderr) == (2, True)
