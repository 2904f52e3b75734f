"""Which server is called: the one whose run file is there and that answers, the one that was typed, or one that is started."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from trio_voice.errors import UserError
from trio_voice.phone import finding
from trio_voice.phone.feed import Answer, UnreachableError
from trio_voice.phone.finding import Server, find_server, server_at, started_server

RUNNING = {"url": "http://127.0.0.1:8081", "token": "s3cret", "pid": 7, "calls_folder": "calls"}


def leave_run_file(folder: Path, **changes: object) -> None:
    (folder / "server.json").write_text(json.dumps(RUNNING | changes), "utf-8")


@pytest.fixture
def health(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Servers that answer; whoever is asked and is not among them cannot be reached."""
    well = ["http://127.0.0.1:8081/healthz"]

    async def get(url: str, path: str) -> Answer:
        if url + path not in well:
            raise UnreachableError("nobody there")
        return Answer(200, b"{}")

    monkeypatch.setattr(finding, "get", get)
    return well


async def test_the_server_that_runs_here_is_found_by_its_run_file(health: list[str], tmp_path: Path) -> None:
    assert await find_server(tmp_path) is None
    leave_run_file(tmp_path)
    assert await find_server(tmp_path) == Server(
        "ws://127.0.0.1:8081/media/twilio", "http://127.0.0.1:8081", "s3cret", tmp_path, 7
    )
    assert "s3cret" not in repr(await find_server(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", '{"url": "http://x", "token": "t", "pid": "none"}'])
async def test_a_broken_run_file_is_none(health: list[str], tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text, "utf-8")
    assert await find_server(tmp_path) is None


async def test_a_run_file_whose_server_does_not_answer_is_none(health: list[str], tmp_path: Path) -> None:
    leave_run_file(tmp_path)
    health.clear()
    assert await find_server(tmp_path) is None


@pytest.mark.parametrize(
    ("typed", "media_url", "url"),
    [
        ("ws://host:9000/media/twilio", "ws://host:9000/media/twilio", "http://host:9000"),
        ("wss://host/other?x=1", "wss://host/other?x=1", "https://host"),
        ("http://host:9000", "ws://host:9000/media/twilio", "http://host:9000"),
        ("https://host/", "wss://host/media/twilio", "https://host"),
        ("http://host/media/mine", "ws://host/media/mine", "http://host"),
        ("ws://[fd00::1]:9000/media/mine", "ws://[fd00::1]:9000/media/mine", "http://[fd00::1]:9000"),
    ],
)
async def test_what_was_typed_is_called(health: list[str], tmp_path: Path, typed: str, media_url: str, url: str) -> None:
    assert await server_at(typed, tmp_path) == Server(media_url, url)


async def test_a_typed_server_that_runs_here_brings_its_token(health: list[str], tmp_path: Path) -> None:
    leave_run_file(tmp_path)
    server = await server_at("ws://127.0.0.1:8081/media/other", tmp_path)
    assert (server.media_url, server.token) == ("ws://127.0.0.1:8081/media/other", "s3cret")
    assert (await server_at("ws://127.0.0.1:9999/media/other", tmp_path)).token is None


@pytest.mark.parametrize("name", ["localhost", "[::1]", "LOCALHOST"])
async def test_this_machine_may_be_called_by_any_of_its_names(health: list[str], tmp_path: Path, name: str) -> None:
    leave_run_file(tmp_path)
    assert (await server_at(f"ws://{name}:8081/media/twilio", tmp_path)).token == "s3cret"
    assert (await server_at("ws://elsewhere:8081/media/twilio", tmp_path)).token is None


@pytest.mark.parametrize("typed", ["ftp://host/", "host:8080", "ws://", "ws://host:eighty/"])
async def test_what_is_no_url_is_said_so(health: list[str], tmp_path: Path, typed: str) -> None:
    with pytest.raises(UserError, match="URL"):
        await server_at(typed, tmp_path)


@define
class PretendedProcess:
    """A server's process: it leaves its run file after `ready_after_s`, or exits with `fails_with`."""

    folder: Path
    ready_after_s: float = 1.0
    fails_with: str = ""
    stubborn: bool = False
    pid: int = 4711
    returncode: int | None = None
    command: Sequence[str] = ()
    signals: list[signal.Signals] = field(factory=list)
    _began: float = 0.0
    _gone: trio.Event = field(factory=trio.Event)

    async def open(self, command: Sequence[str], *, stdout: Any, **_: Any) -> PretendedProcess:
        self.command, self._began = command, trio.current_time()
        stdout.write(self.fails_with.encode())
        stdout.flush()
        return self

    def poll(self) -> int | None:
        if self.fails_with:
            self.returncode = 2
        elif self.returncode is None and trio.current_time() >= self._began + self.ready_after_s:
            leave_run_file(self.folder, pid=self.pid)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        self.signals.append(number)
        if number == signal.SIGKILL or not self.stubborn:
            self.returncode = -number
            self._gone.set()

    async def wait(self) -> int:
        await self._gone.wait()
        return 0


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PretendedProcess:
    process = PretendedProcess(tmp_path)
    monkeypatch.setattr(trio.lowlevel, "open_process", process.open)
    return process


async def test_a_server_is_started_waited_for_and_ended(
    health: list[str], process: PretendedProcess, tmp_path: Path, autojump_clock: MockClock
) -> None:
    leave_run_file(tmp_path, pid=1)  # of a server that is gone, on a port that answers again
    async with started_server(tmp_path) as server:
        assert server.pid == 4711
        assert trio.current_time() == pytest.approx(1.0, abs=0.11)
        assert process.signals == []
    assert process.signals == [signal.SIGTERM]
    assert list(process.command[1:]) == ["-m", "trio_voice", "serve", "--port", "0", "--calls", str(tmp_path)]


async def test_a_server_that_does_not_end_is_killed(
    health: list[str], process: PretendedProcess, tmp_path: Path, autojump_clock: MockClock
) -> None:
    process.stubborn = True
    async with started_server(tmp_path):
        pass
    assert process.signals == [signal.SIGTERM, signal.SIGKILL]


async def test_a_server_that_fails_says_why(
    health: list[str], process: PretendedProcess, tmp_path: Path, autojump_clock: MockClock
) -> None:
    process.fails_with = "log line\ntrio-voice: model.url: not a URL\n"
    with pytest.raises(UserError, match=r"the server did not start: trio-voice: model\.url: not a URL \(see .*server\.log\)"):
        async with started_server(tmp_path):
            pytest.fail("there is no server")
    assert process.signals == []


async def test_a_server_that_is_never_ready_is_given_up_and_ended(
    health: list[str], process: PretendedProcess, tmp_path: Path, autojump_clock: MockClock
) -> None:
    process.ready_after_s = 1000
    with pytest.raises(UserError, match="was not ready within 60 s"):
        async with started_server(tmp_path):
            pytest.fail("there is no server")
    assert process.signals == [signal.SIGTERM]
    assert trio.current_time() == 60


async def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"server\.log cannot be written .*--calls-folder"):
        async with started_server(tmp_path / "file"):
            pytest.fail("there is no server")


@pytest.mark.parametrize(
    ("answer", "url"),
    [
        (Answer(201, b'{"paths":{"twilio":"/media/twilio/abc"}}'), "ws://h:1/media/twilio/abc"),
        (Answer(503, b"all lines are busy\n"), None),
        (Answer(201, b"{}"), None),
        (Answer(201, b"[]"), None),
    ],
)
async def test_r40_a_guarded_server_gives_its_user_a_call_token(
    answer: Answer, url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, dict[str, str]]] = []

    async def post(base: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        asked.append((base, path, headers))
        return answer

    monkeypatch.setattr(finding, "post", post)
    server = Server("ws://h:1/media/twilio", "http://h:1", "t0k")
    if url is None:
        with pytest.raises(UserError, match="refused the call, and gave no call token"):
            await finding.media_url_with_token(server)
    else:
        assert await finding.media_url_with_token(server) == url
    assert asked == [("http://h:1", "/api/v1/call-tokens", {"Authorization": "Bearer t0k"})]


@pytest.mark.parametrize(
    ("media_url", "token", "gives"),
    [
        ("ws://h:1/media/twilio", "t0k", True),
        ("ws://h:1/media/twilio/", "t0k", True),
        ("ws://h:1/media/twilio", None, False),
        ("ws://h:1/media/twilio/a-token-that-was-typed", "t0k", False),
        ("ws://h:1/media/other", "t0k", False),
    ],
)
def test_a_call_token_is_for_the_plain_media_url_of_a_server_that_runs_here(
    media_url: str, token: str | None, gives: bool
) -> None:
    assert Server(media_url, "http://h:1", token).gives_tokens == gives
