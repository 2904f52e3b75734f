"""The server as a whole, up to where processes and the world's sockets begin (those are in tests/end_to_end)."""

from __future__ import annotations

import gc
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trio
import trio.testing
from attrs import define, evolve, field
from click.testing import CliRunner

from trio_voice import serve as module
from trio_voice.agent.agent import Agent
from trio_voice.agent.tool import tool
from trio_voice.assembly import Assembly, assemble
from trio_voice.cli import main
from trio_voice.config import ModelAccess, Settings
from trio_voice.core.events import Event, HangUpAsked
from trio_voice.core.states import CallState, ResponseState
from trio_voice.errors import UserError
from trio_voice.sections import ServerSettings, VoiceEngine
from trio_voice.serve import FLAGS, leave_alone_what_is_there, raise_file_limit, run_server, until_told
from trio_voice.server.directory import CallDirectory, Handle, LiveCall, Standing
from trio_voice.server.front_door import MediaRequest
from trio_voice.server.poller import current_poller
from trio_voice.workers import Wanted


def live() -> LiveCall:
    return LiveCall("c1", "CA1", datetime(2026, 11, 21, tzinfo=UTC), Path("calls/c1"))


@define
class Told:
    """Signals, each after a pause in seconds."""

    numbers: list[tuple[float, signal.Signals]]

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        if not self.numbers:
            await trio.sleep_forever()
        pause_s, number = self.numbers.pop(0)
        await trio.sleep(pause_s)
        return number


def alive() -> Standing:
    return Standing(CallState.CONVERSING, ResponseState.IDLE)


@define
class Ending:
    """Runs `until_told` beside a call, and keeps what happened."""

    said: list[str] = field(factory=list)
    fed: list[Event] = field(factory=list)
    """What the call was told."""
    draining: trio.Event = field(factory=trio.Event)
    cut: bool = False

    async def after(self, *numbers: tuple[float, signal.Signals], call_s: float = 0.0, drain_limit_s: float = 5.0) -> float:
        """How many seconds until the server was told to end, beside a call of `call_s`."""
        directory = CallDirectory()
        began = trio.current_time()

        async def be_called() -> None:
            call = live()
            call.handle = Handle(self.fed.append, alive)
            with call.scope, directory.registered(call):
                await trio.sleep(call_s)
            self.cut = call.scope.cancelled_caught

        async with trio.open_nursery() as nursery:
            if call_s:
                nursery.start_soon(be_called)
            await until_told(Told(list(numbers)), directory, self.draining, drain_limit_s, self.said.append)
            ended = trio.current_time() - began
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return ended


# --- when it ends ------------------------------------------------------------------------------------------------------


BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@BOTH
async def test_without_calls_a_signal_ends_at_once(autojump_clock: trio.testing.MockClock, number: signal.Signals) -> None:
    ending = Ending()
    assert await ending.after((3.0, number)) == 3.0
    assert ending.draining.is_set()
    assert ending.said == []


@BOTH
async def test_r41_the_first_signal_has_the_agent_say_goodbye_and_waits_for_the_last_call(
    autojump_clock: trio.testing.MockClock, number: signal.Signals
) -> None:
    ending = Ending()
    assert await ending.after((3.0, number), call_s=7.0) == 7.0
    assert ending.draining.is_set()
    assert ending.fed == [HangUpAsked("the server is ending", farewell=True)]
    assert ending.said == ["No new calls. Saying goodbye in the call in progress, for up to 5 s; Ctrl-C again ends at once."]
    assert not ending.cut


async def test_r41_the_end_waits_for_calls_at_most_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    ending = Ending()
    assert await ending.after((3.0, signal.SIGTERM), call_s=60.0) == 8.0
    assert ending.cut
    assert await Ending().after((3.0, signal.SIGTERM), call_s=60.0, drain_limit_s=0.0) == 3.0


@BOTH
async def test_r41_a_second_signal_ends_the_waiting(autojump_clock: trio.testing.MockClock, number: signal.Signals) -> None:
    ending = Ending()
    assert await ending.after((3.0, number), (1.5, number), call_s=60.0) == 4.5
    assert ending.cut


# --- what is told, and what is refused ---------------------------------------------------------------------------------


async def ignore(request: MediaRequest) -> None:
    """A media handler for tests without calls."""


def settings(folder: Path, **server: object) -> Settings:
    return Settings(
        server=ServerSettings(calls_folder=folder / "calls", port=0, **server),  # type: ignore[arg-type] # - keywords of it
        access=ModelAccess(base_url="wss://model.example/v1"),
    )


@define(eq=False)
class NoOneConnects(trio.abc.Listener[trio.SocketStream]):
    """A listener on port 4711 to which nobody connects; it is its own socket."""

    closed: bool = False

    @property
    def socket(self) -> NoOneConnects:
        return self

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 4711

    def close(self) -> None:
        self.closed = True

    async def accept(self) -> NoReturn:
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        self.close()


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> NoOneConnects:
    """What the server listens on instead of a port."""
    listener = NoOneConnects()

    async def open_listeners(host: str, port: int) -> list[NoOneConnects]:
        return [listener]

    monkeypatch.setattr(module, "open_listeners", open_listeners)
    return listener


async def banner(folder: Path, **server: object) -> str:
    said: list[str] = []
    await run_server(settings(folder, **server), say=said.append, media=ignore, signals=Told([(0.0, signal.SIGINT)]))
    (text,) = said
    return text


async def test_the_banner_says_where_everything_is(listener: NoOneConnects, tmp_path: Path) -> None:
    text = await banner(tmp_path)
    for said in (
        "receptionist is ready",
        "http://127.0.0.1:",
        "/healthz",
        "ws://127.0.0.1:",
        "/media/twilio",
        f'make call ARGS="--calls-folder {tmp_path}/calls"',
        "Ctrl-C",
    ):
        assert said in text
    assert "gpt-realtime-2.1 at wss://model.example/v1/realtime" in text
    assert str(tmp_path / "calls") in text
    assert listener.closed
    assert not (tmp_path / "calls" / "server.json").exists()


async def test_an_agents_file_and_tools_are_shown(listener: NoOneConnects, tmp_path: Path) -> None:
    @tool
    def book() -> None:
        """Book."""

    for tools, shown in (([book], "the tools book"), ([], "no tools")):
        told = evolve(settings(tmp_path), agent=Agent(name="practice", tools=tools), agent_file=Path("my_agent.py"))
        said: list[str] = []
        await run_server(told, say=said.append, media=ignore, signals=Told([(0.0, signal.SIGINT)]))
        assert "practice is ready" in said[0]
        assert f"  agent     my_agent.py, with {shown}\n" in said[0]
    assert "  agent " not in await banner(tmp_path)


async def test_carriers_are_shown_the_public_address(listener: NoOneConnects, tmp_path: Path) -> None:
    text = await banner(tmp_path, public_url="https://voice.example.com/")
    assert "wss://voice.example.com/media/twilio" in text
    assert "ws://127" not in text


async def test_a_server_on_every_address_names_this_machines_own(listener: NoOneConnects, tmp_path: Path) -> None:
    text = await banner(tmp_path, host="0.0.0.0")
    assert "http://127.0.0.1:4711/" in text
    assert "0.0.0.0" not in text


async def test_an_unwritable_folder_is_found_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="the calls folder"):
        await run_server(settings(tmp_path), say=print, media=ignore, signals=Told([]))


async def test_the_parent_of_workers_has_its_model_in_place_before_it_starts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def no_workers(*_arguments: object) -> NoReturn:
        order.append("the workers")
        raise UserError("that is enough")

    async def model(*_arguments: object) -> str:
        order.append("the model")
        return "ws://127.0.0.1:1/v1/realtime"

    monkeypatch.setattr(module, "Workers", no_workers)
    monkeypatch.setattr(module, "_embedded_model", model)
    given = evolve(settings(tmp_path, workers=2), access=ModelAccess(base_url=None))
    with pytest.RaisesGroup(UserError):
        await module.run_workers(given, Wanted(), say=print, settled=lambda: order.append("settled"))
    assert order == ["the model", "settled", "the workers"]


# --- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Settings]:
    """The settings that the command started a server with."""
    seen: list[Settings] = []

    async def run(settings: Settings, _wanted: Wanted | None = None, *, say: object, settled: object) -> None:
        assert settled is leave_alone_what_is_there
        seen.append(settings)

    monkeypatch.setattr(module, "run_server", run)
    monkeypatch.setattr(module, "run_workers", run)
    monkeypatch.setattr(module, "set_up_logging", lambda *_, **__: None)
    monkeypatch.setattr(module, "raise_file_limit", lambda: None)
    monkeypatch.setattr("trio_voice.cli.NEW_OBJECTS", gc.get_threshold())  # this process is none of a server's
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "TRIO_VOICE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return seen


def test_every_flag_reaches_its_setting(started: list[Settings], tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text('[agent]\nname = "concierge"\n', encoding="utf-8")
    flags = [
        "--config", "t.toml", "--host", "::1", "--port", "1234", "--public-url", "https://v.example", "--calls", "c",
        "--model", "ws://m/v1", "--model-name", "m", "--log-format", "json", "--log-level", "error", "--set", "call.idle_s=3",
    ]  # fmt: skip
    result = CliRunner().invoke(main, ["serve", *flags])
    assert (result.exit_code, result.output) == (0, "Stopped.\n")
    (given,) = started
    server = given.server
    assert (server.host, server.port, server.public_url, server.calls_folder) == (
        "::1",
        1234,
        "https://v.example",
        tmp_path / "c",
    )
    assert (server.log_format.value, server.log_level.value) == ("json", "error")
    assert (given.access.base_url, given.model.name) == ("ws://m/v1", "m")
    assert (given.call.idle_s, given.agent.name) == (3.0, "concierge")
    assert {f"--{name.replace('_', '-')}" for name in FLAGS} <= {*flags, "--script", "--voice", "--workers"}


def test_several_workers_are_started_with_the_same_care(started: list[Settings]) -> None:
    result = CliRunner().invoke(main, ["serve", "--workers", "2"])
    assert (result.exit_code, result.output) == (0, "Stopped.\n")
    assert started[0].server.workers == 2


def test_the_embedded_models_flags_reach_their_settings(started: list[Settings]) -> None:
    result = CliRunner().invoke(main, ["serve", "--script", "s.toml", "--voice", "tones"])
    assert (result.exit_code, result.output) == (0, "Stopped.\n")
    assert (started[0].model.script, started[0].model.voice) == (Path("s.toml"), VoiceEngine.TONES)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--port", "70000"], "trio-voice: server.port = '70000' (--port): must be <= 65535\n"),
        (["--port", "http"], "trio-voice: server.port = 'http' (--port): must be a whole number\n"),
        (["--config", "x.toml"], "trio-voice: x.toml: there is no such file; give the path of a TOML file, or leave it out\n"),
        (["--set", "call.idle=1"], "trio-voice: --set: there is no setting call.idle; did you mean call.idle_s?\n"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(started: list[Settings], flags: list[str], says: str) -> None:
    result = CliRunner().invoke(main, ["serve", *flags])
    assert (result.exit_code, result.stderr) == (2, says)
    assert started == []


def test_r35_an_agent_in_python_is_served(started: list[Settings]) -> None:
    Path("my_agent.py").write_text("from trio_voice import Agent\nbilling = Agent(name='billing')\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["serve", "my_agent.py:billing", "--set", "call.idle_s=3"])
    assert (result.exit_code, result.output) == (0, "Stopped.\n")
    (given,) = started
    assert (given.agent.name, given.agent_file, given.call.idle_s) == ("billing", Path("my_agent.py"), 3.0)


def test_a_mistake_in_an_agents_file_is_the_users_and_exit_code_2(started: list[Settings]) -> None:
    Path("my_agent.py").write_text("from trio_voice import Agent\nagent = Agent(name='')\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["serve", "my_agent.py"])
    assert (result.exit_code, result.stderr) == (
        2,
        "trio-voice: my_agent.py, line 2: 'name' must be a text that is not empty: ''\n",
    )
    assert started == []


def test_a_ctrl_c_before_the_server_took_over_the_signals_is_a_clean_end(
    started: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(settings: Settings, **_: object) -> None:
        async with trio.open_nursery():
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_server", run)
    result = CliRunner().invoke(main, ["serve"])
    assert (result.exit_code, result.output) == (0, "Stopped.\n")


INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limits", "then"),
    [
        ((1024, 4096), (4096, 4096)),
        ((1024, 1_000_000), (65536, 1_000_000)),
        ((1024, INFINITE), (65536, INFINITE)),
        ((100_000, 1_000_000), None),
        ((INFINITE, INFINITE), None),
        ((64, 64), None),
    ],
)
def test_as_many_files_as_may_be_are_open(
    limits: tuple[int, int], then: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: made.append(limits))
    raise_file_limit()
    assert made == ([] if then is None else [then])


async def test_r41_the_service_manager_is_told(listener: NoOneConnects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        await banner(tmp_path)
        assert manager.recv(1000) == b"READY=1\nSTATUS=answers calls on http://127.0.0.1:4711"
        assert manager.recv(1000) == b"STOPPING=1\nSTATUS=saying goodbye"


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
async def test_frames_are_gathered_for_as_long_as_the_settings_say(
    listener: NoOneConnects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered_s: list[float] = []

    async def assembled(*arguments: Any) -> Assembly:
        poller = current_poller()
        assert poller is not None
        gathered_s.append(poller.gathered_s)
        return await assemble(*arguments)

    monkeypatch.setattr(module, "assemble", assembled)
    await banner(tmp_path)
    await banner(tmp_path, gather_ms=7.5)
    assert gathered_s == [0.004, 0.0075]


def test_the_garbage_collector_passes_over_what_is_there() -> None:
    try:
        leave_alone_what_is_there()
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
