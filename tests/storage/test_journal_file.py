"""Lines on their way to a disk that is slow, full, away, or hangs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from tests.server.rig import no_threads, threads_at_once
from trio_voice.storage import journal_file as module
from trio_voice.storage.journal_file import LAST_LINE_CHARACTERS, LIMIT_CHARACTERS, LOSS_LOG_EVERY_S, WRITE_EVERY_S, JournalFile
from trio_voice.storage.slots import SLOTS_A_SECOND
from trio_voice.storage.writing import LAST_WRITE_LIMIT_S, WRITERS_LIMIT, Writing, writing


@asynccontextmanager
async def journal_file(path: Path) -> AsyncIterator[JournalFile]:
    """A journal, and who writes it."""
    async with writing(WRITE_EVERY_S) as journals, JournalFile(path, journals) as journal:
        yield journal


SLOT_S = 1 / SLOTS_A_SECOND


def told(logs: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [(line["log_level"], line["event"], line.get("error")) for line in logs]


async def test_everything_is_on_disk_when_the_block_is_left_also_with_real_threads(tmp_path: Path) -> None:
    path = tmp_path / "calls" / "1" / "call.jsonl"
    async with journal_file(path) as journal:
        for number in range(1000):
            journal.put(f'{{"line": {number}, "name": "é"}}')
    assert path.read_text("utf-8") == "".join(f'{{"line": {number}, "name": "é"}}\n' for number in range(1000))


async def test_a_journal_without_a_line_leaves_an_empty_file(tmp_path: Path) -> None:
    async with journal_file(tmp_path / "call.jsonl"):
        pass
    assert (tmp_path / "call.jsonl").read_text("utf-8") == ""


async def test_lines_are_written_once_a_second(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    with threads_at_once():
        async with journal_file(path) as journal:
            journal.put("one")
            await trio.sleep(SLOT_S)  # the first line is there soon
            assert path.read_text("utf-8") == "one\n"
            journal.put("two")
            await trio.sleep(WRITE_EVERY_S - 0.001 - SLOT_S)
            assert path.read_text("utf-8") == "one\n"
            await trio.sleep(0.002)
            assert path.read_text("utf-8") == "one\ntwo\n"
            journal.put("three")
        assert path.read_text("utf-8") == "one\ntwo\nthree\n"


async def test_calls_write_at_the_end_of_the_tenth_of_a_second_and_so_together(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.jsonl" for number in range(2)]
    with threads_at_once():
        async with writing(WRITE_EVERY_S) as journals, trio.open_nursery() as nursery:

            async def call(path: Path, begins_at: float) -> None:
                await trio.sleep_until(begins_at)
                async with JournalFile(path, journals) as journal:
                    journal.put("one")
                    await trio.sleep(0.5)
                    journal.put("two")
                    await trio.sleep(2 * WRITE_EVERY_S)

            nursery.start_soon(call, paths[0], 3.12)
            nursery.start_soon(call, paths[1], 3.17)
            await trio.sleep_until(3.199 + WRITE_EVERY_S)
            assert [path.read_text("utf-8") for path in paths] == ["one\n"] * 2
            await trio.sleep_until(3.2 + WRITE_EVERY_S)
            await trio.testing.wait_all_tasks_blocked()
            assert [path.read_text("utf-8") for path in paths] == ["one\ntwo\n"] * 2


async def test_lines_that_come_together_are_counted_one_by_one_when_they_are_lost(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "call.jsonl"
    with threads_at_once():
        async with journal_file(path) as journal:
            journal.put("x" * LIMIT_CHARACTERS)
            journal.put("one\ntwo")
            journal.put("three\nthe last")
    assert path.read_text("utf-8").splitlines()[1:] == ['{"lost_lines":3}', "the last"]


async def test_a_cancelled_call_still_has_its_end_written(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    with threads_at_once(), trio.CancelScope() as scope:
        async with journal_file(path) as journal:
            journal.put("one")
            scope.cancel()
            try:
                await trio.sleep_forever()
            finally:
                journal.put("the end")
    assert path.read_text("utf-8") == "one\nthe end\n"


async def test_what_cannot_be_written_is_kept_until_it_can(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    folder = tmp_path / "away"
    folder.write_text("a file in the place of the folder")
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with journal_file(folder / "call.jsonl") as journal:
            journal.put("one")
            await trio.sleep(WRITE_EVERY_S * 10)
            journal.put("two")
            folder.unlink()
            await trio.sleep(WRITE_EVERY_S * 2)
            assert (folder / "call.jsonl").read_text("utf-8") == "one\ntwo\n"
            journal.put("three")
    assert (folder / "call.jsonl").read_text("utf-8") == "one\ntwo\nthree\n"
    assert told(logs) == [("warning", "writing the journal", "File exists"), ("warning", "writing the journal", "none any more")]


async def test_what_no_thread_was_there_to_write_is_kept_until_there_is_one(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with journal_file(tmp_path / "call.jsonl") as journal:
            with no_threads():
                journal.put("one")
                await trio.sleep(WRITE_EVERY_S * 3)
                journal.put("two")
            await trio.sleep(WRITE_EVERY_S * 2)
            assert (tmp_path / "call.jsonl").read_text("utf-8") == "one\ntwo\n"
    failure = "the system gives this process no more threads"
    assert told(logs) == [("warning", "writing the journal", failure), ("warning", "writing the journal", "none any more")]


async def test_a_journal_whose_end_no_thread_was_there_to_write_says_so(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    with no_threads(), structlog.testing.capture_logs() as logs:
        async with journal_file(tmp_path / "call.jsonl") as journal:
            journal.put("one")
    assert told(logs)[-1][:2] == ("error", "the end of the journal is lost")


class FullDisk(FileIO):
    """Takes half of every write, and then nothing, while it is full."""

    full = True

    def write(self, data: Any) -> int:
        if not FullDisk.full:
            return super().write(data)
        if len(data) > 4:
            return super().write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")


async def test_a_batch_that_was_half_written_is_taken_back_and_written_whole_later(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "call.jsonl"
    monkeypatch.setattr(module, "FileIO", FullDisk)
    monkeypatch.setattr(FullDisk, "full", True)
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with journal_file(path) as journal:
            journal.put("a line that does not fit")
            await trio.sleep(WRITE_EVERY_S * 3)
            assert path.read_text("utf-8") == ""
            FullDisk.full = False
            await trio.sleep(WRITE_EVERY_S)
            assert path.read_text("utf-8") == "a line that does not fit\n"
    assert len(logs) == 2


async def test_a_disk_that_stays_full_costs_the_journal_and_not_the_call(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    path.symlink_to("/dev/full")
    with structlog.testing.capture_logs() as logs:
        async with journal_file(path) as journal:
            journal.put("one")
    assert told(logs) == [
        ("warning", "writing the journal", "No space left on device"),
        ("error", "the end of the journal is lost", "No space left on device"),
    ]
    assert logs[1]["lines"] == 1


async def test_what_waits_is_bounded_and_the_loss_is_noted_in_its_place(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "call.jsonl"
    line = "x" * 1024
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with journal_file(path) as journal:
            for _ in range(LIMIT_CHARACTERS // 1024 + 3):
                journal.put(line)
            assert journal.lost == 3
            await trio.sleep(WRITE_EVERY_S * 2)
            journal.put("after")
            for _ in range(LIMIT_CHARACTERS // 1024 + 1):
                journal.put(line)
    written = path.read_text("utf-8").splitlines()
    kept = LIMIT_CHARACTERS // 1024
    assert written[:kept] == [line] * kept
    assert written[kept : kept + 2] == ['{"lost_lines":3}', "after"]
    assert written[-2:] == ['{"lost_lines":1}', line]
    assert [each["lines"] for each in logs] == [3, 1]


async def test_the_last_line_is_there_whatever_was_lost_before_it(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with journal_file(path) as journal:
            journal.put("x" * LIMIT_CHARACTERS)
            journal.put("one")
            journal.put("x" * (LAST_LINE_CHARACTERS + 1))
            journal.put("the end")
        assert path.read_text("utf-8").splitlines()[1:] == ['{"lost_lines":2}', "the end"]
        async with journal_file(tmp_path / "only.jsonl") as journal:
            journal.put("x" * LIMIT_CHARACTERS)
            journal.put("the end")
        assert (tmp_path / "only.jsonl").read_text("utf-8").splitlines()[1:] == ["the end"]
        async with journal_file(tmp_path / "long.jsonl") as journal:
            journal.put("x" * LIMIT_CHARACTERS)
            journal.put("x" * (LAST_LINE_CHARACTERS + 1))
        assert (tmp_path / "long.jsonl").read_text("utf-8").splitlines()[1:] == ['{"lost_lines":1}']
    assert [each["lines"] for each in logs] == [2, 1]


async def test_losses_without_end_are_told_every_ten_seconds_and_at_the_end(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "call.jsonl"
    began = trio.current_time()
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with journal_file(path) as journal:
            while trio.current_time() - began < 3 * LOSS_LOG_EVERY_S:
                journal.put("x" * (LIMIT_CHARACTERS + 1))
                journal.put("short")
                await trio.sleep(1.0)
            journal.put("x" * (LIMIT_CHARACTERS + 1))
    assert [each["lines"] for each in logs] == [1, 10, 10, 10]
    assert path.read_text("utf-8").splitlines() == ['{"lost_lines":1}', "short"] * 30 + ['{"lost_lines":1}']


async def test_r27_a_disk_that_says_only_at_the_close_that_it_is_full_is_told_of(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullAtItsClose(FileIO):
        def close(self) -> None:
            is_the_first_time = not self.closed
            super().close()
            if is_the_first_time:
                raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "FileIO", FullAtItsClose)
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with journal_file(tmp_path / "call.jsonl") as journal:
            journal.put("the end")
    assert told(logs) == [
        ("warning", "writing the journal", "No space left on device"),
        ("error", "the end of the journal is lost", "No space left on device"),
    ]


async def test_nobody_else_reads_what_was_said(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    path = tmp_path / "the call" / "call.jsonl"
    with threads_at_once():
        async with journal_file(path) as journal:
            journal.put("a line")
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


async def test_r27_a_disk_that_hangs_holds_a_call_no_longer_than_the_limit_and_uses_up_no_other_threads(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A pipe that nobody reads cannot be opened for writing: the thread hangs until somebody does."""
    path = tmp_path / "call.jsonl"
    os.mkfifo(path)
    began = trio.current_time()
    with structlog.testing.capture_logs() as logs:
        async with writing(WRITE_EVERY_S) as journals:
            async with trio.open_nursery() as nursery:
                for _ in range(WRITERS_LIMIT + 1):
                    nursery.start_soon(_one_line, path, journals)
            assert trio.current_time() - began == LAST_WRITE_LIMIT_S
            assert journals.writers.borrowed_tokens == WRITERS_LIMIT
            assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    assert told(logs) == [("error", "the disk did not take the end of the journal in time", None)] * (WRITERS_LIMIT + 1)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # the disk comes back: the threads end by themselves
    try:
        while journals.writers.borrowed_tokens:
            await trio.lowlevel.checkpoint()
        assert os.read(reader, 1000) == b"the end\n" * WRITERS_LIMIT
    finally:
        os.close(reader)


async def _one_line(path: Path, journals: Writing) -> None:
    async with JournalFile(path, journals) as journal:
        journal.put("the end")


async def test_put_never_waits() -> None:
    journal = JournalFile(Path("/nowhere/at/all"), Writing(WRITE_EVERY_S))
    for _ in range(3):
        journal.put("a line")  # a plain function
    assert journal.lost == 0
