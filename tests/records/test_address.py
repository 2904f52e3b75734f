"""A database's address: what is taken, what is refused, and that no password is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_voice.errors import ConfigError
from trio_voice.records import address as module
from trio_voice.records.address import file_address, read_address


def test_a_sqlite_file_is_shown_as_its_path(tmp_path: Path) -> None:
    path = tmp_path / "a b%c?.db"
    assert (str(file_address(path)), file_address(path).path) == (str(path), path)
    assert read_address("sqlite:////var/lib/calls.db").path == Path("/var/lib/calls.db")


def test_a_relative_path_is_one_from_here() -> None:
    assert read_address("sqlite:///calls.db").path == Path.cwd() / "calls.db"


@pytest.mark.parametrize("name", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgresql_is_shown_without_its_password(name: str) -> None:
    found = read_address(f"{name}://tom:hunter2@db.example:5433/calls?sslmode=require&password=hunter3")
    assert str(found) == "postgresql://tom:***@db.example:5433/calls"
    assert found.path is None
    assert "hunter" not in f"{found!r} {found}"
    assert found.url is not None
    assert found.url.drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hunter2", "no address of a database"),
        ("postgresql://tom:hunter2@db:port/calls", "no address of a database|port that is no number"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://tom:hunter2@db/calls", r"\(mysql\) that is not known"),
        ("postgresql+asyncpg://tom:hunter2@db/calls", r"\(postgresql\+asyncpg\) that is not known"),
    ],
)
def test_what_is_wrong_is_said_without_what_was_given(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"records.url.*({problem})") as caught:
        read_address(text)
    assert "hunter2" not in str(caught.value)


def test_a_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"; install it with: .* -m pip install 'psycopg\[binary\]'$"):
        read_address("postgresql://db/calls")


def test_errors_of_drivers_are_cleaned() -> None:
    found = read_address("postgresql://tom:hunter2@db/calls?password=hunter3")
    told = found.without_secrets("failed: hunter2, password=hunter4 host=db, postgresql://tom:hunter5@db/, hunter3")
    assert told == "failed: ***, password=*** host=db, postgresql://tom:***@db/, ***"
