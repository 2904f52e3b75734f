"""A file as an answer: whole, in part, when it cannot be read, and when its reader leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message

from tests.server.rig import no_threads, threads_at_once
from tests.web.asgi_client import Answer, get
from trio_voice.storage.threads import NO_THREAD
from trio_voice.storage.wav_header import header
from trio_voice.web import file_answer as module
from trio_voice.web.answers import error_answer
from trio_voice.web.file_answer import READ_LIMIT_S, FileAnswer

CONTENT = b"0123456789"
GET = {"type": "http", "method": "GET", "headers": []}


def serving(path: Path, readers: trio.CapacityLimiter | None = None) -> ASGIApp:
    async def endpoint(_request: Request) -> FileAnswer:
        return FileAnswer(path, "audio/wav", readers or trio.CapacityLimiter(1))

    return Starlette(
        routes=[Route("/file", endpoint)], exception_handlers={404: error_answer, 416: error_answer, 503: error_answer}
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "call.wav"
    found.write_bytes(CONTENT)
    os.utime(found, ns=(10**18, 10**18))
    return found


def fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)


async def ask(path: Path, method: str = "GET", **headers: str) -> Answer:
    return await get(serving(path), "/file", {name.replace("_", "-"): value for name, value in headers.items()}, method)


async def test_the_whole_file_comes_with_what_a_player_has_to_know(path: Path) -> None:
    answer = await ask(path)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers == {
        "content-type": "audio/wav",
        "content-length": "10",
        "accept-ranges": "bytes",
        "cache-control": "no-store",
        "last-modified": "Sun, 09 Sep 2001 01:46:40 GMT",
        "etag": '"de0b6b3a7640000-a"',
    }


async def test_what_a_recording_does_not_count_is_served_to_nobody(path: Path) -> None:
    """While a call goes on, and after a server that was killed, speech that was not heard is behind the end."""
    recording = header(8) + b"12345678"
    fill(path, recording + b"not heard")
    answer = await ask(path)
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "52", recording)
    assert (await ask(path, range="bytes=48-")).body == b"5678"
    assert (await ask(path, range="bytes=-4")).body == b"5678"
    assert (await ask(path, range="bytes=52-")).status == 416


async def test_an_empty_file_is_an_empty_answer(path: Path) -> None:
    os.truncate(path, 0)
    answer = await ask(path)
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "0", b"")


@pytest.mark.parametrize(
    ("wanted", "begin", "end"),
    [
        ("bytes=2-4", 2, 5),
        ("bytes=0-", 0, 10),
        ("bytes=9-9", 9, 10),
        ("bytes=7-99", 7, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-99", 0, 10),
        ("Bytes = 2 - 4", 2, 5),
    ],
)
async def test_a_part_comes_alone(path: Path, wanted: str, begin: int, end: int) -> None:
    answer = await ask(path, Range=wanted)
    assert (answer.status, answer.body) == (206, CONTENT[begin:end])
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/10"
    assert answer.headers["content-length"] == str(end - begin)


@pytest.mark.parametrize("wanted", ["", "bytes=", "bytes=-", "bytes=4-2", "bytes=x-", "lines=1-2", "bytes=0-1,4-5", "2-4"])
async def test_what_is_no_part_is_the_whole(path: Path, wanted: str) -> None:
    answer = await ask(path, Range=wanted)
    assert (answer.status, answer.body, "content-range" in answer.headers) == (200, CONTENT, False)


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-12", "bytes=-0", f"bytes={'9' * 18}-"])
async def test_a_part_that_the_file_does_not_have_is_refused(path: Path, wanted: str) -> None:
    answer = await ask(path, Range=wanted)
    assert (answer.status, answer.headers["content-range"], answer.body) == (416, "bytes */10", b"the file has 10 bytes\n")


async def test_a_part_is_of_the_file_that_was_asked_for_before(path: Path) -> None:
    before = await ask(path)
    for name in ("etag", "last-modified"):
        assert (await ask(path, Range="bytes=2-4", If_Range=before.headers[name])).body == b"234"
    assert (await ask(path, Range="bytes=2-4", If_Range='"another"')).body == CONTENT


async def test_a_head_tells_all_but_the_content(path: Path) -> None:
    whole, part = await ask(path, "HEAD"), await ask(path, "HEAD", Range="bytes=2-4")
    assert (whole.status, whole.headers, whole.body) == (200, (await ask(path)).headers, b"")
    assert (part.status, part.headers, part.body) == (206, (await ask(path, Range="bytes=2-4")).headers, b"")


async def test_it_is_read_piece_by_piece(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 4)
    assert [piece for _, piece in (await ask(path)).pieces] == [b"0123", b"4567", b"89"]
    assert [piece for _, piece in (await ask(path, Range="bytes=1-8")).pieces] == [b"1234", b"5678"]


async def test_what_no_thread_is_there_to_read_is_503_and_says_so(path: Path) -> None:
    with no_threads():
        answer = await ask(path)
    assert (answer.status, answer.body) == (503, f"the file cannot be read now ({NO_THREAD}); ask again\n".encode())


async def test_a_file_that_is_gone_is_404(path: Path) -> None:
    assert (await ask(path.with_name("gone.wav"))).status == 404


async def test_a_file_that_becomes_shorter_leaves_the_answer_unfinished(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 4)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        os.truncate(path, 5)

    with structlog.testing.capture_logs() as logs:
        await FileAnswer(path, "audio/wav", trio.CapacityLimiter(1))(GET, trio.sleep_forever, send)
    assert [(message["body"], message["more_body"]) for message in sent[1:]] == [(b"0123", True), (b"4", True)]
    assert [(line["event"], line["error"]) for line in logs] == [
        ("a file cannot be read to its end", "the file has become shorter")
    ]


async def test_a_disk_that_hangs_is_503_within_the_limit(
    autojump_clock: trio.testing.MockClock, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, readers = threading.Event(), trio.CapacityLimiter(2)
    monkeypatch.setattr(os, "pread", lambda *_: released.wait(10))
    try:
        answer = await get(serving(path, readers), "/file")
        assert (answer.status, trio.current_time()) == (503, READ_LIMIT_S)
        assert answer.body == b"the file cannot be read now (the disk did not answer within 10 s); ask again\n"
        assert readers.borrowed_tokens == 1
    finally:
        released.set()


async def test_nothing_more_is_read_for_a_reader_who_has_left(
    autojump_clock: trio.testing.MockClock, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(_message: Message) -> None:
        await trio.sleep(1)

    async def leaves() -> Message:
        await trio.sleep(2.5)
        return {"type": "http.disconnect"}

    monkeypatch.setattr(module, "PIECE_BYTES", 1)
    with threads_at_once():
        await FileAnswer(path, "audio/wav", trio.CapacityLimiter(1))(GET, leaves, slow)
    assert trio.current_time() == 3.5  # the head took one


def test_no_other_scheduler_is_loaded_for_it(path: Path) -> None:
    program = f"""
import sys, trio
from pathlib import Path
from tests.web.test_file_answer import ask
assert trio.run(ask, Path({str(path)!r})).body == {CONTENT!r}
print([name for name in sys.modules if name.startswith("anyio._backends.")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
