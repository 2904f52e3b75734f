"""The command as its user sees it: what it prints, what it leaves, how it exits; a whole town of servers on memory streams."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import click
import pytest
import trio
from attrs import define, field
from click.testing import CliRunner
from rich.console import Console
from trio.testing import MockClock, memory_stream_pair
from trio_websocket import wrap_server_stream

from tests.phone.fake_server import TONE, FakeServer
from trio_voice.audio.wav import write_wav_8khz
from trio_voice.errors import UserError
from trio_voice.phone import command
from trio_voice.phone.command import _conclude, _Errand, _journal_began_s, _scenario
from trio_voice.phone.conversation import conversation
from trio_voice.phone.display import Display
from trio_voice.phone.finding import Server
from trio_voice.phone.scenario import DuringAgent, HangUp, Press, Say, Scenario
from trio_voice.phone.speech import SpeechUnavailableError
from trio_voice.phone.synthetic import synthetic_speech
from trio_voice.phone.voice import prepare_speech
from trio_voice.phone.webhook import Carrier

SENTENCE = prepare_speech(synthetic_speech(1, 1.0), "A sentence.")
JOURNAL = (
    b'data: {"journal":1,"call_id":"20261121-1"}\n\n'
    b'data: {"t":0.1,"command":"CreateResponse","purpose":"greeting"}\n\n'
    b'data: {"t":2.0,"command":"Close","reason":"done"}\n\n'
)

TWIML = (
    b'<Response><Connect action="/twilio/after"><Stream url="ws://town:8080/media/twilio/abc" statusCallback="/twilio/status">'
    b'<Parameter name="tenant" value="acme"/></Stream></Connect></Response>'
)
POSTED = {
    b"/api/v1/call-tokens": (201, b'{"paths":{"twilio":"/media/twilio/abc"}}'),
    b"/twilio/voice": (200, TWIML),
    b"/twilio/busy": (200, b'<Response><Reject reason="busy"/></Response>'),
    b"/twilio/status": (204, b""),
    b"/twilio/after": (200, b"<Response><Hangup/></Response>"),
}


@define(eq=False)
class Town:
    """Answers whoever connects: media streams with a script, feeds with a journal, everything else as healthy."""

    nursery: trio.Nursery
    refuses: bool = False
    guarded: bool = False
    """Media streams need the call token."""
    posted: list[bytes] = field(factory=list)
    """Paths of what was posted."""
    refused: list[str] = field(factory=list)
    """Paths of the streams that were refused for want of a token."""
    calls: list[FakeServer] = field(factory=list)

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.StapledStream[Any, Any]) -> None:
        head = bytes(await stream.receive_some())
        if b"Upgrade: WebSocket" in head or b"upgrade: websocket" in head.lower():
            replay, rest = memory_stream_pair()
            await replay.send_all(head)
            await self._answer(trio.StapledStream(stream.send_stream, _Then(rest, stream.receive_stream)))
        elif head.startswith(b"POST"):
            path = head.split(b" ")[1]
            self.posted.append(path)
            status, body = POSTED[path]
            await stream.send_all(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
        else:
            body = JOURNAL if b"/events" in head else b"{}"
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async def _answer(self, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as connection:
            request = await wrap_server_stream(connection, stream)
            if self.refuses:
                await request.reject(503, body=b"full\n")
                return
            if self.guarded and request.path != "/media/twilio/abc":
                self.refused.append(request.path)
                await request.reject(403, body=b"no token\n")
                return
            server = FakeServer(await request.accept())
            self.calls.append(server)
            connection.start_soon(server.read)
            await server.started()
            await server.play(TONE * 20)
            await server.mark("greeting")


@define(eq=False)
class _Then(trio.abc.ReceiveStream):
    """One stream's first bytes, and then another's."""

    first: trio.abc.ReceiveStream | None
    then: trio.abc.ReceiveStream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self.first is not None:
            first, self.first = self.first, None
            return bytes(await first.receive_some(max_bytes))
        return bytes(await self.then.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self.then.aclose()


@pytest.fixture
async def town(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> Town:
    town = Town(nursery)
    monkeypatch.setattr(trio, "open_tcp_stream", town.connect)
    return town


def errand(
    tmp_path: Path, scenario: Scenario | None = None, url: str | None = "ws://town:8080/media/twilio"
) -> tuple[_Errand, StringIO]:
    screen = StringIO()
    display = Display(Console(file=screen, highlight=False, markup=False, emoji=False))
    return _Errand(display, scenario or conversation([SENTENCE], hang_up_at_s=3.0), url, tmp_path), screen


async def test_a_call_to_a_server_elsewhere_is_shown_and_kept(town: Town, tmp_path: Path, autojump_clock: MockClock) -> None:
    task, screen = errand(tmp_path)
    await task.run()
    assert _conclude(task) == 0
    shown = screen.getvalue()
    for words in (
        "Calling ws://town:8080/media/twilio",
        "line    answered, CA",
        "caller  A sentence.",
        "marks: 1 played",
        "Wrote ",
        "\nJudged by the line alone. What only the server's journal tells is not known",
    ):
        assert words in shown
    assert task.call is not None
    assert task.folder == tmp_path / task.call.carrier.identity.call_sid
    assert all([await trio.Path(task.folder / name).is_file() for name in ("call.png", "call.wav", "caller.wav")])


async def test_a_call_to_the_server_that_runs_here_has_its_journal(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def running(calls_folder: Path) -> Server:
        return Server("ws://town:8080/media/twilio", "http://town:8080", "t0k", calls_folder, 1)

    monkeypatch.setattr(command, "find_server", running)
    task, screen = errand(tmp_path, url=None)
    await task.run()
    assert _conclude(task) == 0
    assert "call    ask for a response: greeting" in screen.getvalue()
    assert "Judged by the line alone" not in screen.getvalue()
    assert (tmp_path / "20261121-1" / "call.jsonl").read_text("utf-8").count("\n") == 3


async def test_r40_a_guarded_server_is_asked_for_a_call_token(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def running(calls_folder: Path) -> Server:
        return Server("ws://town:8080/media/twilio", "http://town:8080", "t0k", calls_folder, 1)

    monkeypatch.setattr(command, "find_server", running)
    town.guarded = True
    task, screen = errand(tmp_path, url=None)
    await task.run()
    assert _conclude(task) == 0
    assert town.posted == [b"/api/v1/call-tokens"]
    assert town.refused == []
    assert screen.getvalue().count("Calling ") == 1


async def test_a_call_rings_by_its_webhook(town: Town, tmp_path: Path, autojump_clock: MockClock) -> None:
    town.guarded = True
    task, screen = errand(tmp_path, url=None)
    task.carrier = Carrier(webhook_url="http://town:8080/twilio/voice", auth_token="12345")
    await task.run()
    assert _conclude(task) == 0
    assert town.posted == [b"/twilio/voice", b"/twilio/status", b"/twilio/status", b"/twilio/after"]
    assert town.calls[0].of("start")[0]["start"]["customParameters"] == {"tenant": "acme"}
    assert screen.getvalue().startswith("Ringing http://town:8080/twilio/voice\nCalling ws://town:8080/media/twilio/...\n")
    assert "The carrier hangs up\n" in screen.getvalue()


async def test_a_call_that_is_not_connected_is_the_users_to_know(town: Town, tmp_path: Path, autojump_clock: MockClock) -> None:
    task, _ = errand(tmp_path, url=None)
    task.carrier = Carrier(webhook_url="http://town:8080/twilio/busy")
    with pytest.RaisesGroup(pytest.RaisesExc(UserError, match=r"the webhook rejects the call \(busy\)"), flatten_subgroups=True):
        await task.run()


async def test_when_none_runs_one_is_started_for_the_call_and_ended_after_it(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    happened: list[str] = []

    @asynccontextmanager
    async def started(calls_folder: Path) -> AsyncIterator[Server]:
        happened.append("started")
        yield Server("ws://town:8080/media/twilio", "http://town:8080", None, calls_folder)
        happened.append(f"ended after {len(town.calls)} call")

    monkeypatch.setattr(command, "started_server", started)
    task, screen = errand(tmp_path, url=None)
    await task.run()
    assert happened == ["started", "ended after 1 call"]
    assert screen.getvalue().startswith("No server runs here: starting one for this call ...\n")


async def test_ctrl_c_hangs_up(town: Town, tmp_path: Path, autojump_clock: MockClock) -> None:
    task, screen = errand(tmp_path, conversation([SENTENCE]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task.run)
        await trio.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)
    assert _conclude(task) == 0
    assert town.calls[0].received[-1][1]["event"] == "stop"
    assert "Hanging up." in screen.getvalue()
    assert trio.current_time() < 2


async def test_ctrl_c_before_the_call_just_ends(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def looking(calls_folder: Path) -> Server:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(command, "find_server", looking)
    task, _ = errand(tmp_path, url=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task.run)
        await trio.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)
    assert _conclude(task) == 130


async def test_a_server_that_fails_makes_a_bad_call(town: Town, tmp_path: Path, autojump_clock: MockClock) -> None:
    task, screen = errand(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task.run)
        await trio.sleep(0.5)
        await town.calls[0].socket.aclose(1011, "internal error")
    assert _conclude(task) == 1
    assert "ended by the server (code 1011, internal error)" in screen.getvalue()
    assert screen.getvalue().endswith("FAILED: the server ended the call with code 1011 (internal error)\n")


async def test_what_happens_is_shown_as_it_happens_and_in_its_order(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def running(calls_folder: Path) -> Server:
        return Server("ws://town:8080/media/twilio", "http://town:8080", "t0k", calls_folder, 1)

    monkeypatch.setattr(command, "find_server", running)
    task, screen = errand(tmp_path, url=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task.run)
        await trio.sleep(2.6)  # of 3: the journal came at once, with what happens at 2.0
        assert "   0.10  call    ask for a response" in screen.getvalue()
        assert "   2.00  call    close" not in screen.getvalue()
        await trio.sleep(0.2)
        assert "   2.00  call    close" in screen.getvalue()
    times = [float(line[:8]) for line in screen.getvalue().splitlines() if line[:8].strip().replace(".", "").isdigit()]
    assert times == sorted(times)
    assert len(times) >= 6


@pytest.mark.parametrize(
    ("journal", "answered_at", "later_s"),
    [
        (['{"journal":1,"started_at":"2026-11-21T09:30:12.020000Z"}'], "2026-11-21T09:30:12+00:00", 0.02),
        (['{"journal":1,"started_at":"2026-11-21T09:30:11.999000Z"}'], "2026-11-21T09:30:12+00:00", 0.0),
        (['{"journal":1,"started_at":"2026-11-21T09:31:12.000000Z"}'], "2026-11-21T09:30:12+00:00", 0.0),
        (['{"journal":1,"started_at":"2026-11-21T09:30:12"}'], "2026-11-21T09:30:12+00:00", 0.0),
        (['{"journal":1,"started_at":"soon"}'], "2026-11-21T09:30:12+00:00", 0.0),
        (['{"journal":1'], "2026-11-21T09:30:12+00:00", 0.0),
        ([], "2026-11-21T09:30:12+00:00", 0.0),
    ],
    ids=["later", "earlier", "another clock", "no zone", "no time", "no JSON", "no journal"],
)
def test_how_much_later_the_journal_began(journal: list[str], answered_at: str, later_s: float) -> None:
    assert _journal_began_s(journal, datetime.fromisoformat(answered_at)) == later_s


async def test_a_server_that_refuses_is_the_users_to_know(town: Town, tmp_path: Path, autojump_clock: MockClock) -> None:
    town.refuses = True
    task, _ = errand(tmp_path)
    with pytest.RaisesGroup(
        pytest.RaisesExc(UserError, match=r"refused the call with HTTP status 503 \(full\)"), flatten_subgroups=True
    ):
        await task.run()


def plain_display() -> tuple[Display, StringIO]:
    screen = StringIO()
    return Display(Console(file=screen)), screen


def test_wav_files_are_the_callers_sentences_the_second_the_interruption(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write_wav_8khz(tmp_path / f"{number}.wav", synthetic_speech(number, 0.5))
    wavs = tuple(tmp_path / f"{number}.wav" for number in (1, 2, 3))
    display, _ = plain_display()

    def said(scenario: Scenario) -> list[str]:
        return [step.speech.text for step in scenario.steps if isinstance(step, Say)]

    assert said(_scenario(display, wavs, None, None, "")) == ["1.wav", "2.wav", "3.wav"]
    interrupting = _scenario(display, wavs, 1.5, 9.0, "12")
    assert isinstance(interrupting.steps[0], Press)
    assert said(interrupting) == ["1.wav", "2.wav", "3.wav"]
    assert [step.when for step in interrupting.steps if isinstance(step, Say)][1] == DuringAgent(1.5)
    assert interrupting.hang_up_at_s == 9.0
    assert said(_scenario(display, wavs[:1], 1.5, None, "")) == ["1.wav", "1.wav"]


def test_without_recorded_speech_the_caller_is_synthetic_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(folder: Path, tell: Callable[[str], None]) -> None:
        raise SpeechUnavailableError("there is no apt-get")

    monkeypatch.setattr(command, "get_prompts", unavailable)
    display, screen = plain_display()
    scenario = _scenario(display, (), None, None, "")
    assert len([step for step in scenario.steps if isinstance(step, Say)]) == 4
    assert isinstance(scenario.steps[-1], HangUp)
    assert "there is no apt-get): the caller is synthetic" in screen.getvalue().replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--wav", "nowhere.wav"], "nowhere.wav: no such file"),
        (["--dtmf", "12x"], "--dtmf 12x: a telephone has the keys"),
        (["--url", "nonsense", "--wav", "good.wav"], "--url nonsense: not a media URL"),
    ],
)
def test_a_users_mistake_is_a_user_error(
    arguments: Sequence[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_wav_8khz(tmp_path / "good.wav", synthetic_speech(1, 0.5))
    result = CliRunner().invoke(command.call, arguments)
    error = result.exception
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, UserError)
    assert words in str(error)
    assert result.exit_code != 0


def test_help_names_every_option() -> None:
    result = CliRunner().invoke(command.call, ["--help"])
    assert result.exit_code == 0
    for option in ("--url", "--wav", "--barge-in-at", "--hang-up-at", "--dtmf", "--calls-folder"):
        assert option in result.output
    assert isinstance(command.call, click.Command)
