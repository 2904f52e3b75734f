"""Recordings reach the bucket: also when the store was away, refused or slow, and after a server that ended or was killed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
import trio
import trio.testing

from trio_voice.core.events import CallerAudio
from trio_voice.errors import ConfigError, how_to_install
from trio_voice.recording import uploads as module
from trio_voice.recording.bucket import READ_LIMIT_S
from trio_voice.recording.recordings import mark_of, recordings_in
from trio_voice.recording.settings import RecordingSettings
from trio_voice.recording.uploads import QUIET_S, Uploads, uploads_to
from trio_voice.server.directory import LiveCall

pytest.importorskip("moto", reason="moto is not installed")

from tests.recording.store import SECRET, make_bucket, s3_store, set_credentials, stored

STARTED_AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
pytestmark = pytest.mark.prove  # real stores and threads beside a fast clock: they take long
BOUND_S = 2000.0
"""By the clock of these tests, which runs fast: a pause of 1 s takes 10 ms."""


def call_id(number: int) -> str:
    return f"20261121-093000-{number:08x}"


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> trio.testing.MockClock:
    monkeypatch.setattr("trio_voice.recording.recorder.LAST_WRITE_LIMIT_S", 500.0)  # a disk is as slow as ever
    return trio.testing.MockClock(rate=100.0)


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    set_credentials(monkeypatch, tmp_path)
    monkeypatch.setattr(module, "LAST_UPLOAD_LIMIT_S", 500.0)
    with s3_store() as address:
        yield address


@pytest.fixture
def bucket(endpoint: str) -> str:
    name = f"calls-{uuid4().hex}"
    make_bucket(endpoint, name)
    return name


@asynccontextmanager
async def uploading(folder: Path, endpoint: str, bucket: str) -> AsyncIterator[Uploads]:
    with trio.fail_after(BOUND_S):
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


async def until_uploaded(*paths: Path) -> None:
    while any(mark_of(path).exists() for path in paths):  # noqa: ASYNC110 - what a thread does to a file has no event
        await trio.sleep(1.0)


def leave(folder: Path, number: int, age_s: float = QUIET_S * 2, *, is_marked: bool = True) -> Path:
    """What a server that was killed leaves of a call."""
    path = folder / call_id(number) / "recording.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"RIFF%d" % number)
    if is_marked:
        mark_of(path).touch()
    for each in (path, mark_of(path)) if is_marked else (path,):
        os.utime(each, (time.time() - age_s,) * 2)
    return path


def name_of(number: int) -> str:
    return f"tel/{call_id(number)}/recording.wav"


async def test_a_recording_is_uploaded_when_its_call_is_over(
    fast_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with uploading(tmp_path, endpoint, bucket) as uploads:
            first = await answer(uploads, tmp_path, 1)
            await until_uploaded(first)
            assert stored(endpoint, bucket) == {name_of(1): first.read_bytes()}
            second = await answer(uploads, tmp_path, 2)  # and the end comes at once
    assert stored(endpoint, bucket) == {name_of(1): first.read_bytes(), name_of(2): second.read_bytes()}
    assert len(second.read_bytes()) == 44 + 32_000
    assert [path.name for path in first.parent.iterdir()] == ["recording.wav"]
    assert logs == []


async def test_a_call_that_said_nothing_leaves_no_mark(
    fast_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    async with uploading(tmp_path, endpoint, bucket) as uploads:
        live = LiveCall(call_id(1), "CA1", STARTED_AT, tmp_path / call_id(1))
        mark = mark_of(tmp_path / call_id(1) / "recording.wav")
        async with uploads.attend(live):
            while not mark.exists():  # noqa: ASYNC110 - what a thread does to a file has no event
                await trio.sleep(1.0)
        await until_uploaded(mark.with_suffix(""))
    assert stored(endpoint, bucket) == {}


async def test_a_store_that_refuses_is_asked_again_until_it_takes_all(
    fast_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    later = f"{bucket}-later"
    with structlog.testing.capture_logs() as logs:
        async with uploading(tmp_path, endpoint, later) as uploads:
            paths = [await answer(uploads, tmp_path, number) for number in (1, 2)]
            while not any("error" in line for line in logs):  # noqa: ASYNC110 - what is logged has no event
                await trio.sleep(1.0)
            assert stored(endpoint, bucket) == {}
            make_bucket(endpoint, later)
            await until_uploaded(*paths)
    assert stored(endpoint, later) == {name_of(number): path.read_bytes() for number, path in enumerate(paths, 1)}
    # On a slow machine the clock of this test runs so far ahead that the recordings look like those of another server, too.
    assert [line["error"] for line in logs if "error" in line] == [
        f"there is no bucket '{later}': make it, or correct recording.s3_url",
        "none any more",
    ]


async def test_a_store_that_is_gone_and_back_and_a_server_that_ended_meanwhile(
    fast_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_credentials(monkeypatch, tmp_path)
    monkeypatch.setattr(module, "LAST_UPLOAD_LIMIT_S", 500.0)
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
        os.utime(path, (time.time() - QUIET_S * 2,) * 2)
        os.utime(mark_of(path), (time.time() - QUIET_S * 2,) * 2)
    with s3_store(port):
        make_bucket(endpoint, bucket)
        async with uploading(tmp_path, endpoint, bucket):
            await until_uploaded(*paths)
        assert stored(endpoint, bucket) == {name_of(number): path.read_bytes() for number, path in enumerate(paths, 1)}


async def test_what_a_killed_server_left_is_uploaded_and_nothing_else(
    fast_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    left = leave(tmp_path, 1)
    leave(tmp_path, 2, is_marked=False)
    stranger = tmp_path / call_id(3) / "mine.wav.upload"
    stranger.parent.mkdir()
    stranger.touch()
    os.utime(stranger, (0, 0))
    with structlog.testing.capture_logs() as logs:
        async with uploading(tmp_path, endpoint, bucket):
            await until_uploaded(left)
    assert stored(endpoint, bucket) == {name_of(1): b"RIFF1"}
    assert [(line["event"], line["recordings"]) for line in logs] == [("recordings of before are uploaded", 1)]
    assert stranger.exists()


async def test_what_may_be_a_call_in_another_worker_is_left_until_it_is_quiet(
    fast_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str
) -> None:
    old, fresh = leave(tmp_path, 1), leave(tmp_path, 2, age_s=0.0)
    async with uploading(tmp_path, endpoint, bucket):
        await until_uploaded(old)
        assert mark_of(fresh).exists()
        for each in (fresh, mark_of(fresh)):
            os.utime(each, (time.time() - QUIET_S * 2,) * 2)
        await until_uploaded(fresh)
    assert stored(endpoint, bucket) == {name_of(1): b"RIFF1", name_of(2): b"RIFF2"}


async def test_what_is_too_much_to_be_known_is_found_later(
    fast_clock: trio.testing.MockClock, tmp_path: Path, endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    paths = [leave(tmp_path, number) for number in range(1, 6)]
    async with uploading(tmp_path, endpoint, bucket):
        await until_uploaded(*paths)
    assert sorted(stored(endpoint, bucket)) == [name_of(number) for number in range(1, 6)]


@pytest.fixture
def silent_store() -> Iterator[str]:
    """A store that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_a_store_that_does_not_answer_holds_neither_calls_nor_the_end(
    fast_clock: trio.testing.MockClock, tmp_path: Path, silent_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_credentials(monkeypatch, tmp_path)
    monkeypatch.setattr(module, "LAST_UPLOAD_LIMIT_S", 50.0)
    began = time.monotonic()
    with structlog.testing.capture_logs() as logs:
        async with uploading(tmp_path, silent_store, "calls") as uploads:
            paths = [await answer(uploads, tmp_path, number) for number in (1, 2)]
    assert time.monotonic() - began < READ_LIMIT_S / 2
    assert all(mark_of(path).exists() for path in paths)
    told = [line for line in logs if line["event"] != "recordings of before are uploaded"]  # on a slow machine: see above
    assert [(line["event"], line["recordings"]) for line in told] == [
        ("recordings are not uploaded yet: the next start goes on", 2)
    ]


async def test_without_boto3_the_server_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as caught:
        async with uploads_to("s3://calls", tmp_path, RecordingSettings()):
            raise AssertionError("it does not begin")
    assert str(caught.value) == f"recording.s3_url needs boto3; install it with: {how_to_install('boto3')}"
