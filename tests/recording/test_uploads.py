"""Recordings reach the bucket: also when the store was away, refused or slow, and after a server that ended or was killed."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
import trio
import trio.testing

from tests.server.rig import no_threads
from trio_voice.core.events import CallerAudio
from trio_voice.errors import ConfigError, how_to_install
from trio_voice.recording import uploads as module
from trio_voice.recording.recordings import mark_of, recordings_in
from trio_voice.recording.settings import RecordingSettings
from trio_voice.recording.uploads import LAST_UPLOAD_LIMIT_S, QUIET_S, Uploads, uploads_to
from trio_voice.server.directory import LiveCall
from trio_voice.storage.threads import NO_THREAD
from trio_voice.storage.wav_header import HEADER_BYTES, header

pytest.importorskip("moto", reason="moto is not installed")

from tests.recording.store import SECRET, make_bucket, s3_store, set_credentials, stored

STARTED_AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
REAL_LIMIT_S = 60.0
"""A bound for a test that hangs; no test waits for it."""


def call_id(number: int) -> str:
    return f"20261121-093000-{number:08x}"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with s3_store() as address:
        yield address


@pytest.fixture
def endpoint(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    set_credentials(monkeypatch, tmp_path)
    return store


@pytest.fixture
def bucket(endpoint: str) -> str:
    name = f"calls-{uuid4().hex}"
    make_bucket(endpoint, name)
    return name


@asynccontextmanager
async def uploading(folder: Path, endpoint: str, bucket: str) -> AsyncIterator[Uploads]:
    settings = RecordingSettings(enabled=True, s3_url=f"s3://{bucket}/tel", s3_endpoint=endpoint)
    assert settings.s3_url is not None
    async with uploads_to(settings.s3_url, folder, settings) as uploads:
        yield uploads


async def answer(uploads: Uploads, folder: Path, number: int) -> Path:
    """A call that is recorded as the server records calls; returns its recording."""
    live = LiveCall(call_id(number), "CA1", STARTED_AT, folder / call_id(number))
    async with (
        recordings_in(folder, uploads.settings) as recordings,
        uploads.attend(live),
        recordings.attend(live) as recorder,
    ):
        recorder.on_event(1.0, CallerAudio(b"\x20" * 160))
    return folder / call_id(number) / "recording.wav"


async def settled(uploads: Uploads) -> None:
    """Wait until nothing more can happen before the clock moves: no thread is at work, and every task waits.

    The clock of these tests stands still, and threads have no part in it: a thread is over when it gives its token back.
    """
    limiters = (uploads._one, uploads._markers)
    while True:
        await trio.testing.wait_all_tasks_blocked()
        if not any(limiter.borrowed_tokens for limiter in limiters):
            return
        for limiter in limiters:
            async with limiter:
                pass


def leave(folder: Path, number: int, age_s: float = QUIET_S * 2, *, is_marked: bool = True) -> Path:
    """What a server that was killed leaves of a call."""
    path = folder / call_id(number) / "recording.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"RIFF%d" % number)
    if is_marked:
        mark_of(path).touch()
    age(path, age_s)
    return path


def age(path: Path, age_s: float = QUIET_S * 2) -> None:
    """Nothing was written to a recording, and its mark, for so long."""
    for each in filter(Path.exists, (path, mark_of(path))):
        os.utime(each, (time.time() - age_s,) * 2)


def name_of(number: int) -> str:
    return f"tel/{call_id(number)}/recording.wav"


async def test_a_recording_is_uploaded_when_its_call_is_over(
    mock_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with uploading(tmp_path, endpoint, bucket) as uploads:
            first = await answer(uploads, tmp_path, 1)
            await settled(uploads)
            assert stored(endpoint, bucket) == {name_of(1): first.read_bytes()}
            assert (uploads.waiting, uploads.problem) == (0, "")
            second = await answer(uploads, tmp_path, 2)  # and the end comes at once
    assert stored(endpoint, bucket) == {name_of(1): first.read_bytes(), name_of(2): second.read_bytes()}
    assert len(second.read_bytes()) == 44 + 32_000
    assert [path.name for path in first.parent.iterdir()] == ["recording.wav"]
    assert logs == []


async def test_a_call_that_ends_while_old_recordings_are_looked_for_is_not_taken_for_one(
    mock_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, may_go_on = trio.Event(), threading.Event()
    look = Uploads._left_behind

    def slowly(uploads: Uploads, now: float) -> tuple[list[Path], set[Path]]:
        trio.from_thread.run_sync(looking.set)
        assert may_go_on.wait(REAL_LIMIT_S)
        return look(uploads, now)

    monkeypatch.setattr(Uploads, "_left_behind", slowly)
    with structlog.testing.capture_logs() as logs:
        async with uploading(tmp_path, endpoint, bucket) as uploads:
            await looking.wait()
            await answer(uploads, tmp_path, 1)
            may_go_on.set()
            await settled(uploads)
    assert [*stored(endpoint, bucket)] == [name_of(1)]
    assert logs == []


async def test_a_call_that_said_nothing_leaves_no_mark(
    mock_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    async with uploading(tmp_path, endpoint, bucket) as uploads:
        live = LiveCall(call_id(1), "CA1", STARTED_AT, tmp_path / call_id(1))
        mark = mark_of(tmp_path / call_id(1) / "recording.wav")
        async with uploads.attend(live):
            await settled(uploads)
            assert mark.exists()
        await settled(uploads)
        assert not mark.exists()
    assert stored(endpoint, bucket) == {}


async def test_a_store_that_refuses_is_asked_again_until_it_takes_all(
    mock_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    later = f"{bucket}-later"
    why = f"there is no bucket '{later}': make it, or correct recording.s3_url"
    with structlog.testing.capture_logs() as logs:
        async with uploading(tmp_path, endpoint, later) as uploads:
            paths = [await answer(uploads, tmp_path, number) for number in (1, 2)]
            for pause_s in (1.0, 2.0, 4.0):
                await settled(uploads)
                mock_clock.jump(pause_s)
            await settled(uploads)
            assert (uploads.waiting, uploads.problem) == (2, why)
            assert stored(endpoint, bucket) == {}
            make_bucket(endpoint, later)
            mock_clock.jump(7.75)
            await settled(uploads)
            assert stored(endpoint, later) == {}, "the pauses double"
            mock_clock.jump(0.25)
            await settled(uploads)
            assert (uploads.waiting, uploads.problem) == (0, "")
    assert stored(endpoint, later) == {name_of(number): path.read_bytes() for number, path in enumerate(paths, 1)}
    assert [(line["event"], line["error"]) for line in logs] == [
        ("uploading recordings", why),
        ("uploading recordings", "none any more"),
    ]


async def test_a_store_that_is_gone_and_back_and_a_server_that_ended_meanwhile(
    mock_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_credentials(monkeypatch, tmp_path)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    endpoint, bucket = f"http://127.0.0.1:{port}", f"calls-{uuid4().hex}"
    with structlog.testing.capture_logs() as logs:
        async with uploading(tmp_path, endpoint, bucket) as uploads:
            paths = [await answer(uploads, tmp_path, number) for number in (1, 2)]
    assert [line["event"] for line in logs] == [
        "uploading recordings",
        "recordings are not uploaded yet: the next start goes on",
    ]
    assert logs[1]["recordings"] == 2
    assert SECRET not in str(logs)
    assert all(mark_of(path).exists() for path in paths)
    for path in paths:
        age(path)
    with s3_store(port):
        make_bucket(endpoint, bucket)
        async with uploading(tmp_path, endpoint, bucket) as uploads:
            await settled(uploads)
        assert stored(endpoint, bucket) == {name_of(number): path.read_bytes() for number, path in enumerate(paths, 1)}


async def test_what_a_disk_that_hung_at_the_end_of_a_call_left_behind_the_recording_is_not_uploaded(
    mock_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    async with uploading(tmp_path, endpoint, bucket) as uploads:
        async with uploads.attend(LiveCall(call_id(1), "CA1", STARTED_AT, tmp_path / call_id(1))):
            path = leave(tmp_path, 1)
            path.write_bytes(header(8) + b"12345678" + b"what was not heard")
        await settled(uploads)
    assert stored(endpoint, bucket) == {name_of(1): header(8) + b"12345678"}
    assert path.stat().st_size == HEADER_BYTES + 8


async def test_what_a_killed_server_left_is_uploaded_and_nothing_else(
    mock_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    killed = leave(tmp_path, 1)
    killed.write_bytes(header(8) + b"12345678" + b"what was not heard yet")
    age(killed)
    leave(tmp_path, 2, is_marked=False)
    stranger = tmp_path / call_id(3) / "mine.wav.upload"
    stranger.parent.mkdir()
    stranger.touch()
    os.utime(stranger, (0, 0))
    with structlog.testing.capture_logs() as logs:
        async with uploading(tmp_path, endpoint, bucket) as uploads:
            await settled(uploads)
    assert stored(endpoint, bucket) == {name_of(1): header(8) + b"12345678"}
    assert [(line["event"], line["recordings"]) for line in logs] == [("recordings of before are uploaded", 1)]
    assert stranger.exists()


async def test_what_may_be_a_call_in_another_worker_is_left_until_it_is_quiet(
    mock_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    old, fresh = leave(tmp_path, 1), leave(tmp_path, 2, age_s=0.0)
    async with uploading(tmp_path, endpoint, bucket) as uploads:
        await settled(uploads)
        assert (mark_of(old).exists(), mark_of(fresh).exists()) == (False, True)
        age(fresh)
        mock_clock.jump(QUIET_S - 0.25)
        await settled(uploads)
        assert mark_of(fresh).exists()
        mock_clock.jump(0.25)
        await settled(uploads)
        assert not mark_of(fresh).exists()
    assert stored(endpoint, bucket) == {name_of(1): b"RIFF1", name_of(2): b"RIFF2"}


async def test_what_is_too_much_to_be_known_is_found_later(
    mock_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    for number in range(1, 6):
        leave(tmp_path, number)
    async with uploading(tmp_path, endpoint, bucket) as uploads:
        for uploaded in (2, 4, 5):
            await settled(uploads)
            assert len(stored(endpoint, bucket)) == uploaded
            mock_clock.jump(QUIET_S)
        await settled(uploads)
    assert sorted(stored(endpoint, bucket)) == [name_of(number) for number in range(1, 6)]


@pytest.fixture
def silent_store() -> Iterator[socket.socket]:
    """A store that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(REAL_LIMIT_S)
        yield server


async def test_a_store_that_does_not_answer_holds_neither_calls_nor_the_end(
    mock_clock: trio.testing.MockClock, tmp_path: Path, silent_store: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_credentials(monkeypatch, tmp_path)
    address = f"http://127.0.0.1:{silent_store.getsockname()[1]}"
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            async with uploading(tmp_path, address, "calls") as uploads:
                paths = [await answer(uploads, tmp_path, number) for number in (1, 2)]
                connection, _ = await trio.to_thread.run_sync(silent_store.accept)
                nursery.start_soon(pass_at_the_end, mock_clock)
            assert trio.current_time() == LAST_UPLOAD_LIMIT_S
        connection.close()
    assert all(mark_of(path).exists() for path in paths)
    assert [(line["event"], line["recordings"]) for line in logs] == [
        ("recordings are not uploaded yet: the next start goes on", 2)
    ]


async def pass_at_the_end(clock: trio.testing.MockClock) -> None:
    """Let the time pass that the server's end waits for uploads."""
    await trio.testing.wait_all_tasks_blocked()
    clock.jump(LAST_UPLOAD_LIMIT_S)


async def test_without_boto3_the_server_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as caught:
        async with uploads_to("s3://calls", tmp_path, RecordingSettings()):
            raise AssertionError("it does not begin")
    assert str(caught.value) == f"recording.s3_url needs boto3; install it with: {how_to_install('boto3')}"


async def test_what_waits_for_a_thread_is_uploaded_when_there_is_one(
    mock_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    left = leave(tmp_path, 1)
    with structlog.testing.capture_logs() as logs:
        with no_threads():
            stack = AsyncExitStack()
            uploads = await stack.enter_async_context(uploading(tmp_path, endpoint, bucket))
            await settled(uploads)
            uploads._waiting[leave(tmp_path, 2)] = True
            uploads._came.set()
            await settled(uploads)
            assert (uploads.waiting, uploads.problem) == (1, NO_THREAD)
        async with stack:
            mock_clock.jump(1.0)
            await settled(uploads)
            mock_clock.jump(QUIET_S)
            await settled(uploads)
    assert stored(endpoint, bucket) == {name_of(1): left.read_bytes(), name_of(2): b"RIFF2"}
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "recordings of before cannot be looked for",
        "uploading recordings",
        "uploading recordings",
    ]
