"""What the phone asks a server over HTTP: is it well, and what is happening in a call (server-sent events). A small client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import h11
import trio
from attrs import define, field, frozen

from trio_voice.errors import RemoteProtocolError
from trio_voice.phone.connecting import open_stream

CONNECT_LIMIT_S = 5.0
ANSWER_LIMIT_S = 10.0
SILENCE_LIMIT_S = 60.0
"""A feed that says nothing for this long, not even that it is alive, is given up."""
_LINE_LIMIT_BYTES = 1024 * 1024
_OK = 200


class UnreachableError(RemoteProtocolError):
    """A server cannot be reached, does not speak HTTP, or broke off."""


@frozen
class Answer:
    """A whole HTTP response."""

    status: int
    body: bytes


async def get(url: str, path: str) -> Answer:
    """Fetch a page. Raises UnreachableError."""
    async with _request(url, path, {}) as response:
        body = b"".join([piece async for piece in response.pieces(ANSWER_LIMIT_S)])
        return Answer(response.status, body)


async def post(url: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
    """Post something. Raises UnreachableError."""
    async with _request(url, path, headers, body) as response:
        answer = b"".join([piece async for piece in response.pieces(ANSWER_LIMIT_S)])
        return Answer(response.status, answer)


@asynccontextmanager
async def call_events(url: str, token: str, call_sid: str) -> AsyncIterator[EventFeed]:
    """Follow a call: the lines of its journal as they are written. Raises UnreachableError, also when the server refuses."""
    async with _request(url, f"/calls/{call_sid}/events", {"Authorization": f"Bearer {token}"}) as response:
        if response.status != _OK:
            raise UnreachableError(f"{url} refuses the call's events: HTTP status {response.status}")
        yield EventFeed(response)


@define(eq=False)
class EventFeed:
    """A stream of server-sent events: iterate over `lines`. `lost` counts those that the server could not keep for us."""

    _response: _Response
    lost: int = field(default=0, init=False)

    async def lines(self) -> AsyncIterator[str]:
        """Yield each event's data until the server ends the feed. Raises UnreachableError when it breaks off."""
        waiting = b""
        async for piece in self._response.pieces(SILENCE_LIMIT_S):
            *events, waiting = (waiting + piece).replace(b"\r\n", b"\n").split(b"\n\n")
            for event in events:
                if line := self._data_of(event.decode("utf-8", "replace")):
                    yield line
            if len(waiting) > _LINE_LIMIT_BYTES:
                raise UnreachableError("an event of the feed is longer than a megabyte")

    def _data_of(self, event: str) -> str:
        fields = [line.partition(":")[::2] for line in event.split("\n")]
        data = "\n".join(value.removeprefix(" ") for name, value in fields if name == "data")
        if ("event", " lost") in fields:
            self.lost += int(json.loads(data)["lost"])
            return ""
        return data


@define(eq=False)
class _Response:
    status: int
    _stream: trio.abc.Stream
    _connection: h11.Connection

    async def pieces(self, silence_limit_s: float) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        while True:
            event = await _next_event(self._stream, self._connection, silence_limit_s)
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return


@asynccontextmanager
async def _request(url: str, path: str, headers: dict[str, str], body: bytes | None = None) -> AsyncIterator[_Response]:
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if tls else 80)
    async with await _connect(host, port, tls) as stream:
        connection = h11.Connection(h11.CLIENT)
        fields = {"Host": parts.netloc.rpartition("@")[2], "Accept": "*/*", "Connection": "close"} | headers
        if body is not None:
            fields["Content-Length"] = str(len(body))
        request = h11.Request(
            method="GET" if body is None else "POST", target=parts.path.rstrip("/") + path, headers=list(fields.items())
        )
        try:
            pieces = [connection.send(request), connection.send(h11.Data(body or b"")), connection.send(h11.EndOfMessage())]
            await stream.send_all(b"".join(piece or b"" for piece in pieces))
        except trio.BrokenResourceError:
            raise UnreachableError(f"{url} broke the connection") from None
        response = await _next_event(stream, connection, ANSWER_LIMIT_S)
        if not isinstance(response, h11.Response):
            raise UnreachableError(f"{url} did not answer as an HTTP server does")
        yield _Response(response.status_code, stream, connection)


async def _connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
    try:
        with trio.fail_after(CONNECT_LIMIT_S):
            return await open_stream(host, port, tls=tls)
    except trio.TooSlowError:
        raise UnreachableError(f"{host}:{port} cannot be reached within {CONNECT_LIMIT_S:g} s") from None
    except (OSError, trio.BrokenResourceError) as error:
        raise UnreachableError(f"{host}:{port} cannot be reached ({error})") from None


async def _next_event(stream: trio.abc.Stream, connection: h11.Connection, silence_limit_s: float) -> object:
    try:
        with trio.fail_after(silence_limit_s):
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some()))
            return event
    except trio.TooSlowError:
        raise UnreachableError(f"the server said nothing for {silence_limit_s:g} s") from None
    except (h11.RemoteProtocolError, trio.BrokenResourceError) as error:
        raise UnreachableError(f"the server broke off ({error})") from None
