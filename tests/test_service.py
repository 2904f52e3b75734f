"""What the service manager is told, over a real socket."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from trio_voice.service import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket that datagrams come to, and its name as NOTIFY_SOCKET has it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@trio-voice-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        receiver.setblocking(False)
        yield receiver, name


def test_r41_it_is_told_when_calls_are_answered_and_that_the_end_has_begun(manager: tuple[socket.socket, str]) -> None:
    receiver, name = manager
    told = ServiceManager.found({"NOTIFY_SOCKET": name})
    told.ready("on port 8080")
    told.ending()
    assert receiver.recv(1000) == b"READY=1\nSTATUS=on port 8080"
    assert receiver.recv(1000) == b"STOPPING=1\nSTATUS=saying goodbye"


async def test_signs_of_life_come_twice_in_the_time_that_is_waited(
    manager: tuple[socket.socket, str], autojump_clock: trio.testing.MockClock
) -> None:
    receiver, name = manager
    told = ServiceManager.found({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "7"}, pid=7)
    with trio.move_on_after(10.5):
        await told.keep_alive()
    assert [receiver.recv(1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    with pytest.raises(BlockingIOError):
        receiver.recv(1000)


@pytest.mark.parametrize(
    ("environ", "address", "watchdog_s"),
    [
        ({}, None, None),
        ({"NOTIFY_SOCKET": ""}, None, None),
        ({"NOTIFY_SOCKET": "tcp://x"}, None, None),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"}, "/run/x", None),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, "/run/x", None),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "8"}, "/run/x", None),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "5000000"}, "/run/x", 5.0),
    ],
)
def test_what_the_environment_says(environ: dict[str, str], address: str | None, watchdog_s: float | None) -> None:
    found = ServiceManager.found(environ, pid=7)
    assert (found.address, found.watchdog_s) == (address, watchdog_s)


async def test_without_a_service_manager_nothing_happens(autojump_clock: trio.testing.MockClock) -> None:
    nobody = ServiceManager()
    nobody.ready("")
    nobody.ending()
    await nobody.keep_alive()
    assert trio.current_time() == 0.0


def test_one_that_cannot_be_told_is_logged_once(tmp_path: Path) -> None:
    told = ServiceManager(str(tmp_path / "nobody"))
    with structlog.testing.capture_logs() as logs:
        told.ready("")
        told.ending()
    assert [line["reason"] for line in logs] == ["No such file or directory"]
