from __future__ import annotations

import json

import pytest
import structlog.testing
import trio
import trio.testing

from tests.realtime_server.peer import KEY, TARGET, Host, hosting
from tests.realtime_server.wire import ONE_SENTENCE
from trio_voice.errors import UserError
from trio_voice.realtime_server.server import ModelServerSettings, serve_model, url_of

GET = "GET {} HTTP/1.1\r\nHost: model\r\n\r\n"


async def test_a_session_over_real_framing(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        peer = await host.connect()
        created = await peer.receive()
        assert created is not None
        assert created["type"] == "session.created"
        await peer.send("response.create", response={"metadata": {"request": "7"}})
        assert (await peer.until("response.created"))["response"]["metadata"] == {"request": "7"}
        done = await peer.until("response.done")
        assert done["response"]["metadata"] == {"request": "7"}
        assert done["response"]["status"] == "completed"
        assert len(host.server.sessions) == 1
        await peer.close(1000, "bye")
        assert await peer.receive() is None
        assert peer.closed == (1000, "bye")  # 1000 is echoed as 1000
        await trio.testing.wait_all_tasks_blocked()
        assert host.server.sessions == {}


async def test_the_connection_is_refused_after_the_upgrade(autojump_clock: trio.testing.MockClock) -> None:
    cases = [
        (TARGET, [(b"Authorization", b"Bearer sk-wrong")], "invalid_api_key", 3000, "invalid_request_error.invalid_api_key"),
        (TARGET, [], None, 3000, "invalid_request_error"),
        ("/v1/realtime?model=gpt-4", [KEY], "invalid_model", 4000, "invalid_request_error.invalid_model"),
        ("/v1/realtime", [KEY], "missing_model", 4000, "invalid_request_error.missing_model"),
        (
            TARGET,
            [KEY, (b"OpenAI-Beta", b"realtime=v1")],
            "beta_api_shape_disabled",
            4000,
            "invalid_request_error.beta_api_shape_disabled",
        ),
    ]
    async with hosting(api_key="sk-test") as host:
        for target, headers, code, close_code, reason in cases:
            peer = host.dial()
            assert await peer.open(target, headers)
            event = await peer.receive()
            assert event is not None
            assert (event["type"], event["error"]["code"]) == ("error", code)
            assert await peer.receive() is None
            assert peer.closed == (close_code, reason)


async def test_a_browser_gives_its_key_as_a_subprotocol(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting(api_key="sk-test") as host:
        peer = host.dial()
        assert await peer.open(TARGET, [], ["realtime", "openai-insecure-api-key.sk-test"])
        assert peer.protocol == "realtime"
        assert (await peer.until("session.created"))["session"]["model"] == "gpt-realtime-2.1"


async def test_upgrades_can_fail(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        host.server.switches = host.server.switches.changed({"refuse_upgrades": 1}, "test")
        peer = host.dial()
        assert not await peer.open()
        assert peer.rejected == 500
        assert await host.dial().open()
        peer = host.dial()
        assert not await peer.open("/v1/realtime?call_id=rtc_1")
        assert peer.rejected == 404


async def test_no_quota(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        host.server.switches = host.server.switches.changed({"no_quota": True}, "test")
        peer = await host.connect()
        event = await peer.receive()
        assert event is not None
        assert event["error"]["code"] == "insufficient_quota"
        assert await peer.receive() is None
        assert peer.closed == (1013, "insufficient_quota.insufficient_quota")


async def test_sessions_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting(most_sessions=1) as host:
        peer = await host.connect()
        await peer.receive()
        second = host.dial()
        assert not await second.open()
        assert second.rejected == 503


async def test_what_is_no_session_gets_a_plain_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        await (await host.connect()).receive()
        assert await host.ask(GET.format("/healthz").encode()) == (200, {"status": "ok", "sessions": 1, "served": 1})
        assert (await host.ask(GET.format("/v1/realtime").encode()))[0] == 426
        assert (await host.ask(GET.format("/").encode()))[0] == 404
        assert (await host.ask(b"\x16\x03\x01 hello\r\n\r\n"))[0] == 400


async def test_garbage_ends_its_own_session_only(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        good, bad = await host.connect(), await host.connect()
        await bad.until("session.created")
        await bad.stream.send_all(b"\xff\xff\xff garbage, no frame")
        assert await bad.receive() is None
        assert bad.closed is not None
        assert bad.closed[0] == 1002
        await good.until("session.created")
        await good.send("response.create")
        assert (await good.until("response.done"))["response"]["status"] == "completed"


async def test_who_talks_garbage_and_does_not_wait_for_the_answer_ends_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        client, server = trio.testing.memory_stream_pair()
        await client.send_all(b"\x16\x03\x01 hello\r\n\r\n")
        await client.aclose()
        host.nursery.start_soon(host.server.handle, server)
        await trio.testing.wait_all_tasks_blocked()
        assert (await host.ask(GET.format("/healthz").encode()))[0] == 200


async def test_a_bug_in_one_session_does_not_end_the_others(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with structlog.testing.capture_logs() as logged:
        async with hosting() as host:
            await _break_one_of_two(host, monkeypatch)
    assert [each["event"] for each in logged if each["log_level"] == "error"] == ["a connection failed"]


async def _break_one_of_two(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = await host.connect(), await host.connect()
    await bad.until("session.created")
    (_, connection) = host.server.sessions.values()

    def broken(message: str | bytes, now: float) -> None:
        raise ZeroDivisionError(message)

    monkeypatch.setattr(type(connection.session), "receive", lambda *arguments: broken(*arguments[1:]))
    await bad.send("response.create")
    assert await bad.receive() is None
    monkeypatch.undo()
    await good.until("session.created")
    await good.send("response.create")
    await good.until("response.done")


async def test_a_transcription_session_hears_and_never_answers(autojump_clock: trio.testing.MockClock) -> None:
    async with hosting() as host:
        peer = host.dial()
        assert await peer.open("/v1/realtime?intent=transcription")
        session = (await peer.until("session.created"))["session"]
        assert (session["type"], session["object"]) == ("transcription", "realtime.transcription_session")
        assert "output" not in session["audio"]
        await peer.send("response.create")
        assert (await peer.until("error"))["error"]["code"] == "invalid_parameter"


async def test_a_busy_port_is_one_clear_sentence() -> None:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve_model, ModelServerSettings(script=ONE_SENTENCE, cheap=True))
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1 port {port}"):
            await serve_model(ModelServerSettings(script=ONE_SENTENCE, port=port))
        nursery.cancel_scope.cancel()


def test_the_url_is_one_that_a_client_can_use() -> None:
    assert url_of("0.0.0.0", 9000) == "ws://127.0.0.1:9000/v1/realtime"
    assert url_of("::1", 9000) == "ws://[::1]:9000/v1/realtime"
    assert json.dumps(url_of("model.example", 1)) == '"ws://model.example:1/v1/realtime"'
