"""Workers that ask each other over their private sockets."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
import structlog
import trio
import trio.testing

from trio_voice.errors import UserError
from trio_voice.server import siblings as module
from trio_voice.server.front_door import serve_pages
from trio_voice.server.siblings import SiblingLost, Siblings, private_listener, sockets_folder


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> trio.testing.MockClock:
    """Goes as fast as any, and can jump; the limits are such that nobody answers too late on a busy machine."""
    for limit in ("LOOK_LIMIT_S", "ASK_LIMIT_S", "SILENT_S"):
        monkeypatch.setattr(module, limit, 1000.0)
    return trio.testing.MockClock(rate=1.0)


async def time_passes(clock: trio.testing.MockClock, seconds: float) -> None:
    """Wait until nobody has anything to do but to wait, and then so long."""
    await trio.testing.wait_all_tasks_blocked()
    clock.jump(seconds)


@contextmanager
def late_after(clock: trio.testing.MockClock, *numbers: int) -> Iterator[None]:
    """When all of these have answered, those that have not are too late."""
    ask, left = Siblings._ask, set(numbers)

    async def ask_and_note(self: Siblings, number: int, *what: Any) -> bool:
        has_run_out = await ask(self, number, *what)
        left.discard(number)
        if not left:
            clock.jump(module.LOOK_LIMIT_S)
        return has_run_out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Siblings, "_ask", ask_and_note)
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    """A socket's path is bounded to about a hundred characters, and a test's own folder may be longer."""
    with TemporaryDirectory(prefix="siblings-") as path:
        yield Path(path)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """A worker's pages: they answer what was asked, and by whom."""
    body = (await receive())["body"]
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    told = [scope["method"], scope["path"], headers.get("authorization"), headers.get("content-type"), body.decode()]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


@asynccontextmanager
async def worker(folder: Path, number: int, app: Any = echo) -> AsyncIterator[None]:
    with private_listener(folder, number) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_pages, listener, app)
            yield
            nursery.cancel_scope.cancel()


async def test_all_others_are_asked_and_answer_for_themselves(folder: Path) -> None:
    async with worker(folder, 1), worker(folder, 2), worker(folder, 10):
        answers = await Siblings(folder, 1, "the-token").look("/api/v1/calls")
    told = {number: answer.json() for number, answer in answers.items() if answer is not None}
    wish = ["GET", "/api/v1/calls", "Bearer the-token", None, ""]
    assert told == {2: wish, 10: wish}


def test_the_folder_of_the_sockets_is_short_enough_even_where_the_one_for_temporary_files_is_not(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with sockets_folder() as found:
        assert found.parent == folder
        assert stat.S_IMODE(found.stat().st_mode) == 0o700
    assert not found.exists()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    monkeypatch.setattr(module, "SHORT_FOLDER", str(folder))
    with sockets_folder() as found, private_listener(found, 65535):
        assert found.parent == folder
    assert list(folder.iterdir()) == list(long.iterdir()) == []


def test_a_folder_that_is_just_short_enough_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = folder / ("x" * (module.LONGEST_PATH - len(f"{folder}//trio-voice-12345678/65535.sock")))
    longest.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(longest))
    with sockets_folder() as found, private_listener(found, 65535):
        assert found.parent == longest
    longer = folder / (longest.name + "x")
    longer.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(longer))
    with sockets_folder() as found:
        assert found.parent == Path("/tmp")


def test_without_any_short_folder_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    monkeypatch.setattr(module, "SHORT_FOLDER", str(tmp_path / "none"))
    with (
        pytest.raises(UserError, match=r"^the workers find no folder for their sockets: .*x is too long .* set TMPDIR"),
        sockets_folder(),
    ):
        pass


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_nobody_else_can_open_the_socket_and_nothing_is_left_of_it(folder: Path) -> None:
    assert modes(folder) == {}
    async with worker(folder, 1):
        assert modes(folder) == {"1.sock": 0o600}
    assert modes(folder) == {}


async def test_a_worker_that_takes_the_place_of_one_that_died_is_found(folder: Path) -> None:
    with suppress(RuntimeError), private_listener(folder, 2):
        (folder / "2.sock").rename(folder / "kept")  # as after a death: nobody has tidied up
        raise RuntimeError
    (folder / "kept").rename(folder / "2.sock")
    asking = Siblings(folder, 1, "t")
    with structlog.testing.capture_logs() as logs:
        assert await asking.look("/x") == {2: None}
        assert await asking.look("/x") == {2: None}
        async with worker(folder, 2):
            assert (await asking.look("/x"))[2] is not None
    assert [(line["event"], line["workers"]) for line in logs if line["log_level"] == "warning"] == [
        ("some workers do not answer: their calls are not shown", [2])  # once
    ]


async def test_one_that_is_too_busy_keeps_nobody_waiting(clock: trio.testing.MockClock, folder: Path) -> None:
    with private_listener(folder, 2):  # it listens, and answers nobody
        async with worker(folder, 3):
            with late_after(clock, 3):
                answers = await Siblings(folder, 1, "t").look("/x")
            assert (answers[2], answers[3] is not None) == (None, True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(time_passes, clock, module.ASK_LIMIT_S)
            with pytest.raises(SiblingLost, match=r"worker 2 does not answer within 1000 s"):
                async with Siblings(folder, 1, "t").asked(2, "GET", "/x", b"", ""):
                    pass


async def test_one_that_was_silent_is_not_waited_for_again_until_a_while_later(
    clock: trio.testing.MockClock, folder: Path
) -> None:
    asking = Siblings(folder, 1, "t")
    with private_listener(folder, 2) as stopped:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(time_passes, clock, module.LOOK_LIMIT_S)
            assert await asking.look("/x") == {2: None}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_pages, stopped, echo)
            assert await asking.look("/x") == {2: None}
            assert await asking.find("/x") is None
            assert (await asking.tell("/x"))[2] is not None  # a wish is put to all
            clock.jump(module.SILENT_S)
            assert (await asking.look("/x"))[2] is not None
            nursery.cancel_scope.cancel()


async def test_the_first_that_has_it_is_enough(clock: trio.testing.MockClock, folder: Path) -> None:
    async def has_none(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with private_listener(folder, 2):  # it listens, and answers nobody
        async with worker(folder, 3, has_none), worker(folder, 4):
            asking = Siblings(folder, 1, "t")
            with trio.fail_after(30):
                assert await asking.find("/x") == 4  # nobody waited for 2
            with late_after(clock, 3, 4):
                assert (await asking.look("/x"))[2] is None
        async with worker(folder, 3, has_none):
            assert await asking.find("/x") is None


async def test_all_are_told(folder: Path) -> None:
    async with worker(folder, 2), worker(folder, 3):
        answers = await Siblings(folder, 1, "t").tell("/drain")
    assert [answer.json()[:2] for answer in answers.values() if answer is not None] == [["POST", "/drain"]] * 2


async def test_one_is_asked_with_a_body_and_read_as_it_speaks(folder: Path) -> None:
    more = trio.Event()

    async def slowly(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, _but_more(send))
        await more.wait()
        await send({"type": "http.response.body", "body": b" and more"})

    async with worker(folder, 2, slowly):
        asking = Siblings(folder, 1, "t").asked(2, "POST", "/say?x", b'{"text":"Hi."}', "application/json")
        async with asking as answer:
            pieces = answer.aiter_raw()
            first = await anext(pieces)
            assert json.loads(first) == ["POST", "/say", "Bearer t", "application/json", '{"text":"Hi."}']
            more.set()
            assert b"".join([piece async for piece in pieces]) == b" and more"


def _but_more(send: Any) -> Any:
    async def send_more(message: Any) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    return send_more


async def test_one_that_is_gone_is_lost(folder: Path) -> None:
    with pytest.raises(SiblingLost, match=r"worker 7 cannot be reached \(ConnectError\)"):
        async with Siblings(folder, 1, "t").asked(7, "GET", "/x", b"", ""):
            pass
    assert await Siblings(folder, 1, "t").look("/x") == {}


async def test_one_that_dies_while_it_speaks_breaks_off(folder: Path) -> None:
    async def die(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise RuntimeError("a test's worker dies")

    async with worker(folder, 2, die), Siblings(folder, 1, "t").asked(2, "GET", "/x", b"", "") as answer:
        with pytest.raises(httpx2.TransportError):
            async for _ in answer.aiter_raw():
                pass
