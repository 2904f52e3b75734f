"""What a WebSocket URL means, and what a failed connection says. Real listeners are in tests/end_to_end."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import NoReturn

import pytest
import trio
import trio.testing
from attrs import define

from tests.server.rig import no_threads
from trio_voice.server.dial import ConnectFailed, Target, dial


@pytest.mark.parametrize(
    ("url", "target", "authority", "shown"),
    [
        (
            "wss://api.example.com/v1/realtime?model=m",
            Target(True, "api.example.com", 443, "/v1/realtime?model=m"),
            "api.example.com",
            "wss://api.example.com/v1/realtime",
        ),
        ("ws://127.0.0.1:8081", Target(False, "127.0.0.1", 8081, "/"), "127.0.0.1:8081", "ws://127.0.0.1:8081/"),
        ("ws://[::1]:80/x", Target(False, "::1", 80, "/x"), "[::1]", "ws://[::1]/x"),
        ("wss://user:secret@host:80/?api-key=secret", Target(True, "host", 80, "/?api-key=secret"), "host:80", "wss://host:80/"),
    ],
)
def test_a_url_is_taken_apart_and_shown_without_its_secrets(url: str, target: Target, authority: str, shown: str) -> None:
    assert Target.of(url) == target
    assert target.authority == authority
    assert str(target) == shown


@pytest.mark.parametrize(
    "url", ["https://example.com", "example.com", "ws://", "ws://host:port/", "ws://[::1/", "ws://host:70000/"]
)
def test_what_is_no_websocket_url_is_refused_with_the_url(url: str) -> None:
    with pytest.raises(ConnectFailed) as failed:
        Target.of(url)
    assert repr(url) in str(failed.value)


@define
class NoNames(trio.abc.HostnameResolver):
    """A resolver that knows no name."""

    async def getaddrinfo(self, *args: object, **kwargs: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, *args: object, **kwargs: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_a_host_that_cannot_be_resolved_is_named() -> None:
    trio.socket.set_custom_hostname_resolver(NoNames())
    with pytest.raises(ConnectFailed) as failed:
        await dial(Target.of("wss://no.such.host/v1?key=secret"), None)
    assert str(failed.value) == "cannot connect to wss://no.such.host/v1: the host name 'no.such.host' cannot be resolved"


@define
class Unreachable(trio.abc.SocketFactory):
    """A network on which every connection fails with the next of `errors`."""

    errors: list[OSError]

    def socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM, proto: int = 0) -> NoReturn:  # noqa: A002 - Trio's name
        raise self.errors.pop(0)


async def test_a_name_that_no_thread_is_there_to_resolve_is_a_failed_connection() -> None:
    with no_threads(), pytest.raises(ConnectFailed, match=r"example\.com.*: the system gives this process no more threads"):
        await dial(Target.of("wss://example.com/"), None)


async def test_a_refused_connection_says_so_in_plain_words() -> None:
    trio.socket.set_custom_socket_factory(Unreachable([ConnectionRefusedError(errno.ECONNREFUSED, "some words")]))
    with pytest.raises(ConnectFailed) as failed:
        await dial(Target.of("ws://192.0.2.1:9/"), None)
    assert str(failed.value) == "cannot connect to ws://192.0.2.1:9/: connection refused"


async def test_a_server_without_tls_and_one_that_hangs_up_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer, says in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no TLS there"),
        (b"", "the server ended the connection during the TLS handshake"),
    ]:
        near, far = trio.testing.memory_stream_pair()

        async def connect(host: str, port: int, near: trio.abc.Stream = near) -> trio.abc.Stream:
            return near

        monkeypatch.setattr(trio, "open_tcp_stream", connect)
        await far.send_all(answer) if answer else await far.aclose()
        with pytest.raises(ConnectFailed, match=says):
            await dial(Target.of("wss://example.com/"), ssl.create_default_context())
