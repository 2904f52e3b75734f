"""Real workers: a server of two processes."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import httpx2
import psutil
import trio

from tests.end_to_end.test_program import ask, running
from tests.test_public_names import imported_with
from trio_voice.server.websocket import SocketClosed, open_websocket

CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'


def test_a_worker_imports_no_more_than_a_server_that_is_alone() -> None:
    names = imported_with("import trio_voice.worker")
    assert names - imported_with("from trio_voice.cli import main\nmain.get_command(None, 'serve')") == {"trio_voice.worker"}


def start(number: int) -> str:
    media_format = '{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}'
    ids = f'"streamSid":"MZ{number:032x}"'
    call = f'{{"accountSid":"AC","callSid":"CA{number:032x}",{ids},"tracks":["inbound"],"mediaFormat":{media_format}}}'
    return f'{{"event":"start","sequenceNumber":"1",{ids},"start":{call}}}'


async def is_answered(url: str, number: int) -> bool:
    """Call; whether the agent is heard."""
    async with open_websocket(f"ws{url.removeprefix('http')}/media/twilio") as socket:
        await socket.send(CONNECTED)
        await socket.send(start(number))
        with trio.move_on_after(20):
            try:
                while '"media"' not in str(await socket.receive()):
                    pass
            except SocketClosed:
                return False
            return True
    return False


def is_worker(process: psutil.Process) -> bool:
    try:
        return "trio_voice.worker" in " ".join(process.cmdline())
    except psutil.Error:  # it has ended
        return False


def workers_of(process: trio.Process) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if is_worker(child)]


async def until_there_are(number: int, process: trio.Process, but: set[int]) -> list[psutil.Process]:
    with trio.fail_after(30):
        while len(found := [child for child in workers_of(process) if child.pid not in but]) < number:  # noqa: ASYNC110 - another process does it
            await trio.sleep(0.05)
    return found


async def test_two_workers_answer_on_one_port_one_that_dies_is_replaced_and_all_end_together(tmp_path: Path) -> None:
    async with running(tmp_path, "--workers", "2") as (process, facts):
        assert facts["pid"] == process.pid
        first = await until_there_are(2, process, but=set())
        async with trio.open_nursery() as nursery:
            answered: list[bool] = []

            async def call(number: int) -> None:
                answered.append(await is_answered(facts["url"], number))

            for number in range(6):
                nursery.start_soon(call, number)
        assert answered == [True] * 6
        os.kill(first[0].pid, signal.SIGKILL)
        (another,) = await until_there_are(1, process, but={child.pid for child in first})
        with trio.fail_after(30):
            while len(another.net_connections(kind="tcp")) == 0:  # noqa: ASYNC110 - until it listens
                await trio.sleep(0.05)
        assert (await ask(facts["url"], "/healthz"))[0] == 200
        alive = workers_of(process)
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(30):
            assert await process.wait() == 0
        assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in alive)
        told = (tmp_path / "out.txt").read_text("utf-8")
        assert "2 processes" in told
        assert told.count("is ready for calls") == 1
        assert told.endswith("Stopped.\n")
        assert not (tmp_path / "calls" / "server.json").exists()


async def test_r45_the_calls_of_all_workers_are_seen_and_ended_through_any(tmp_path: Path) -> None:
    """Each request is a connection of its own, which the kernel gives to one worker or the other."""
    async with running(tmp_path, "--workers", "2", "--set", "agent.greeting=Say: Hi.") as (process, facts):
        headers = {"Authorization": f"Bearer {facts['token']}"}
        async with (
            httpx2.AsyncClient(base_url=facts["url"], headers=headers, timeout=10, trust_env=False) as client,
            trio.open_nursery() as nursery,
        ):
            for number in range(6):
                nursery.start_soon(is_answered_to_its_end, facts["url"], number)
            sids = {f"CA{number:032x}" for number in range(6)}
            with trio.fail_after(20):
                while await seen(client) != (sids, []):  # noqa: ASYNC110 - until all have begun
                    await trio.sleep(0.1)
            for _ in range(6):
                assert await seen(client) == (sids, [])
            for sid in sids:
                assert (await client.get(f"/api/v1/calls/{sid}")).json()["call_sid"] == sid
                assert (await client.post(f"/api/v1/calls/{sid}/hang-up", json={"reason": "enough"})).status_code == 202
            with trio.fail_after(30):  # the callers echo no marks: the fallback hangs up
                while (await seen(client))[0]:  # noqa: ASYNC110 - until all have ended
                    await trio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(30):
            assert await process.wait() == 0
    assert "Traceback" not in (tmp_path / "err.txt").read_text("utf-8")


async def is_answered_to_its_end(url: str, number: int) -> None:
    async with open_websocket(f"ws{url.removeprefix('http')}/media/twilio") as socket:
        await socket.send(CONNECTED)
        await socket.send(start(number))
        with suppress(SocketClosed):
            while True:
                await socket.receive()


async def seen(client: httpx2.AsyncClient) -> tuple[set[str], list[int]]:
    """The carrier's ids of all calls, and who did not answer."""
    listed = (await client.get("/api/v1/calls")).json()
    return {call["call_sid"] for call in listed["calls"]}, listed["silent_workers"]


async def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    async with running(tmp_path, "--workers", "2") as (process, _):
        alive = await until_there_are(2, process, but=set())
        process.kill()
        with trio.fail_after(30):
            while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in alive):  # noqa: ASYNC110 - they do it by themselves
                await trio.sleep(0.05)
