"""Health, readiness and a call's live events, under Trio."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trio.testing
from starlette.types import ASGIApp

from tests.web.asgi_client import get, request
from trio_voice.server.directory import FEED_LINES, CallDirectory, LiveCall
from trio_voice.web.app import APPEAR_LIMIT_S, HEARTBEAT_S, Dependencies, create_app
from trio_voice.web.start_page import About

ABOUT = About(version="1.2.3", agent="receptionist", model="the embedded model", media_urls=("ws://127.0.0.1:8080/media/twilio",))
TOKEN = {"Authorization": "Bearer the-token"}


def app_with(directory: CallDirectory | None = None, draining: trio.Event | None = None, about: About = ABOUT) -> ASGIApp:
    return create_app(
        Dependencies(
            about=about,
            directory=CallDirectory() if directory is None else directory,
            token="the-token",
            draining=trio.Event() if draining is None else draining,
        )
    )


def live(call_sid: str = "CA1") -> LiveCall:
    return LiveCall("c1", call_sid, datetime(2026, 11, 21, tzinfo=UTC), Path("calls/c1"))


# --- health ------------------------------------------------------------------------------------------------------------


async def test_health_tells_version_uptime_and_calls(autojump_clock: trio.testing.MockClock) -> None:
    directory = CallDirectory()
    app = app_with(directory)
    await trio.sleep(12.5)
    with directory.registered(live()):
        answer = await get(app, "/healthz")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body) == {"status": "ok", "version": "1.2.3", "uptime_s": 12.5, "calls": 1}


async def test_readiness_ends_while_the_model_cannot_be_reached() -> None:
    problem: list[str | None] = ["connection refused", None]
    app = create_app(
        Dependencies(about=ABOUT, directory=CallDirectory(), token="t", draining=trio.Event(), problem=lambda: problem.pop(0))
    )
    ready = await get(app, "/readyz")
    assert (ready.status, json.loads(ready.body)) == (503, {"ready": False, "reason": "connection refused", "calls": 0})
    assert (await get(app, "/readyz")).status == 200


async def test_readiness_ends_when_the_server_drains_and_health_does_not() -> None:
    draining = trio.Event()
    app = app_with(draining=draining)
    ready = await get(app, "/readyz")
    assert (ready.status, json.loads(ready.body)) == (200, {"ready": True, "calls": 0})
    draining.set()
    ready = await get(app, "/readyz")
    assert (ready.status, json.loads(ready.body)) == (503, {"ready": False, "reason": "draining", "calls": 0})
    assert (await get(app, "/healthz")).status == 200


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("POST", "/healthz", 405)])
async def test_what_is_not_there_is_a_plain_text(method: str, path: str, status: int) -> None:
    answer = await get(app_with(), path, method=method)
    assert answer.status == status
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_head_is_answered_like_get() -> None:
    assert (await get(app_with(), "/healthz", method="HEAD")).status == 200


# --- live events -------------------------------------------------------------------------------------------------------


async def test_a_feed_gives_the_header_each_line_at_its_moment_and_ends_with_the_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    directory = CallDirectory()
    began = trio.current_time()
    with directory.registered(live()) as call:
        call.publish('{"journal":1}')
        async with request(app_with(directory), "/calls/CA1/events", TOKEN) as answer:
            await trio.sleep(1)
            call.publish('{"t":1.0,"event":"CallStarted"}')
            await trio.sleep(1)
            call.end()
    assert answer.done
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert answer.pieces == [
        (began, b'data: {"journal":1}\n\n'),
        (began + 1, b'data: {"t":1.0,"event":"CallStarted"}\n\n'),
    ]
    assert trio.current_time() == began + 2


async def test_a_feed_waits_for_a_call_that_begins_a_little_later(autojump_clock: trio.testing.MockClock) -> None:
    directory = CallDirectory()
    async with request(app_with(directory), "/calls/CA1/events", TOKEN) as answer:
        await trio.sleep(APPEAR_LIMIT_S - 0.001)
        with directory.registered(live()) as call:
            call.publish("header")
            await trio.testing.wait_all_tasks_blocked()
    assert (answer.status, answer.body) == (200, b"data: header\n\n")


async def test_a_feed_of_a_call_that_never_begins_is_404_after_exactly_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    answer = await get(app_with(), "/calls/CA9/events", TOKEN)
    assert (answer.status, answer.body) == (404, b"no call 'CA9' is in progress\n")
    assert trio.current_time() - began == APPEAR_LIMIT_S


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic the-token"}, {"Authorization": "Bearer é"}]
)
async def test_a_feed_without_the_token_is_401_at_once(autojump_clock: trio.testing.MockClock, headers: dict[str, str]) -> None:
    directory = CallDirectory()
    with directory.registered(live()):
        answer = await get(app_with(directory), "/calls/CA1/events", headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="trio-voice"'
    assert trio.current_time() == 0.0


async def test_a_quiet_feed_says_that_it_is_alive_every_so_often(autojump_clock: trio.testing.MockClock) -> None:
    directory = CallDirectory()
    with directory.registered(live()) as call:
        call.publish("header")
        async with request(app_with(directory), "/calls/CA1/events", TOKEN) as answer:
            await trio.sleep(2 * HEARTBEAT_S + 1)
            call.publish("one")
            await trio.sleep(1)
            call.end()
    assert answer.pieces == [
        (0.0, b"data: header\n\n"),
        (HEARTBEAT_S, b": alive\n\n"),
        (2 * HEARTBEAT_S, b": alive\n\n"),
        (2 * HEARTBEAT_S + 1, b"data: one\n\n"),
    ]


async def test_a_reader_that_came_too_late_for_some_lines_is_told_how_many() -> None:
    directory = CallDirectory()
    with directory.registered(live()) as call:
        call.publish("header")
        for number in range(FEED_LINES + 3):
            call.publish(str(number))
        async with request(app_with(directory), "/calls/CA1/events", TOKEN) as answer:
            await trio.testing.wait_all_tasks_blocked()
            call.end()
    assert answer.body.startswith(b'data: header\n\nevent: lost\ndata: {"lost":3}\n\ndata: 3\n\n')


async def test_a_reader_that_leaves_is_let_go(autojump_clock: trio.testing.MockClock) -> None:
    directory = CallDirectory()
    with directory.registered(live()) as call:
        call.publish("header")
        with trio.fail_after(1):
            async with request(app_with(directory), "/calls/CA1/events", TOKEN) as answer:
                await trio.testing.wait_all_tasks_blocked()
                answer.leave.set()
    assert answer.body == b"data: header\n\n"
