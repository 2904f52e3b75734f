from __future__ import annotations

import json
from typing import Any

import trio.testing

from tests.realtime_server.peer import Host, Peer, hosting


async def call(
    host: Host, method: str, path: str, body: Any = None, key: str | None = None, kind: str = "application/json"
) -> tuple[int, Any]:
    content = b"" if body is None else json.dumps(body).encode() if not isinstance(body, bytes) else body
    head = f"{method} /control/{path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
    if key is not None:
        head += f"Authorization: Bearer {key}\r\n"
    return await host.ask(head.encode() + b"\r\n" + content)


async def session_of(host: Host) -> tuple[Peer, str]:
    peer = await host.connect()
    return peer, (await peer.until("session.created"))["session"]["id"]


async def test_switches_of_sessions_to_come(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        status, switches = await call(host, "GET", "switches")
        assert (status, switches["stragglers"]) == (200, 0)
        status, switches = await call(host, "PATCH", "switches", {"stragglers": 2, "close_after_s": 5})
        assert (status, switches["stragglers"]) == (200, 2)
        status, problem = await call(host, "PATCH", "switches", {"straggler": 2})
        assert status == 400
        assert "straggler" in problem["error"]
        peer, _ = await session_of(host)
        started = trio.current_time()
        while await peer.receive() is not None:
            pass
        assert trio.current_time() - started == 5.0
        assert peer.closed == (1011, "server_error")


async def test_switches_of_a_running_session(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        peer, session_id = await session_of(host)
        assert [each["id"] for each in (await call(host, "GET", "sessions"))[1]] == [session_id]
        status, described = await call(host, "PATCH", f"sessions/{session_id}/switches", {"refuse_creates": 1})
        assert (status, described["switches"]["refuse_creates"]) == (200, 1)
        await peer.send("response.create")
        assert (await peer.until("error"))["error"]["code"] == "conversation_already_has_active_response"
        await call(host, "PATCH", f"sessions/{session_id}/switches", {"close_after_s": 3, "close_code": 1001})
        assert await peer.receive() is None
        assert peer.closed == (1001, "going away")
        assert trio.current_time() == 3.0


async def test_acts_on_a_running_session(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        peer, session_id = await session_of(host)
        await call(host, "POST", f"sessions/{session_id}/event", {"type": "novelty", "n": 1})
        event = await peer.receive()
        assert event is not None
        assert (event["type"], event["n"]) == ("novelty", 1)
        await call(host, "POST", f"sessions/{session_id}/close", {"code": 1013})
        assert (await peer.until("error"))["error"]["code"] == "insufficient_quota"
        assert await peer.receive() is None
        assert peer.closed == (1013, "insufficient_quota.insufficient_quota")

        peer, session_id = await session_of(host)
        await call(host, "POST", f"sessions/{session_id}/close", {"code": 1006})
        assert await peer.receive() is None
        assert peer.closed == (1006, None)

        peer, session_id = await session_of(host)
        await call(host, "POST", f"sessions/{session_id}/reset")
        assert await peer.receive() is None


async def test_a_silent_session_neither_answers_nor_closes(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        peer, session_id = await session_of(host)
        await call(host, "POST", f"sessions/{session_id}/silence")
        await peer.send("response.create")
        with trio.move_on_after(120) as scope:
            await peer.receive()
        assert scope.cancelled_caught
        assert peer.pings == []
        assert len(host.server.sessions) == 1


async def test_what_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        _, session_id = await session_of(host)
        assert (await call(host, "PATCH", "switches", {"stragglers": 1}, kind="text/plain"))[0] == 415
        assert (await call(host, "PATCH", "switches", b"{"))[0] == 400
        assert (await call(host, "PATCH", "switches", [1]))[0] == 400
        assert (await call(host, "GET", "other"))[0] == 404
        assert (await call(host, "POST", "sessions/sess_none/reset"))[0] == 404
        assert (await call(host, "POST", f"sessions/{session_id}/dance"))[0] == 404
        assert (await call(host, "POST", f"sessions/{session_id}/close", {"code": "x"}))[0] == 400
    async with hosting(api_key="sk-1") as host:
        assert (await call(host, "GET", "switches"))[0] == 401
        assert (await call(host, "GET", "switches", key="sk-2"))[0] == 401
        assert (await call(host, "GET", "switches", key="sk-1"))[0] == 200
    async with hosting(control=False) as host:
        assert (await call(host, "GET", "switches"))[0] == 404
