"""`trio-voice calls`: lists, one call, exports, and what it says when there is nothing to read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.records.samples import call_id, facts, record
from trio_voice.calls import moment
from trio_voice.cli import main
from trio_voice.errors import UserError
from trio_voice.records.address import file_address
from trio_voice.records.database import Database
from trio_voice.storage.call_record import Outcome

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two calls, which is also the current one."""
    monkeypatch.chdir(tmp_path)
    database = Database(file_address(tmp_path / "calls" / "calls.db"))
    database.put(record(1))
    database.put(record(2, facts=facts(2, caller="…0000"), outcome=Outcome.FAILED))
    database.close()
    return tmp_path


def run(*arguments: str, **environ: str) -> Result:
    result = CliRunner().invoke(main, ["calls", *arguments], env=environ)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def ids(result: Result) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return [line.split()[2] for line in result.stdout.splitlines()[1:]]


@pytest.mark.usefixtures("folder")
def test_the_calls_of_the_usual_folder_are_listed_and_filtered() -> None:
    assert ids(run()) == [call_id(2), call_id(1)]
    assert ids(run("--limit", "1")) == [call_id(2)]
    assert ids(run("--caller", "5310")) == [call_id(1)]
    assert ids(run("--outcome", "failed")) == [call_id(2)]
    assert ids(run("--since", "2026-11-21T09:02Z")) == [call_id(2)]
    assert run("--caller", "9").stdout == "no calls\n"


def test_another_folder_and_another_database_can_be_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert ids(run("--calls-folder", "../calls")) == [call_id(2), call_id(1)]
    url = f"sqlite:///{folder}/calls/calls.db"
    assert ids(run("--set", f"records.url={url}")) == [call_id(2), call_id(1)]
    assert ids(run(TRIO_VOICE_RECORDS_URL=url)) == [call_id(2), call_id(1)]


@pytest.mark.usefixtures("folder")
def test_one_call_is_shown_and_exported_by_either_id() -> None:
    assert "Gladly. [interrupted: 0.3 s were heard]" in run(call_id(1)).stdout
    assert json.loads(run("CA1", "--json").stdout)["call_id"] == call_id(1)


@pytest.mark.usefixtures("folder")
def test_lists_are_exported_whole() -> None:
    assert [row["call_id"] for row in json.loads(run("--json").stdout)] == [call_id(2), call_id(1)]
    assert [line.split(",")[0] for line in run("--csv").stdout.splitlines()] == ["call_id", call_id(2), call_id(1)]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["CA9"], "there is no record of a call 'CA9'; trio-voice calls lists those that there are"),
        (["CA\udcff"], "calls.db cannot be read: 'utf-8' codec can't encode character"),
        (["--limit", "9" * 20], "calls.db cannot be read: Python int too large"),
        (["--csv", "--json"], "--csv lists calls, one a line"),
        (["--csv", "CA1"], "--csv lists calls, one a line"),
        (["--since", "yesterday"], "--since yesterday: must look like 90m, 24h, 7d, 2026-11-21, or 2026-11-21T09:30"),
        (["--calls-folder", "nowhere"], "nowhere/calls.db is not there; they come with the first call of: trio-voice serve"),
        (["--set", "records.url=postgresql://tom:hunter2@db/x"], "records.url (--set): a password does not belong into what is"),
        (["--set", "records.url=mysql://tom@db/x"], "records.url names a database (mysql) that is not known here"),
        (["--config", "none.toml"], "none.toml: there is no such file"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], says: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert says in result.stderr
    assert "hunter2" not in result.stderr


def test_a_database_that_cannot_be_read_is_a_line_too(folder: Path) -> None:
    (folder / "calls" / "calls.db").write_bytes(b"no database, but long enough to look at " * 50)
    result = run()
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "calls.db cannot be read: file is not a database" in result.stderr


def test_moments() -> None:
    assert moment("90m", NOW) == NOW - timedelta(minutes=90)
    assert moment("2w", NOW) == NOW - timedelta(weeks=2)
    assert moment("2026-11-21T10:00+01:00", NOW) == datetime(2026, 11, 21, 9, tzinfo=UTC)
    for wrong in ("", "7", "7x", "999999w", "2026-13-01"):
        with pytest.raises(UserError, match="must look like"):
            moment(wrong, NOW)
