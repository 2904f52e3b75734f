from __future__ import annotations

import json

import structlog.testing
import trio
import trio.testing

from tests.realtime_server.peer import hosting
from trio_voice.realtime_server.script import parse_script

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
