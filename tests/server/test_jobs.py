"""Background jobs: one call's, beside its conversation, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import structlog
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_voice.server.jobs import JobRunner


@define
class Call:
    nursery: trio.Nursery
    notes: list[tuple[float, str]] = field(factory=list)
    told: list[tuple[int, float | None]] = field(factory=list)
    jobs: JobRunner = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.jobs = JobRunner(
            self.nursery,
            lambda text: self.notes.append((trio.current_time(), text)),
            started=lambda job, limit_s: self.told.append((job, limit_s)),
            ended=lambda job: self.told.append((job, None)),
        )


@asynccontextmanager
async def a_call() -> AsyncIterator[Call]:
    async with trio.open_nursery() as nursery:
        yield Call(nursery)


async def test_r28_a_job_runs_beside_and_the_journal_says_so(autojump_clock: MockClock) -> None:
    async with a_call() as call:
        call.jobs.start(partial(trio.sleep, 7), "assess", 60.0)
        assert call.jobs.running == 1
    assert call.notes == [(0.0, "job assess started"), (7.0, "job assess ended")]
    assert call.told == [(1, 60.0), (1, None)]
    assert call.jobs.running == 0


async def test_r28_a_job_ends_at_its_limit_and_the_call_goes_on(autojump_clock: MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        async with a_call() as call:
            call.jobs.start(trio.sleep_forever, "assess", 5.0)
            await trio.sleep(8)
            assert call.notes[1:] == [(5.0, "job assess was cancelled after 5 s")]
    assert [(line["event"], line["job"]) for line in logs] == [("a job took too long", "assess")]


@pytest.mark.parametrize(
    "error", [ValueError("secret"), SystemExit(3), BaseException("no Exception"), ExceptionGroup("two", [ValueError("secret")])]
)
async def test_r28_a_job_that_raises_is_logged_and_the_call_goes_on(autojump_clock: MockClock, error: BaseException) -> None:
    async def assess() -> None:
        raise error

    with structlog.testing.capture_logs() as logs:
        async with a_call() as call:
            call.jobs.start(assess, "assess", 5.0)
            await trio.sleep(8)
    assert [(line["event"], line["log_level"], line["job"]) for line in logs] == [("a job failed", "error", "assess")]
    assert call.notes == [(0.0, "job assess started"), (0.0, "job assess failed")]


async def test_a_call_has_only_so_many_jobs(autojump_clock: MockClock) -> None:
    async with a_call() as call:
        for _ in range(8):
            call.jobs.start(partial(trio.sleep, 1), "assess", 60.0)
        with pytest.raises(RuntimeError, match="the call has 8 jobs already, and translate was not started"):
            call.jobs.start(partial(trio.sleep, 1), "translate", 60.0)
        await trio.sleep(2)
        call.jobs.start(partial(trio.sleep, 1), "translate", 60.0)
    assert call.notes[-1] == (3.0, "job translate ended")


@pytest.mark.parametrize("cleanup", [(), (ValueError("while ending"),)])
async def test_a_job_ends_with_its_call_and_nothing_is_written_any_more(
    autojump_clock: MockClock, cleanup: Sequence[Exception]
) -> None:
    ended: list[str] = []

    async def assess() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("assess")
            for error in cleanup:
                raise error

    with structlog.testing.capture_logs() as logs:
        async with a_call() as call:
            call.jobs.start(assess, "assess", 60.0)
            await wait_all_tasks_blocked()
            call.nursery.cancel_scope.cancel()
    assert (ended, call.jobs.running, call.notes) == (["assess"], 0, [(0.0, "job assess started")])
    assert [line["event"] for line in logs] == ["a job failed"] * len(cleanup)
