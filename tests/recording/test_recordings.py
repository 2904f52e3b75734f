"""Where recordings go, and that old ones, and nothing else, are removed."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import structlog
import trio
import trio.testing

from tests.server.rig import no_threads, threads_at_once
from trio_voice.core.events import CallerAudio
from trio_voice.recording.recordings import DAY_S, TIDY_EVERY_S, Recordings, mark_of, recordings_in
from trio_voice.recording.settings import RecordingSettings
from trio_voice.server.directory import LiveCall

ID = "20261121-093012-0a1b2c3d"


def live(folder: Path) -> LiveCall:
    return LiveCall(ID, "CA1", datetime(2026, 11, 21, 9, 30, tzinfo=UTC), folder / ID, "twilio")


def file(folder: Path, name: str, age_days: float) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF")
    os.utime(path, (time.time() - age_days * DAY_S,) * 2)
    return path


async def test_a_recording_is_where_the_settings_say(tmp_path: Path) -> None:
    with trio.fail_after(10):
        settings = RecordingSettings(path="{year}/{call_sid}-{call_id}.wav")
        async with recordings_in(tmp_path, settings) as recordings, recordings.attend(live(tmp_path)) as recorder:
            recorder.on_event(1.0, CallerAudio(b"\x20" * 160))
    assert (tmp_path / "2026" / f"CA1-{ID}.wav").stat().st_size == 44 + 32_000


def test_only_old_recordings_are_removed_and_folders_that_are_empty_then(tmp_path: Path) -> None:
    old = file(tmp_path, "2026/11/20261121-093012-00000001.wav", 8.0)
    mark_of(old).touch()
    young = file(tmp_path, "2026/12/20261121-093012-00000002.wav", 6.0)
    others = [
        file(tmp_path, "2026/12/mine.wav", 99.0),
        file(tmp_path, "20261121-093012-00000003.wav", 99.0),
        file(tmp_path, "2026/12/20261121-093012-00000004.mp3", 99.0),
        file(tmp_path, "2026/12/deeper/20261121-093012-00000005.wav", 99.0),
    ]
    target = file(tmp_path.parent / f"{tmp_path.name}-elsewhere", "20261121-093012-00000006.wav", 99.0)
    link = tmp_path / "2026" / "12" / target.name
    link.symlink_to(target)
    (tmp_path / "2026" / "13").symlink_to(target.parent)
    recordings = Recordings(RecordingSettings(path="{year}/{month}/{call_id}.wav", keep_days=7), tmp_path)
    assert recordings.remove_old(time.time()) == 1
    assert (old.exists(), old.parent.exists(), young.exists()) == (False, False, True)
    assert all(path.exists() for path in (*others, link, target))


def test_a_folder_that_is_not_there_has_no_recordings(tmp_path: Path) -> None:
    assert Recordings(RecordingSettings(keep_days=1), tmp_path / "none").remove_old(time.time()) == 0


async def test_it_is_tidied_at_the_start_and_every_hour(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    first = file(tmp_path, f"{ID}/recording.wav", 2.0)
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with recordings_in(tmp_path, RecordingSettings(keep_days=1)):
            await trio.sleep(1.0)
            assert not first.exists()
            second = file(tmp_path, f"{ID}/recording.wav", 2.0)
            await trio.sleep(TIDY_EVERY_S - 2.0)
            assert second.exists()
            await trio.sleep(2.0)
            assert not second.exists()
    assert [(line["event"], line["recordings"]) for line in logs] == [("old recordings were removed", 1)] * 2


async def test_when_no_thread_is_there_to_tidy_it_is_done_an_hour_later(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    old = file(tmp_path, f"{ID}/recording.wav", 2.0)
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with recordings_in(tmp_path, RecordingSettings(keep_days=1)):
            with no_threads():
                await trio.sleep(1.0)
            assert old.exists()
            await trio.sleep(TIDY_EVERY_S)
            assert not old.exists()
    assert [line["event"] for line in logs] == ["old recordings cannot be looked for", "old recordings were removed"]


async def test_without_a_limit_nothing_is_removed(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    path = file(tmp_path, f"{ID}/recording.wav", 10_000.0)
    async with recordings_in(tmp_path, RecordingSettings()):
        await trio.sleep(TIDY_EVERY_S * 3)
    assert path.exists()
