"""Calls that begin and end while their records are kept: by a database that is well, that fails, that hangs, and after a kill."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing
from attrs import define, field

from tests.records.samples import STARTED_AT, call_id, facts, write_journal
from tests.server.rig import no_threads, threads_at_once
from trio_voice.errors import UserError
from trio_voice.records.address import Address, file_address
from trio_voice.records.database import Database, DatabaseFailedError
from trio_voice.records.desk import Desk
from trio_voice.records.keeper import (
    FIRST_PAUSE_S,
    LAST_WORK_LIMIT_S,
    LOOK_EVERY_S,
    OPEN_LIMIT_S,
    SECOND_LOOK_S,
    Records,
    records_of,
)
from trio_voice.records.reading import Wanted, list_calls
from trio_voice.records.spool import Spool
from trio_voice.server.directory import LiveCall
from trio_voice.storage.call_record import CallRecord

ROOT = Path(__file__).parents[2]


def stored(path: Path) -> list[tuple[str, str | None, str]]:
    """What is in the database: the oldest first."""
    database = Database(file_address(path), reads_only=True)
    with database.reading() as connection:
        return [(row["call_id"], row["caller"], row["outcome"]) for row in reversed(list_calls(connection, Wanted()))]


def spooled(folder: Path) -> list[str]:
    return sorted(Spool(folder).waiting())


def keeping(folder: Path, *, full_numbers: bool = False) -> AbstractAsyncContextManager[Records]:
    return records_of(file_address(folder / "calls.db"), folder, spool_limit=100, full_numbers=full_numbers)


def live(folder: Path, number: int = 1) -> LiveCall:
    return LiveCall(call_id(number), f"CA{number}", STARTED_AT, folder / call_id(number), "twilio", "+493012345310", "+49301234")


@define(eq=False)
class FailingDatabase(Database):
    """Fails while it is told to; counts how often it was asked."""

    address: Address = field(factory=lambda: file_address(Path("calls.db")))
    failure: Callable[[], None] | None = None
    asked: list[float] = field(factory=list)
    taken: list[str] = field(factory=list)

    def _ask(self) -> None:
        self.asked.append(trio.current_time())
        if self.failure is not None:
            self.failure()

    def open(self) -> None:
        self._ask()

    def put(self, record: CallRecord) -> None:
        self._ask()
        self.taken.append(record.facts.call_id)

    def unknown(self, call_ids: Sequence[str]) -> list[str]:
        self._ask()
        return [each for each in call_ids if each not in self.taken]


def fail() -> None:
    raise DatabaseFailedError("no route to host")


def told(logs: Sequence[Mapping[str, object]]) -> list[tuple[object, object, object]]:
    return [(line["event"], line.get("error"), line.get("calls")) for line in logs]


async def until(is_so: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not is_so():  # noqa: ASYNC110 - what a thread does to a file has no event
            await trio.sleep(0.001)


# --- a database that is well, with real threads


async def test_r38_a_call_is_in_the_spool_while_it_lives_and_in_the_database_when_it_is_over(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with keeping(tmp_path) as records, records.attend(live(tmp_path)):
            await until(lambda: bool(spooled(tmp_path)))
            write_journal(tmp_path)
            assert stored(tmp_path / "calls.db") == []
        assert stored(tmp_path / "calls.db") == [(call_id(1), "…5310", "completed")]
    assert spooled(tmp_path) == []


async def test_numbers_are_kept_in_full_on_demand(tmp_path: Path) -> None:
    async with keeping(tmp_path, full_numbers=True) as records, records.attend(live(tmp_path)):
        write_journal(tmp_path)
    assert stored(tmp_path / "calls.db") == [(call_id(1), "+493012345310", "completed")]


async def test_a_call_that_is_cancelled_with_its_server_is_recorded(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with keeping(tmp_path) as records, records.attend(live(tmp_path)):
            write_journal(tmp_path)
            scope.cancel()
            await trio.sleep_forever()
    assert [row[0] for row in stored(tmp_path / "calls.db")] == [call_id(1)]


async def test_calls_of_before_are_recorded_at_the_start(tmp_path: Path) -> None:
    for number in range(1, 31):
        write_journal(tmp_path, number)
    Spool(tmp_path).put(facts(30, caller="…0030"))
    async with keeping(tmp_path):
        await until(lambda: len(stored(tmp_path / "calls.db")) == 30)
    assert stored(tmp_path / "calls.db")[-1] == (call_id(30), "…0030", "completed")


KILLED = """
import os, signal, sys, trio
from pathlib import Path
from tests.records.test_keeper import keeping, live, spooled, until

async def main(folder):
    async with keeping(folder) as records, records.attend(live(folder)):
        await until(lambda: spooled(folder))
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main, Path(sys.argv[1]))
"""


async def test_r38_what_a_killed_server_had_in_progress_is_recorded_by_the_next_one(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with trio.fail_after(30):
        dead = await trio.run_process([sys.executable, "-c", KILLED, str(tmp_path)], env=environ, check=False)
    assert dead.returncode == -signal.SIGKILL
    assert spooled(tmp_path) == [call_id(1)]
    write_journal(tmp_path, end=None, age_s=1000.0)
    async with keeping(tmp_path):
        await until(lambda: not spooled(tmp_path))
    assert stored(tmp_path / "calls.db") == [(call_id(1), "…5310", "cut_off")]


# --- a database that fails, in virtual time


async def run_beside(nursery: trio.Nursery, database: Database, folder: Path, limit: int = 100) -> Records:
    records = Records(Desk(database, Spool(folder, limit)))
    await records.open()
    nursery.start_soon(records.run)
    return records


async def test_r38_a_database_that_is_away_is_asked_again_ever_less_often_and_nothing_is_lost(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    database = FailingDatabase(failure=fail)
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            records = await run_beside(nursery, database, tmp_path)
            for number in range(1, 41):
                records.begin(facts(number))
                await trio.sleep(5.0)
                write_journal(tmp_path, number)
                records.end(call_id(number))
            assert (records.waiting, len(spooled(tmp_path)), records.problem) == (40, 40, "no route to host")
            asked = len(database.asked)
            assert asked < 12
            database.failure = None
            await trio.sleep(61.0)
            assert (records.waiting, spooled(tmp_path), records.problem) == (0, [], "")
            records.stop()
    assert database.taken == [call_id(number) for number in range(1, 41)]
    assert told(logs) == [
        ("calls cannot be recorded now: they wait", "no route to host", 0),
        ("calls are recorded again", None, 40),
    ]


async def test_a_server_that_ends_while_the_database_is_away_says_what_it_leaves(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    database = FailingDatabase(failure=fail)
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            records = await run_beside(nursery, database, tmp_path)
            records.begin(facts())
            records.end(call_id(1))
            records.stop()
    assert told(logs)[-1] == ("calls are left to be recorded at the next start", "no route to host", 1)
    assert spooled(tmp_path) == [call_id(1)]


async def test_r38_the_spool_is_bounded_and_says_so(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    database = FailingDatabase(failure=fail)
    with threads_at_once(), structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            records = await run_beside(nursery, database, tmp_path, limit=2)
            for number in range(1, 5):
                records.begin(facts(number))
                await trio.sleep(1.0)
                records.end(call_id(number))
            assert (records.waiting, spooled(tmp_path)) == (2, [call_id(1), call_id(2)])
            records.stop()
    assert told(logs)[1:-1] == [("the spool is full: what only a call's carrier tells is lost", None, 2)] * 2


async def test_now_and_then_it_is_looked_for_what_others_left(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    database = FailingDatabase()
    with threads_at_once():
        async with trio.open_nursery() as nursery:
            records = await run_beside(nursery, database, tmp_path)
            await trio.sleep(1.0)
            for number, pause_s in ((1, SECOND_LOOK_S), (2, LOOK_EVERY_S), (3, LOOK_EVERY_S)):
                write_journal(tmp_path, number)
                await trio.sleep(pause_s - 1.5)
                assert len(database.taken) == number - 1
                await trio.sleep(1.5)
                assert database.taken[-1] == call_id(number)
            records.stop()


async def test_the_next_look_may_fall_due_while_work_is_done(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server under load works without a pause, and so at the moment of the look too."""

    async def slowly(function: Callable[[], object], **_options: object) -> object:
        await trio.sleep(1.0)
        return function()

    monkeypatch.setattr(trio.to_thread, "run_sync", slowly)
    database = FailingDatabase()
    async with trio.open_nursery() as nursery:
        records = await run_beside(nursery, database, tmp_path)
        await trio.sleep(1.0 + SECOND_LOOK_S - 0.5)  # the first look took a second; the next is due in half a second
        for number in (1, 2):
            write_journal(tmp_path, number)
        records.begin(facts(1))
        records.end(call_id(1))
        await trio.sleep(4.0)
        assert database.taken == [call_id(1), call_id(2)]
        records.stop()


async def test_a_call_in_progress_is_not_what_others_left(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    database = FailingDatabase()
    with threads_at_once():
        async with trio.open_nursery() as nursery:
            records = await run_beside(nursery, database, tmp_path)
            records.begin(facts(1))
            write_journal(tmp_path, 1, end=None, age_s=1000.0)
            await trio.sleep(LOOK_EVERY_S + 1.0)
            assert database.taken == []
            records.end(call_id(1))
            records.stop()
    assert database.taken == [call_id(1)]


async def test_a_database_that_can_never_be_used_ends_the_start(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    def refuse() -> None:
        raise UserError("it has a newer schema")

    with threads_at_once(), pytest.raises(UserError, match="newer schema"):
        await Records(Desk(FailingDatabase(failure=refuse), Spool(tmp_path))).open()


async def test_a_schema_that_becomes_newer_later_ends_nothing(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    def refuse() -> None:
        raise UserError("it has a newer schema")

    database = FailingDatabase()
    with threads_at_once():
        async with trio.open_nursery() as nursery:
            records = await run_beside(nursery, database, tmp_path)
            await trio.sleep(FIRST_PAUSE_S)
            database.failure = refuse
            records.begin(facts())
            records.end(call_id(1))
            await trio.sleep(FIRST_PAUSE_S)
            assert (records.problem, spooled(tmp_path)) == ("it has a newer schema", [call_id(1)])
            records.stop()


async def test_r38_calls_wait_while_there_is_no_thread_to_record_them(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    database = FailingDatabase()
    with threads_at_once():
        async with trio.open_nursery() as nursery:
            records = await run_beside(nursery, database, tmp_path)
            await trio.sleep(1.0)
            with no_threads():
                records.begin(facts(1))
                write_journal(tmp_path, 1)
                records.end(call_id(1))
                await trio.sleep(SECOND_LOOK_S)
                assert (records.waiting, records.problem) == (1, "the system gives this process no more threads")
            await trio.sleep(61.0)
            assert (records.waiting, records.problem, database.taken) == (0, "", [call_id(1)])
            records.stop()
            with no_threads():
                await trio.sleep(1.0)


async def test_what_begins_when_it_cannot_be_spooled_leaves_no_work_behind_once_it_can(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The spool takes the call later, and nothing is over yet: it is the look around that finds all well again."""
    database, passes = FailingDatabase(), 0

    async def counted(records: Records, look: Callable[[Records], Awaitable[None]] = Records._look_around) -> None:
        nonlocal passes
        passes += 1
        assert passes < 10, "it spins"
        await look(records)

    monkeypatch.setattr(Records, "_look_around", counted)
    with threads_at_once():
        async with trio.open_nursery() as nursery:
            records = await run_beside(nursery, database, tmp_path)
            await trio.sleep(1.0)
            with no_threads():
                records.begin(facts(1))
                await trio.sleep(FIRST_PAUSE_S / 2)
            passes = 0
            await trio.sleep(FIRST_PAUSE_S)
            assert (spooled(tmp_path), records.problem, passes) == ([call_id(1)], "", 2)
            records.stop()


# --- a database that hangs


async def test_r38_a_database_that_hangs_holds_up_neither_the_start_nor_calls_nor_the_end(
    mock_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    released, hanging = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        released.wait(30)

    @define(eq=False)
    class HangingDatabase(FailingDatabase):
        def _ask(self) -> None:
            hang()

    try:
        async with trio.open_nursery() as nursery:
            records = Records(Desk(HangingDatabase(), Spool(tmp_path)))
            async with trio.open_nursery() as starting:
                starting.start_soon(records.open)
                await trio.to_thread.run_sync(hanging.wait)
                mock_clock.jump(OPEN_LIMIT_S)
            nursery.start_soon(records.run)
            records.begin(facts())
            records.end(call_id(1))
            await trio.testing.wait_all_tasks_blocked()
            records.stop()
            mock_clock.jump(LAST_WORK_LIMIT_S)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(LAST_WORK_LIMIT_S)
        assert records.waiting == 1
    finally:
        released.set()
