"""The phone's HTTP: answers and feeds as bytes on a memory stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from trio_voice.phone.feed import UnreachableError, call_events, get

Speak = Callable[[trio.abc.Stream], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> Callable[[Speak], list[bytes]]:
    """Whoever connects is answered by a script; the list gets what was asked."""

    def answering(speak: Speak) -> list[bytes]:
        asked: list[bytes] = []

        async def connect(host: str, port: int) -> trio.abc.Stream:
            assert (host, port) == ("phone.example", 8080)
            ours, theirs = memory_stream_pair()

            async def serve() -> None:
                asked.append(bytes(await theirs.receive_some()))
                await speak(theirs)

            nursery.start_soon(serve)
            return ours

        monkeypatch.setattr(trio, "open_tcp_stream", connect)
        return asked

    return answering


async def events(token: str = "t0k") -> list[str]:
    async with call_events("http://phone.example:8080", token, "CA1") as feed:
        lines = [line async for line in feed.lines()]
        return [*lines, *(["lost"] * feed.lost)]


async def test_a_page_is_fetched(server: Callable[[Speak], list[bytes]]) -> None:
    async def healthy(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwell\n")

    asked = server(healthy)
    answer = await get("http://phone.example:8080", "/healthz")
    assert (answer.status, answer.body) == (200, b"well\n")
    assert asked[0].startswith(b"GET /healthz HTTP/1.1\r\nHost: phone.example:8080\r\n")


async def test_a_feed_yields_its_lines_however_they_are_cut(server: Callable[[Speak], list[bytes]]) -> None:
    body = b'data: {"journal":1}\n\n: alive\n\ndata: {"t":0.1}\r\n\r\nevent: lost\ndata: {"lost":2}\n\ndata: a\ndata: b\n\n'

    async def in_pieces(stream: trio.abc.Stream) -> None:
        await stream.send_all(HEAD)
        for begin in range(0, len(body), 7):
            await stream.send_all(chunk(body[begin : begin + 7]))
        await stream.send_all(b"0\r\n\r\n")

    asked = server(in_pieces)
    assert await events() == ['{"journal":1}', '{"t":0.1}', "a\nb", "lost", "lost"]
    assert b"GET /calls/CA1/events HTTP/1.1" in asked[0]
    assert b"Authorization: Bearer t0k" in asked[0]


async def test_a_refused_feed_is_said_so(server: Callable[[Speak], list[bytes]]) -> None:
    async def refuse(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    server(refuse)
    with pytest.raises(UnreachableError, match="refuses the call's events: HTTP status 401"):
        await events()


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"", HEAD + b"5\r\nda"])
async def test_a_server_that_breaks_off_or_speaks_no_http(server: Callable[[Speak], list[bytes]], answer: bytes) -> None:
    async def break_off(stream: Any) -> None:
        await stream.send_all(answer)
        await stream.aclose()

    server(break_off)
    with pytest.raises(UnreachableError, match="the server broke off"):
        await events()


async def test_a_feed_that_says_nothing_for_a_minute_is_given_up(
    server: Callable[[Speak], list[bytes]], autojump_clock: MockClock
) -> None:
    async def silent(stream: trio.abc.Stream) -> None:
        await stream.send_all(HEAD + chunk(b": alive\n\n"))

    server(silent)
    with pytest.raises(UnreachableError, match="nothing for 60 s"):
        await events()
    assert trio.current_time() == 60


async def test_a_page_that_does_not_come_is_given_up_sooner(
    server: Callable[[Speak], list[bytes]], autojump_clock: MockClock
) -> None:
    async def silent(stream: trio.abc.Stream) -> None:
        """Say nothing."""

    server(silent)
    with pytest.raises(UnreachableError, match="nothing for 10 s"):
        await get("http://phone.example:8080", "/healthz")


async def test_nobody_there(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    async def refuse(host: str, port: int) -> trio.abc.Stream:
        raise OSError("connection refused")

    monkeypatch.setattr(trio, "open_tcp_stream", refuse)
    with pytest.raises(UnreachableError, match=r"phone\.example:8080 cannot be reached \(connection refused\)"):
        await get("http://phone.example:8080", "/healthz")

    async def wait(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(trio, "open_tcp_stream", wait)
    with pytest.raises(UnreachableError, match="cannot be reached within 5 s"):
        await get("http://phone.example:8080", "/healthz")
