"""A call on its way into a file: in time, to its end, and with a disk that is slow, full, away, or hangs."""

from __future__ import annotations

import os
import threading
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
import trio
import trio.testing

from tests.server.rig import no_threads, threads_at_once
from trio_voice.audio.g711 import ulaw_to_pcm16
from trio_voice.core.commands import ClearPlayback, PlayAudio, SendMark
from trio_voice.core.events import CallerAudio, PlaybackMarked
from trio_voice.recording import wav_file
from trio_voice.recording.recorder import BEHIND_S, LONGEST_WAIT_S, WRITE_EVERY_S, Recorder
from trio_voice.storage.wav_header import HEADER_BYTES
from trio_voice.storage.writing import LAST_WRITE_LIMIT_S, writing

FRAME = b"\x20" * 160
REPLY = b"\x30" * 160
SAID, HEARD = (int(np.frombuffer(ulaw_to_pcm16(code), "<i2")[0]) for code in (b"\x20", b"\x30"))


@asynccontextmanager
async def recording(path: Path) -> AsyncIterator[Recorder]:
    """A recording, and who writes it."""
    async with writing(WRITE_EVERY_S) as recordings, Recorder(path, recordings) as recorder:
        yield recorder


def sides(path: Path) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """What is in a file, of each side as (sample, how many in a row)."""
    with wave.open(str(path), "rb") as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    found = []
    for side in both.T:
        edges = np.flatnonzero(np.diff(side)) + 1
        parts = np.split(side, edges) if len(side) else []
        found.append([(int(part[0]), len(part)) for part in parts])
    return found[0], found[1]


def length_s(path: Path) -> float:
    with wave.open(str(path), "rb") as file:
        return file.getnframes() / 8000


def size_of(path: Path) -> int:
    return path.stat().st_size


async def talk(recorder: Recorder, seconds: float, since_s: float = 0.0) -> None:
    """The caller's frames, in virtual time."""
    for number in range(1, round(seconds * 50) + 1):
        await trio.sleep(0.02)
        recorder.on_event(round(since_s + number * 0.02, 6), CallerAudio(FRAME))


async def test_a_call_is_written_as_it_goes_and_to_its_end(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    path = tmp_path / "calls" / "1.wav"
    with threads_at_once():
        async with recording(path) as recorder:
            await trio.sleep(0.01)
            await talk(recorder, 3.0)
            assert length_s(path) == 3.0 - 0.02 - BEHIND_S  # as it was when it was last written
            await talk(recorder, 2.5, since_s=3.0)
        assert sides(path) == ([(SAID, 44_000)], [(0, 44_000)])


async def test_what_the_caller_heard_is_cut_where_it_was_cleared(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    path = tmp_path / "1.wav"
    with threads_at_once():
        async with recording(path) as recorder:
            recorder.on_command(0.5, PlayAudio("r", "i", REPLY * 50))
            recorder.on_command(0.5, SendMark("1"))
            recorder.on_event(1.6, PlaybackMarked("1"))
            recorder.on_command(1.6, PlayAudio("r", "i", REPLY * 50))
            recorder.on_command(2.0, ClearPlayback())
            recorder.on_event(2.5, CallerAudio(FRAME))
    assert sides(path) == ([(0, 19_840), (SAID, 160)], [(0, 4800), (HEARD, 11_200), (0, 4000)])


async def test_what_is_yet_to_be_heard_is_in_the_file_and_not_in_memory_and_counts_when_it_was_heard(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "1.wav"
    with threads_at_once():
        async with recording(path) as recorder:
            recorder.on_command(0.0, PlayAudio("r", "i", REPLY * 10))
            recorder.on_command(0.0, SendMark("1"))
            recorder.on_event(0.25, PlaybackMarked("1"))
            recorder.on_command(0.25, PlayAudio("r", "i", REPLY * 240))
            recorder.on_command(0.25, SendMark("2"))
            await trio.sleep(WRITE_EVERY_S + 0.05)
            assert recorder._tape.held == 0
            assert path.stat().st_size == HEADER_BYTES + (400 + 5 * 8000) * 4
            assert length_s(path) == 0.0
            recorder.on_event(3.0, CallerAudio(FRAME))
            await trio.sleep(WRITE_EVERY_S)
            assert sides(path)[1] == [(0, 400), (HEARD, 15_600)]
            recorder.on_event(5.55, PlaybackMarked("2"))  # it stood still for half a second on its way
            recorder.on_command(5.55, PlayAudio("r", "i", REPLY * 100))
            await trio.sleep(WRITE_EVERY_S)
            recorder.on_command(6.0, ClearPlayback())
            recorder.on_event(6.5, CallerAudio(FRAME))
    heard = [(0, 400), (HEARD, 15_600), (0, 4000), (HEARD, 28_000), (0, 4000)]
    assert sides(path)[1] == heard
    assert path.stat().st_size == HEADER_BYTES + 4 * sum(count for _, count in heard)


async def test_a_move_that_fails_in_the_middle_is_done_again(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, put = tmp_path / "1.wav", wav_file.WavFile.put
    failing = 3

    def fail(self: wav_file.WavFile, side: int, at: int, audio: bytes) -> None:
        nonlocal failing
        put(self, side, at, audio[:-80])
        if at == 2400 and failing:
            failing -= 1
            raise OSError(5, "Input/output error")
        put(self, side, at, audio)

    monkeypatch.setattr(wav_file.WavFile, "put", fail)
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with recording(path) as recorder:
            recorder.on_command(0.0, PlayAudio("r", "i", REPLY * 20))
            recorder.on_command(0.0, SendMark("1"))
            recorder.on_event(0.4, PlaybackMarked("1"))
            recorder.on_command(0.4, PlayAudio("r", "i", REPLY * 10))
            recorder.on_command(0.4, SendMark("2"))
            await trio.sleep(1.05)
            recorder.on_event(0.9, PlaybackMarked("2"))
            await trio.sleep(5.0)
            recorder.on_event(1.0, CallerAudio(FRAME))
    assert sides(path)[1] == [(0, 2400), (HEARD, 4800), (0, 800)]
    assert told(logs) == [
        ("warning", "writing the recording", "Input/output error", None),
        ("warning", "writing the recording", "none any more", None),
    ]


async def test_a_call_that_is_cancelled_is_recorded_to_its_end(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    path = tmp_path / "1.wav"
    with threads_at_once(), trio.CancelScope() as scope:
        async with recording(path) as recorder:
            await talk(recorder, 0.5)
            scope.cancel()
            await trio.sleep_forever()
    assert length_s(path) == 0.5


async def test_with_real_threads(tmp_path: Path) -> None:
    path = tmp_path / "1.wav"
    with trio.fail_after(10):
        async with recording(path) as recorder:
            recorder.on_event(1.0, CallerAudio(FRAME * 50))
    assert sides(path) == ([(SAID, 8000)], [(0, 8000)])


async def test_a_call_of_no_length_leaves_no_file(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with recording(tmp_path / "1.wav"):
            pass
    assert not (tmp_path / "1.wav").exists()
    assert logs == []


async def test_r37_what_no_thread_was_there_to_write_is_written_when_there_is_one(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "1.wav"
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with recording(path) as recorder:
            with no_threads():
                await talk(recorder, 5.0)
                assert not path.exists()
            await talk(recorder, 5.0, since_s=5.0)
        with no_threads():
            async with recording(tmp_path / "2.wav") as recorder:
                recorder.on_event(1.0, CallerAudio(FRAME * 50))
    assert sides(path) == ([(SAID, 80_000)], [(0, 80_000)])
    failure = "the system gives this process no more threads"
    assert told(logs) == [
        ("warning", "writing the recording", failure, None),
        ("warning", "writing the recording", "none any more", None),
        ("warning", "writing the recording", failure, None),
        ("error", "the end of the recording is lost", failure, 1.0),
    ]


# --- disks


def told(logs: list[Any]) -> list[tuple[Any, ...]]:
    return [(line["log_level"], line["event"], line.get("error"), line.get("lost_s")) for line in logs]


async def test_r37_a_disk_that_is_away_for_a_while_loses_nothing(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    folder = tmp_path / "away"
    folder.write_text("a file in the place of the folder")
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with recording(folder / "1.wav") as recorder:
            await talk(recorder, 30.0)
            folder.unlink()
            await talk(recorder, 10.0, since_s=30.0)
    assert sides(folder / "1.wav")[0] == [(SAID, 320_000)]
    assert told(logs) == [
        ("warning", "writing the recording", "File exists", None),
        ("warning", "writing the recording", "none any more", None),
    ]


async def test_r37_a_disk_that_is_away_for_long_leaves_silence_and_what_follows_is_in_its_place(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    folder = tmp_path / "away"
    folder.write_text("a file in the place of the folder")
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with recording(folder / "1.wav") as recorder:
            await talk(recorder, 100.0)
            folder.unlink()
            await talk(recorder, 10.0, since_s=100.0)
    (_, silence), (code, rest) = sides(folder / "1.wav")[0]
    assert (code, silence + rest) == (SAID, 880_000)
    assert LONGEST_WAIT_S <= rest / 8000 < LONGEST_WAIT_S + 15
    assert told(logs)[-1] == ("error", "a part of the recording is silence", None, silence / 8000)


async def test_r37_a_disk_that_is_full_to_the_end_costs_the_recording_and_nothing_else(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_number: int, _data: bytes, _at: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with recording(tmp_path / "1.wav") as recorder:
            await talk(recorder, 5.0)
    assert told(logs) == [
        ("warning", "writing the recording", "No space left on device", None),
        ("error", "the end of the recording is lost", "No space left on device", 5.0),
    ]


async def test_r37_a_disk_that_says_only_at_the_close_that_it_is_full_is_told_in_a_line(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: wav_file.WavFile) -> None:
        close(self)
        raise OSError(28, "No space left on device")

    close = wav_file.WavFile.close
    monkeypatch.setattr(wav_file.WavFile, "close", fail)
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with recording(tmp_path / "1.wav") as recorder:
            await talk(recorder, 1.0)
    assert told(logs) == [("warning", "writing the recording", "No space left on device", None)]


async def test_r37_a_disk_that_hangs_holds_up_neither_the_call_nor_its_end(
    mock_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, hanging, closed = threading.Event(), threading.Event(), threading.Event()
    count, close = wav_file.WavFile.count, wav_file.WavFile.close

    def hang(self: wav_file.WavFile, samples: int) -> None:
        hanging.set()
        released.wait(10)
        count(self, samples)

    def tell(self: wav_file.WavFile) -> None:
        close(self)
        closed.set()

    monkeypatch.setattr(wav_file.WavFile, "count", hang)
    monkeypatch.setattr(wav_file.WavFile, "close", tell)
    with structlog.testing.capture_logs() as logs:
        try:
            async with recording(tmp_path / "1.wav") as recorder:
                recorder.on_command(3.0, PlayAudio("r", "i", REPLY * 500))
                recorder.on_event(5.0, CallerAudio(FRAME))
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(WRITE_EVERY_S)
                await trio.to_thread.run_sync(hanging.wait, 10)
                for second in range(5, 305):  # five minutes of a call meanwhile
                    recorder.on_event(float(second), CallerAudio(FRAME * 50))
                assert recorder._tape.held < (LONGEST_WAIT_S + 1) * 8000
                mock_clock.autojump_threshold = 0.0  # the end is waited for, for LAST_WRITE_LIMIT_S
                ended_at = trio.current_time()
            assert trio.current_time() - ended_at == LAST_WRITE_LIMIT_S
        finally:
            released.set()
    assert told(logs)[0] == ("error", "the end of the recording is lost", "too slow", 304.0)
    assert await trio.to_thread.run_sync(closed.wait, 10)  # when the disk answers, what was not heard is cut off all the same
    assert sides(tmp_path / "1.wav")[1] == [(0, 24_000), (HEARD, 8_000)]
    assert size_of(tmp_path / "1.wav") == HEADER_BYTES + 4 * 32_000
