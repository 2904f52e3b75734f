from __future__ import annotations

import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
import structlog.testing
import trio
import trio.testing

from tests.realtime_server.peer import hosting
from tests.realtime_server.test_frames import client_frame
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.connection import LONGEST_SILENCE_S, Connection
from trio_voice.realtime_server.events import FallSilent
from trio_voice.realtime_server.faults import FaultyWire
from trio_voice.realtime_server.frames import Opcode
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.scripted_thinking import ScriptedThinking
from trio_voice.realtime_server.session import Session
from trio_voice.realtime_server.socket_set import serving
from trio_voice.realtime_server.voice import VoicePool, VoiceSettings
from trio_voice.realtime_server.web_socket import WebSocket

TALKATIVE = parse_script('[[rule]]\nsay = "' + "This goes on for a while. " * 20 + '"', "test")


async def test_a_ping_every_20_s(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        peer = await host.connect()
        started = trio.current_time()
        with trio.move_on_after(61):
            while True:
                await peer.receive()
        assert [at - started for at, _ in peer.pings] == [20.0, 40.0, 60.0]
        assert {len(payload) for _, payload in peer.pings} == {4}
        assert len(host.server.sessions) == 1


async def test_a_peer_without_pongs_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        peer = await host.connect()
        peer.answers_pings = False
        started = trio.current_time()
        while await peer.receive() is not None:
            pass
        assert peer.closed == (1006, None)  # no CLOSE: the stream ended
        assert trio.current_time() - started == 40.0


async def test_an_error_is_logged_with_its_session(autojump_clock: trio.testing.MockClock) -> None:
    with structlog.testing.capture_logs() as logged:
        async with hosting() as host:
            peer = await host.connect()
            session_id = (await peer.until("session.created"))["session"]["id"]
            await peer.send("response.cancel")
            await peer.until("error")
    (line,) = [each for each in logged if each["event"] == "error sent"]
    assert (line["code"], line["session"]) == ("response_cancel_not_active", session_id)


async def test_a_client_that_goes_away_stops_the_voice(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting(TALKATIVE) as host:
        peer = await host.connect()
        await peer.send("response.create")
        await peer.until("response.output_audio.delta")
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert host.server.sessions == {}


async def test_a_cancel_stops_the_voice_and_the_audio(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting(TALKATIVE) as host:
        peer = await host.connect()
        await peer.send("response.create")
        await peer.until("response.output_audio.delta")
        await peer.send("response.cancel")
        done = await peer.until("response.done")
        assert done["response"]["status"] == "cancelled"
        (connection,) = host.server.sessions.values()
        assert connection.speaking == 0


async def test_a_client_that_does_not_read_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting(TALKATIVE, outbox_limit_bytes=10_000) as host:
        client, server = trio.testing.lockstep_stream_pair()
        host.nursery.start_soon(host.server.handle, server)
        upgrade = (
            b"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await client.send_all(upgrade)
        assert (await client.receive_some(4096)).startswith(b"HTTP/1.1 101")
        await trio.testing.wait_all_tasks_blocked()
        (connection,) = host.server.sessions.values()
        connection.feed(connection.session.receive(json.dumps({"type": "response.create"}), trio.current_time()))
        await trio.sleep(10.0)
        assert host.server.sessions == {}


async def test_the_server_says_goodbye_when_it_stops(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery, hosting() as host:
        peer = await host.connect()
        await peer.until("session.created")
        nursery.start_soon(peer.receive)
        await trio.testing.wait_all_tasks_blocked()
    assert peer.closed == (1001, "the server is going away")


def refused(event_id: str) -> bytes:
    """A frame with an event that is answered by an error."""
    return client_frame(Opcode.TEXT, json.dumps({"type": "response.cancel", "event_id": event_id}).encode())


def error_ids(peer: socket.socket) -> list[str]:
    """The events that were refused, of all that has come."""
    unmasked = peer.recv(1 << 20, socket.MSG_DONTWAIT)
    found, at = [], 0
    while at < len(unmasked):
        length, at = unmasked[at + 1], at + 2
        if length == 126:
            length, at = int.from_bytes(unmasked[at : at + 2], "big"), at + 2
        event = json.loads(unmasked[at : at + length])
        at += length
        if event["type"] == "error":
            found.append(event["error"]["event_id"])
    return found


@asynccontextmanager
async def over_a_socket(first_bytes: bytes = b"") -> AsyncIterator[tuple[Connection, socket.socket, trio.Event]]:
    """A session over a real socket in a set, its peer, and what is set when it is over."""
    near, peer = socket.socketpair()
    near.setblocking(False)
    web_socket = WebSocket(trio.SocketStream(trio.socket.from_stdlib_socket(near)), 1 << 20, 1 << 20, first_bytes=first_bytes)
    behaviour, over = Behaviour(), trio.Event()
    session = Session("gpt-realtime-2.1", ScriptedThinking(TALKATIVE), behaviour, Random(1))
    with peer:
        async with VoicePool(VoiceSettings(engine="tones")) as voice, serving() as sockets, trio.open_nursery() as nursery:
            faults = FaultyWire(behaviour, trio.current_time(), Random(1))
            connection = Connection(session, faults, web_socket, voice, sockets=sockets)

            async def run() -> None:
                await connection.run(0.0)
                over.set()

            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            yield connection, peer, over
            nursery.cancel_scope.cancel()


only_with_epoll = pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")


@only_with_epoll
async def test_a_session_in_a_socket_set_takes_all_that_comes_and_ends_with_its_peer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with over_a_socket(first_bytes=refused("early")) as (connection, peer, over):
        assert error_ids(peer) == ["early"]
        peer.send(refused("one") + refused("two"))
        await trio.testing.wait_all_tasks_blocked()
        assert error_ids(peer) == ["one", "two"]
        began = trio.current_time()
        peer.close()
        await over.wait()
        assert connection.socket.ended == (1006, "the connection was lost")
        assert trio.current_time() == began


@only_with_epoll
@pytest.mark.parametrize(("says_something", "lasts_s"), [(True, LONGEST_SILENCE_S), (False, 0.0)])
async def test_a_silent_session_in_a_socket_set_reads_no_more_than_one_message(
    says_something: bool, lasts_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    async with over_a_socket() as (connection, peer, over):
        connection.act(FallSilent())
        began = trio.current_time()
        if says_something:
            peer.send(refused("one"))
            await trio.testing.wait_all_tasks_blocked()
        assert error_ids(peer) == []
        peer.close()
        await over.wait()
        assert trio.current_time() - began == lasts_s


@only_with_epoll
async def test_a_session_in_a_socket_set_says_goodbye_to_a_peer_that_closes(autojump_clock: trio.testing.MockClock) -> None:
    async with over_a_socket() as (connection, peer, over):
        error_ids(peer)
        peer.send(client_frame(Opcode.CLOSE, b"\x03\xe8"))
        await over.wait()
        assert connection.socket.ended == (1000, "")
        assert peer.recv(100) == b"\x88\x02\x03\xe8"
        assert peer.recv(100) == b""
