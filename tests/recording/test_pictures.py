"""Calls are drawn when they are over, one at a time, in a process of their own."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from tests.records.samples import recorded
from trio_voice.errors import ConfigError
from trio_voice.recording import pictures as module
from trio_voice.recording.pictures import MOST_WAITING, PICTURE, drawing, pictures_of_calls
from trio_voice.server.directory import LiveCall


def live(folder: Path) -> LiveCall:
    return LiveCall(folder.name, "CA1", datetime(2026, 11, 21, tzinfo=UTC), folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A call's folder with its journal."""
    found = tmp_path / "call"
    found.mkdir()
    (found / "call.jsonl").write_text("".join(recorded("digits")), encoding="utf-8")
    return found


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who draws takes long."""
    monkeypatch.setattr(module, "drawing", lambda _folder: [sys.executable, "-c", "import time; time.sleep(60)"])


async def test_a_call_is_drawn_when_it_is_over(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = folder / PICTURE
    with trio.fail_after(60):
        async with pictures_of_calls() as pictures:
            async with pictures.attend(live(folder)):
                pass
            while not picture.exists():  # noqa: ASYNC110 - what a process does to a file has no event
                await trio.sleep(0.01)
    assert picture.read_bytes().startswith(b"\x89PNG")


async def test_a_call_that_cannot_be_drawn_is_logged_and_the_next_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys; print('trio-voice: no such journal', file=sys.stderr); sys.exit(2)"
    commands = [[sys.executable, "-c", code], [sys.executable, "-c", f"open({str(tmp_path / 'drawn')!r}, 'w')"]]
    monkeypatch.setattr(module, "drawing", lambda _folder: commands.pop(0))
    with structlog.testing.capture_logs() as logs, trio.fail_after(30):
        async with pictures_of_calls() as pictures:
            for _ in range(2):
                async with pictures.attend(live(tmp_path)):
                    pass
    assert [(line["event"], line["error"]) for line in logs] == [("a call could not be drawn", "trio-voice: no such journal")]
    assert (tmp_path / "drawn").exists()


async def test_a_system_that_gives_no_process_keeps_one_call_from_being_drawn_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = [[str(tmp_path / "no such program")], [sys.executable, "-c", f"open({str(tmp_path / 'drawn')!r}, 'w')"]]
    monkeypatch.setattr(module, "drawing", lambda _folder: commands.pop(0))
    with structlog.testing.capture_logs() as logs, trio.fail_after(30):
        async with pictures_of_calls() as pictures:
            for _ in range(2):
                async with pictures.attend(live(tmp_path)):
                    pass
    assert [(line["event"], line["error"]) for line in logs] == [("a call could not be drawn", "No such file or directory")]
    assert (tmp_path / "drawn").exists()


@pytest.mark.usefixtures("slow")
async def test_drawing_takes_no_longer_than_it_may(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAWING_LIMIT_S", 0.05)
    with structlog.testing.capture_logs() as logs, trio.fail_after(30):
        async with pictures_of_calls() as pictures, pictures.attend(live(folder)):
            pass
    assert [line["error"] for line in logs] == ["it took longer than 0.05 s"]


@pytest.mark.usefixtures("slow")
async def test_what_waits_is_bounded_and_the_end_does_not_wait_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_PICTURE_LIMIT_S", 0.05)
    with structlog.testing.capture_logs() as logs, trio.fail_after(30):
        async with pictures_of_calls() as pictures:
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(MOST_WAITING + 2):  # one is being drawn
                async with pictures.attend(live(folder)):
                    pass
    assert [line["event"] for line in logs] == ["a call is not drawn: too many wait"]


async def test_without_matplotlib_the_server_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(
        ConfigError, match=r"^recording\.pictures needs matplotlib; install it with: .* -m pip install matplotlib$"
    ):
        async with pictures_of_calls():
            raise AssertionError("it does not begin")


def test_drawing_gives_way_to_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: "/bin/nice")
    assert drawing(Path("x"))[:3] == ["/bin/nice", "-n", "10"]
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert drawing(Path("x"))[0] == sys.executable
