"""The run file: private, whole at every moment, gone at the end."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from trio_voice.errors import UserError
from trio_voice.run_file import make_calls_folder, run_file


def no_hint(hint: str) -> None:
    raise AssertionError(hint)


def test_the_file_is_there_for_the_time_of_the_block_and_for_this_user_alone(tmp_path: Path) -> None:
    with run_file(tmp_path, url="http://127.0.0.1:8080", token="t", tell=no_hint) as path:
        assert path == tmp_path / "server.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert json.loads(path.read_text("utf-8")) == {
            "url": "http://127.0.0.1:8080",
            "token": "t",
            "pid": os.getpid(),
            "calls_folder": str(tmp_path),
        }
        assert list(tmp_path.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == []


def test_the_file_goes_also_when_the_server_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_file(tmp_path, url="u", token="t", tell=no_hint):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_later_servers_file_is_left_alone(tmp_path: Path) -> None:
    with run_file(tmp_path, url="u", token="first", tell=no_hint):
        (tmp_path / "server.json").write_text('{"token": "second"}', encoding="utf-8")
    assert (tmp_path / "server.json").read_text("utf-8") == '{"token": "second"}'


def test_a_second_server_leaves_the_first_ones_file_alone_and_says_what_happens(tmp_path: Path) -> None:
    hints: list[str] = []
    with run_file(tmp_path, url="http://127.0.0.1:8080", token="first", tell=no_hint) as path:
        assert path is not None
        before = path.read_text("utf-8")
        with run_file(
            tmp_path, url="http://127.0.0.1:8081", token="second", tell=hints.append, call_command="make it call"
        ) as none:
            assert none is None
        assert path.read_text("utf-8") == before
    (hint,) = hints
    assert hint == (
        f"Another server (http://127.0.0.1:8080) runs with the calls folder {tmp_path}: make it call reaches that one. "
        'To call this one: make call ARGS="--url http://127.0.0.1:8081"; or give it a folder of its own with --calls.'
    )
    with run_file(tmp_path, url="u", token="third", tell=no_hint) as path:
        assert path is not None  # the first has gone, and its lock with it


def test_a_second_server_beside_a_first_whose_file_is_gone(tmp_path: Path) -> None:
    hints: list[str] = []
    with run_file(tmp_path, url="u", token="first", tell=no_hint) as path:
        assert path is not None
        path.unlink()
        with run_file(tmp_path, url="v", token="second", tell=hints.append):
            assert list(tmp_path.iterdir()) == []
    assert hints[0].startswith("Another server (its address is not known) runs")


def test_a_file_of_a_server_that_was_killed_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text('{"token": "killed"}', encoding="utf-8")
    with run_file(tmp_path, url="u", token="t", tell=no_hint) as path:
        assert path is not None
        assert json.loads(path.read_text("utf-8"))["token"] == "t"


def test_a_file_that_somebody_removed_or_broke_is_no_error(tmp_path: Path) -> None:
    with run_file(tmp_path, url="u", token="t", tell=no_hint) as path:
        assert path is not None
        path.unlink()
    with run_file(tmp_path, url="u", token="t", tell=no_hint) as path:
        assert path is not None
        path.write_text("{", encoding="utf-8")


def test_the_calls_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "calls"
    make_calls_folder(folder)
    make_calls_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_a_sentence_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError) as error:
        make_calls_folder(tmp_path / "file" / "calls")
    assert str(error.value) == (
        f"the calls folder {tmp_path}/file/calls cannot be written (Not a directory); "
        "give another one with server.calls_folder or --calls"
    )
    with pytest.raises(UserError, match=r"cannot be written \(No such file or directory\)"), \
         run_file(tmp_path / "nowhere", url="u", token="t", tell=no_hint):  # fmt: skip
        pass


def test_a_folder_without_the_right_to_write_is_found_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UserError, match=r"cannot be written \(Permission denied\)"):
        make_calls_folder(tmp_path)
