"""The program as a process: started, asked, told to end."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_voice.audio.wav import write_wav_8khz
from trio_voice.server.websocket import ConnectFailed, SocketClosed, open_websocket

START_LIMIT_S = 30.0
END_LIMIT_S = 15.0


def environment() -> dict[str, str]:
    """This one, without what would change the program's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TRIO_VOICE_", "OPENAI_"))}


@asynccontextmanager
async def running(folder: Path, *flags: str, open_files: int | None = None) -> AsyncIterator[tuple[trio.Process, dict[str, Any]]]:
    """A server that is ready, and its run file. It is killed at the end of the block, if it is still there."""
    command = [sys.executable, "-m", "trio_voice", "serve", "--port", "0", "--calls", str(folder / "calls"), *flags]
    if open_files is not None:
        command = ["bash", "-c", f'ulimit -n {open_files}; exec "$@"', "bash", *command]
    with (folder / "out.txt").open("wb") as out, (folder / "err.txt").open("wb") as err:
        start = partial(trio.run_process, command, check=False, env=environment(), cwd=folder, stdout=out, stderr=err)
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(start)
            path = folder / "calls" / "server.json"
            with trio.fail_after(START_LIMIT_S):
                while not path.exists():
                    assert process.returncode is None, (folder / "err.txt").read_text("utf-8")
                    await trio.sleep(0.02)
            yield process, json.loads(path.read_text("utf-8"))
            nursery.cancel_scope.cancel()


async def ask(url: str, path: str) -> tuple[int, str]:
    """A GET request: status and body."""
    host, _, port = url.removeprefix("http://").partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = b""
        with trio.fail_after(10):
            while data := await stream.receive_some():
                answer += data
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


async def code_of(process: trio.Process) -> int:
    with trio.fail_after(END_LIMIT_S):
        return await process.wait()


async def test_the_program_starts_answers_and_ends_cleanly_at_a_signal(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, facts):
        run_file = tmp_path / "calls" / "server.json"
        assert stat.S_IMODE(run_file.stat().st_mode) == 0o600
        assert facts["pid"] == process.pid
        status, body = await ask(facts["url"], "/healthz")
        assert (status, json.loads(body)["status"]) == (200, "ok")
        assert (await ask(facts["url"], "/"))[0] == 200
        assert (await ask(facts["url"], "/media/twilio"))[0] == 426
        process.send_signal(signal.SIGTERM)
        assert await code_of(process) == 0
        assert not run_file.exists()
    said = (tmp_path / "out.txt").read_text("utf-8")
    assert f"{facts['url']}/healthz" in said
    assert f"ws{facts['url'].removeprefix('http')}/media/twilio" in said
    assert "\n  voice     " in said
    assert said.endswith("Stopped.\n")
    assert "Traceback" not in (tmp_path / "err.txt").read_text("utf-8")


async def test_ctrl_c_ends_the_program_with_a_stream_open_and_says_goodbye(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, facts):
        url = f"ws{facts['url'].removeprefix('http')}/media/twilio"
        async with open_websocket(url) as carrier:
            await carrier.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
            process.send_signal(signal.SIGINT)
            with trio.fail_after(END_LIMIT_S), pytest.raises(SocketClosed) as closed:
                await carrier.receive()
            assert closed.value.code == 1001
        assert await code_of(process) == 0
    assert (tmp_path / "out.txt").read_text("utf-8").endswith("Stopped.\n")
    assert "Traceback" not in (tmp_path / "err.txt").read_text("utf-8")


GREETING = ("--set", "agent.greeting=Say: Good morning.")


def silent_caller(folder: Path) -> list[str]:
    """The command of a caller who never says a word."""
    write_wav_8khz(folder / "silence.wav", bytes(20 * 16000))
    calls_folder = str(folder / "calls")
    return [sys.executable, "-m", "trio_voice", "call", "--calls-folder", calls_folder, "--wav", str(folder / "silence.wav")]


async def placed(folder: Path) -> tuple[trio.Process, Path]:
    """A caller of the program's own, and the file with what it prints; it is heard when this returns."""
    out, command = folder / "call.txt", silent_caller(folder)
    with out.open("wb") as file:
        caller = await trio.lowlevel.open_process(command, cwd=folder, env=environment(), stdout=file, stderr=subprocess.STDOUT)
    await written(out, "the agent is heard")
    return caller, out


async def written(file: Path, words: str) -> None:
    """Wait until another process has written this."""
    with trio.fail_after(START_LIMIT_S):
        while True:
            if words in await trio.Path(file).read_text("utf-8"):
                return
            await trio.sleep(0.02)


async def test_r41_the_first_signal_has_the_agent_say_goodbye(tmp_path: Path) -> None:
    async with running(tmp_path, *GREETING) as (process, _facts):
        caller, out = await placed(tmp_path)
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(END_LIMIT_S):
            await process.wait()
            await caller.wait()
    said = (tmp_path / "out.txt").read_text("utf-8")
    assert "No new calls. Saying goodbye in the call in progress, for up to 10 s; Ctrl-C again ends at once." in said
    shown = out.read_text("utf-8")
    assert "ask for a response: farewell" in shown
    assert "hang up: the server is ending" in shown
    assert "is not to be had" not in shown  # the feed came to its end
    assert (process.returncode, caller.returncode) == (0, 0)


async def test_r41_a_second_signal_ends_calls_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, *GREETING) as (process, _facts):
        caller, out = await placed(tmp_path)
        process.send_signal(signal.SIGINT)
        await written(tmp_path / "out.txt", "Ctrl-C again")
        process.send_signal(signal.SIGINT)
        with trio.fail_after(END_LIMIT_S):
            await process.wait()
            await caller.wait()
    shown = out.read_text("utf-8")
    assert "close: the server is ending" in shown
    assert "1001" in shown
    assert "is not to be had" not in shown  # the feed came to its end here too
    assert (process.returncode, caller.returncode) == (0, 1)


async def test_a_model_that_cannot_be_reached_is_told_at_the_start_and_by_readyz(tmp_path: Path) -> None:
    with socket.socket() as unused:  # bound and not listening: nobody else gets the port, and a connection is refused
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/v1"
        async with running(tmp_path, "--model", url, "--set", "call.first_session_limit_s=0.3") as (process, facts):
            await written(tmp_path / "err.txt", "cannot be reached")
            status, body = await ask(facts["url"], "/readyz")
            facts_told = json.loads(body)
            assert (status, facts_told["ready"]) == (503, False)
            assert facts_told["reason"] == f"cannot connect to {url}/realtime: connection refused"
            assert (await ask(facts["url"], "/healthz"))[0] == 200
            code, said = await called(tmp_path, "--hang-up-at", "1.5")
            assert code == 1
            assert said.splitlines()[-1] == f"FAILED: the caller heard an apology: {facts_told['reason']}"
            process.send_signal(signal.SIGINT)
            assert await code_of(process) == 0


async def called(folder: Path, *flags: str) -> tuple[int, str]:
    """A test call's exit code, and what it printed."""
    with trio.fail_after(START_LIMIT_S):
        done = await trio.run_process(
            [*silent_caller(folder), *flags], check=False, cwd=folder, env=environment(), capture_stdout=True
        )
    return done.returncode, done.stdout.decode()


def libraries(pid: int) -> set[str]:
    """The folders of the compiled libraries that a process has loaded."""
    maps = Path(f"/proc/{pid}/maps")
    if not maps.exists():
        pytest.skip("what a process has loaded is read from /proc")
    return {part for line in maps.read_text("utf-8").splitlines() if ".so" in line for part in Path(line.split()[-1]).parts}


async def test_neither_an_idle_server_nor_a_call_with_the_embedded_model_wants_numpy_or_sqlalchemy(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, _facts):
        idle = libraries(process.pid)
        code, said = await called(tmp_path, "--hang-up-at", "3")
        assert code == 0, said
        for loaded in (idle, libraries(process.pid)):
            assert "msgspec" in loaded
            assert loaded & {"numpy", "sqlalchemy", "onnxruntime"} == set()
        process.send_signal(signal.SIGINT)
        assert await code_of(process) == 0


async def test_a_server_without_free_descriptors_says_so_once_and_takes_connections_again(tmp_path: Path) -> None:
    async with running(tmp_path, open_files=64) as (process, facts):
        host, port = "127.0.0.1", int(facts["url"].rpartition(":")[2])
        async with trio.open_nursery() as nursery:
            for _ in range(100):  # the system takes them; the server cannot
                nursery.start_soon(hold, await trio.open_tcp_stream(host, port))
            await written(tmp_path / "err.txt", "no new connection can be taken (Too many open files)")
            nursery.cancel_scope.cancel()
        assert (await ask(facts["url"], "/healthz"))[0] == 200
        process.send_signal(signal.SIGINT)
        assert await code_of(process) == 0
    log = (tmp_path / "err.txt").read_text("utf-8")
    assert log.count("no new connection can be taken") == 1
    assert "Traceback" not in log


async def hold(stream: trio.SocketStream) -> None:
    async with stream:
        await trio.sleep_forever()


async def test_a_call_whose_reader_leaves_ends_quietly(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, _facts):
        command = f"{shlex.join(silent_caller(tmp_path))} | head -1"
        with trio.fail_after(START_LIMIT_S):
            done = await trio.run_process(
                ["bash", "-o", "pipefail", "-c", command], check=False, cwd=tmp_path, env=environment(), capture_stdout=True,
                capture_stderr=True,
            )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.count(b"\n") == 1
        process.send_signal(signal.SIGTERM)
        assert await code_of(process) == 0


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """The program, to its end: code, standard output, standard error."""
    command = [sys.executable, "-m", "trio_voice", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=folder, env=environment())
    return done.returncode, done.stdout, done.stderr


def test_a_busy_port_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = run(tmp_path, "serve", "--port", str(port))
    assert (code, out) == (2, "")
    assert err.startswith(f"trio-voice: port {port} on 127.0.0.1 is already in use, perhaps by another trio-voice; stop that")
    assert f"--port {port + 1}" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[server\n", "trio-voice: trio-voice.toml: not valid TOML: "),
        ("[server]\nprot = 1\n", "there is no setting server.prot; did you mean server.port?\n"),
        (
            '[model]\nurl = "wss://api.openai.com/v1"\n',
            "OpenAI needs a key: set OPENAI_API_KEY, or use the model.url 'embedded'\n",
        ),
    ],
)
def test_a_bad_file_or_a_missing_key_is_one_line_and_exit_code_2(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "trio-voice.toml").write_text(text, encoding="utf-8")
    code, out, err = run(tmp_path, "serve")
    assert (code, out) == (2, "")
    assert says in err.replace(f"{tmp_path}/", "")
    assert err.count("\n") == 1


def test_help_is_there_without_importing_what_makes_a_server(tmp_path: Path) -> None:
    program = (
        "import sys; from click.testing import CliRunner; from trio_voice.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print([name for name in ('trio', 'numpy', 'starlette', 'structlog', 'openai') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


# --- connecting over the real network ----------------------------------------------------------------------------------


async def test_a_port_where_nobody_listens_is_refused_in_plain_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectFailed) as failed:
        async with open_websocket(f"ws://127.0.0.1:{port}/v1"):
            pass
    assert str(failed.value) == f"cannot connect to ws://127.0.0.1:{port}/v1: connection refused"


async def test_a_listener_that_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        began = trio.current_time()
        with pytest.raises(ConnectFailed, match="no answer"):
            async with open_websocket(f"ws://127.0.0.1:{port}/", connect_timeout_s=0.2):
                pass
        assert trio.current_time() - began >= 0.2


async def test_a_wss_address_without_tls_is_told() -> None:
    async def speak_plain(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, speak_plain, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(ConnectFailed, match="no TLS there"):
            async with open_websocket(f"wss://127.0.0.1:{port}/"):
                pass
        nursery.cancel_scope.cancel()
