"""Several workers' numbers on one page."""

from __future__ import annotations

import os
from pathlib import Path

import structlog
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families

from tests.server.rig import no_threads, threads_at_once
from trio_voice.server.admission import Admission, EntryFault
from trio_voice.server.directory import CallDirectory
from trio_voice.server.metrics import Metrics
from trio_voice.server.shared_metrics import OLD_S, WRITTEN_EVERY_S, SharedMetrics, merged


def worker(number: int, folder: Path) -> SharedMetrics:
    metrics = Metrics(CallDirectory(), Admission(max_calls=number), "1.2.3")
    for _ in range(number):
        metrics.count_refusal(EntryFault.BUSY)
    return SharedMetrics(metrics, number, folder)


async def shared_once(one: SharedMetrics) -> None:
    """Have it leave its page."""
    path = one.folder / f"{one.worker}.prom"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        with trio.fail_after(10):
            while not path.exists():  # noqa: ASYNC110 - that is how another process finds it
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


def values(page: bytes, name: str) -> dict[str, float]:
    """A family's samples by their worker."""
    families = {family.name: family for family in text_string_to_metric_families(page.decode())}
    return {sample.labels["worker"]: sample.value for sample in families[name].samples if not sample.name.endswith("_created")}


async def test_r42_whichever_worker_is_asked_tells_of_all(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    one, two = worker(1, folder), worker(2, folder)
    await shared_once(two)
    page = await one.page()
    assert values(page, "trio_voice_call_places") == {"1": 1.0, "2": 2.0}
    assert page.count(b"# TYPE trio_voice_call_places gauge\n") == 1
    assert b'trio_voice_calls_refused_total{worker="2",reason="busy"} 2.0\n' in page
    assert b'process_open_fds{worker="1"} ' in page


async def test_r42_a_worker_that_has_died_is_left_out(tmp_path: Path) -> None:
    one, two = worker(1, tmp_path), worker(2, tmp_path)
    await shared_once(two)
    old = (tmp_path / "2.prom").stat().st_mtime - OLD_S
    os.utime(tmp_path / "2.prom", (old, old))
    (tmp_path / "notes.txt").touch()
    assert values(await one.page(), "trio_voice_call_places") == {"1": 1.0}


async def test_a_folder_that_takes_nothing_is_told_once_and_our_own_numbers_are_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    one = worker(1, tmp_path / "file" / "folder")
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            one._write(b"")
        assert values(await one.page(), "trio_voice_call_places") == {"1": 1.0}
    assert [line["reason"] for line in logs] == ["Not a directory"]


async def test_numbers_that_no_thread_was_there_to_share_are_shared_later(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    one = worker(1, tmp_path)
    with structlog.testing.capture_logs() as logs, threads_at_once():
        async with trio.open_nursery() as nursery:
            with no_threads():
                nursery.start_soon(one.run)
                await trio.sleep(1.0)
            assert [line["reason"] for line in logs] == ["the system gives this process no more threads"]
            await trio.sleep(WRITTEN_EVERY_S)
            assert (tmp_path / "1.prom").exists()
            nursery.cancel_scope.cancel()


async def test_our_own_numbers_are_told_when_no_thread_is_there_to_read_those_of_the_others(tmp_path: Path) -> None:
    one, two = worker(1, tmp_path), worker(2, tmp_path)
    await shared_once(two)
    with no_threads():
        assert values(await one.page(), "trio_voice_call_places") == {"1": 1.0}


def test_every_form_of_a_sample_gets_its_worker() -> None:
    page = '# HELP a text\n# TYPE a gauge\na 1.0\na{b="c d{"} 2.0\n'
    assert merged({3: page}).decode() == '# HELP a text\n# TYPE a gauge\na{worker="3"} 1.0\na{worker="3",b="c d{"} 2.0\n'
