"""However a peer's frames are cut into reads, a connection's shortest way takes them as its decoder alone, and sends the same."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_voice.server.allowance import FRAME_COST, READ_COST, Allowance
from trio_voice.server.connection import Connection
from trio_voice.server.frames import FrameDecoder, FrameEncoder, Received
from trio_voice.server.message_socket import Sent
from trio_voice.server.poller import Want
from trio_voice.server.wire import wire_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there a socket is no file: nothing is read without waiting")
LIMIT_BYTES = 400
FRAMES_AT_ONCE = 3
KEY = b"\x05\x80\xff\x00"


@define(eq=False)
class BusyDecoder(FrameDecoder):
    """Never idle: all that is read goes through it."""

    def __attrs_post_init__(self) -> None:
        self.is_idle = False

    def decode(self, data: bytes | bytearray) -> list[Received]:
        received = FrameDecoder.decode(self, data)
        self.is_idle = False
        return received


@define(eq=False)
class LongestWay(Connection):
    """All that is sent goes through the encoder."""

    def send_now(self, message: str | bytes) -> Sent:
        if self._rest:
            return Sent.NOTHING
        frame = self._encoder.message(message)
        try:
            sent = self._wire.send_now(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return Sent.NOTHING
        self._rest = frame[sent:] if sent else b""
        return Sent.PART if self._rest else Sent.ALL if sent else Sent.NOTHING


def frame(first: int, payload: bytes, *, masked: bool) -> bytes:
    size = len(payload)
    bit = 0x80 if masked else 0
    head = bytes([first, bit | size]) if size < 126 else bytes([first, bit | 126]) + size.to_bytes(2, "big")
    if not masked:
        return head + payload
    return head + KEY + bytes(byte ^ KEY[place % 4] for place, byte in enumerate(payload))


SIZES = st.sampled_from([0, 1, 125, 126, 127, 200, LIMIT_BYTES - 1, LIMIT_BYTES, LIMIT_BYTES + 1])
PAYLOADS = st.one_of(
    st.builds(lambda size: b"x" * size, SIZES),
    st.builds(lambda size: "é".encode() * (size // 2), SIZES),
    st.builds(lambda size: b"\xff" * size, SIZES),
)
LONG_TEXTS = st.builds(lambda size: (0x81, b"y" * size), st.sampled_from([126, 160, LIMIT_BYTES]))
CONTROL = st.tuples(st.sampled_from([0x89, 0x8A]), st.binary(max_size=4))
FRAMES = st.one_of(
    LONG_TEXTS,
    LONG_TEXTS,
    CONTROL,
    st.tuples(st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80]), PAYLOADS),
    st.tuples(st.just(0x88), st.sampled_from([b"", b"\x03\xe8", b"\x03\xe9bye", b"\x03"])),
    st.tuples(st.integers(0, 255), PAYLOADS),
)


@st.composite
def reads(draw: st.DrawFn, *, masked: bool) -> list[bytes]:
    """Frames as a peer sends them, cut as a network may cut them: mostly where one ends."""
    whole, places = b"", [0]
    for first, payload in draw(st.lists(FRAMES, max_size=10)):
        whole += frame(first, payload, masked=masked is not (draw(st.integers(0, 30)) == 0))
        if draw(st.integers(0, 3)):
            places.append(len(whole))
        else:
            places += draw(st.lists(st.integers(0, len(whole)), max_size=2))
    places = sorted({*places, len(whole)})
    return [whole[begin:end] for begin, end in pairwise(places)]


@asynccontextmanager
async def connected(
    kind: type[Connection], allowance: Allowance | None = None, *, masked: bool
) -> AsyncIterator[tuple[Connection, socket.socket]]:
    """A connection, and its peer, which does not wait."""
    ours, peer = socket.socketpair()
    peer.setblocking(False)
    with peer:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
            decoder = (BusyDecoder if kind is LongestWay else FrameDecoder)(masked, LIMIT_BYTES, FRAMES_AT_ONCE)
            yield kind(wire_of(stream), decoder, FrameEncoder(not masked), "peer", allowance), peer


async def live(kind: type[Connection], sent: list[bytes], put_back: bytes, *, masked: bool, hangs_up: bool) -> list[object]:
    """Receive as `hand_over` does, with a clock that stands still while nothing is held back; return all that is seen of it."""
    seen: list[object] = []
    now = 0.0
    allowance = Allowance(a_second=100.0, at_once=5.5 * (READ_COST + FRAME_COST + LIMIT_BYTES))  # some frames use it up
    async with connected(kind, allowance, masked=masked) as (connection, peer):
        connection._time = lambda: now
        connection.heard_at = -1.0
        connection._encoder._keys = bytes(1024)
        connection._wire.unread(put_back)
        for number, data in enumerate([*sent, b""]):
            if data:
                peer.sendall(data)
            elif hangs_up:
                peer.shutdown(socket.SHUT_WR)
            while (want := connection._take_in(seen.append)) is not Want.MORE:
                seen.append(want)
                if want is Want.END:
                    await connection._respond_to_all()
                    if connection._resume_at and not connection._messages:
                        now = connection._resume_at + number  # later than it may go on, so that all is not over at the first time
                        connection._resume_at = 0.0
                if connection._state.name != "OPEN" and not connection._messages:
                    break
            closed = connection._closed_with
            seen += [connection._state.name, closed.code, closed.reason, connection.heard_at, now]
            seen += [allowance._left, allowance.is_used_up]
        try:
            seen.append(peer.recv(1 << 16))
        except BlockingIOError:
            seen.append("no answer")
    return seen


@pytest.mark.parametrize("masked", [True, False])
@given(data=st.data(), put_back=st.sampled_from([b"", b"\x81", b"whole"]), hangs_up=st.booleans())
@settings(max_examples=150)
def test_it_is_taken_in_alike(masked: bool, data: st.DataObject, put_back: bytes, hangs_up: bool) -> None:
    sent = data.draw(reads(masked=masked))
    if put_back == b"whole":
        put_back = frame(0x81, b"z" * 150, masked=masked)

    async def both() -> None:
        ways = [await live(kind, sent, put_back, masked=masked, hangs_up=hangs_up) for kind in (Connection, LongestWay)]
        assert ways[0] == ways[1]

    trio.run(both)


async def finish(connection: Connection, peer: socket.socket) -> bytes:
    """Flush, and return all that arrives meanwhile."""
    arrived = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.flush)
        while True:
            try:
                arrived += peer.recv(1 << 20)
            except BlockingIOError:
                if not nursery.child_tasks:
                    return arrived
            await trio.lowlevel.checkpoint()


@given(
    st.lists(
        st.one_of(
            st.builds(
                lambda letter, size: letter * size, st.sampled_from("xé"), st.sampled_from([0, 125, 126, 4080, 4090, 70_000])
            ),
            st.binary(max_size=3),
            st.just(None),
        ),
        max_size=12,
    ),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=100)
def test_it_is_sent_alike(messages: list[str | bytes | None], masked: bool, hangs_up: bool) -> None:
    """None: the peer reads, and what was begun is finished."""
    keys = os.urandom(1024)

    async def send(kind: type[Connection]) -> list[object]:
        seen: list[object] = []
        async with connected(kind, masked=not masked) as (connection, peer):
            connection._encoder._keys = keys
            for message in messages:
                if message is not None:
                    seen += [connection.send_now(message), connection._rest]
                    continue
                arrived = await finish(connection, peer)
                seen.append(arrived)
            if hangs_up:
                peer.close()
                seen += [connection.send_now("there?"), connection._rest]
        return seen

    async def both() -> None:
        assert await send(Connection) == await send(LongestWay)

    trio.run(both)
