"""Ending a call at Twilio: once, again after a failure, and never for long."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

import httpx2
import pytest
import structlog
import trio
import trio.testing

from trio_voice.dialects.base import StreamStarted
from trio_voice.server.twilio_rest import LIMIT_S, TwilioRest

ACCOUNT = "AC" + "0" * 32
CALL = "CA" + "1" * 32


def started(call_sid: str = CALL, account_sid: str = ACCOUNT) -> StreamStarted:
    return StreamStarted("MZ1", call_sid, account_sid, {}, None, None)


async def hang_up(answers: Callable[[int], httpx2.Response], *calls: StreamStarted) -> list[httpx2.Request]:
    """End calls; the n-th request gets the n-th answer."""
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return answers(len(requests))

    transport = httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(transport=transport, base_url="https://api.twilio.com") as client:
        rest = TwilioRest(ACCOUNT, "the-auth-token", client)
        for call in calls or (started(),):
            await rest.hang_up(call)
    return requests


async def test_a_call_is_completed_with_the_accounts_credentials() -> None:
    (request,) = await hang_up(lambda _: httpx2.Response(200, json={}))
    assert request.method == "POST"
    assert str(request.url) == f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}.json"
    assert parse_qs(request.content.decode()) == {"Status": ["completed"]}
    assert request.headers["authorization"] == httpx2.BasicAuth(ACCOUNT, "the-auth-token")._auth_header


async def test_a_call_that_is_gone_is_ended(autojump_clock: trio.testing.MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        assert len(await hang_up(lambda _: httpx2.Response(404, json={"code": 20404}))) == 1
    assert logs == []


async def test_it_is_tried_again_while_twilio_is_busy_broken_or_away(autojump_clock: trio.testing.MockClock) -> None:
    def answers(number: int) -> httpx2.Response:
        if number == 1:
            raise httpx2.ConnectError("refused")
        return httpx2.Response({2: 429, 3: 503}.get(number, 200))

    with structlog.testing.capture_logs() as logs:
        assert len(await hang_up(answers)) == 4
    assert logs == []
    assert 0.875 <= trio.current_time() <= 1.75


async def test_what_will_not_get_better_is_told_at_once(autojump_clock: trio.testing.MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        assert len(await hang_up(lambda _: httpx2.Response(401))) == 1
    assert [line["problem"] for line in logs] == [
        "Twilio answered with HTTP status 401; check twilio.account_sid and TWILIO_AUTH_TOKEN"
    ]
    assert trio.current_time() == 0.0
    assert "the-auth-token" not in repr(logs)


async def test_it_is_given_up_after_six_tries(autojump_clock: trio.testing.MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        assert len(await hang_up(lambda _: httpx2.Response(500))) == 6
    assert [line["problem"] for line in logs] == ["Twilio answered with HTTP status 500"]
    assert trio.current_time() <= LIMIT_S


async def test_it_never_takes_longer_than_its_limit(autojump_clock: trio.testing.MockClock) -> None:
    async def silent(request: httpx2.Request) -> httpx2.Response:
        await trio.sleep_forever()
        raise AssertionError

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(silent), base_url="https://api.twilio.com") as client:
        with structlog.testing.capture_logs() as logs:
            await TwilioRest(ACCOUNT, "the-auth-token", client).hang_up(started())
    assert trio.current_time() == LIMIT_S
    assert [line["problem"] for line in logs] == ["it took too long"]


@pytest.mark.parametrize("call", [started("c1"), started("CA1/../../x"), started(CALL, "AC" + "2" * 32)])
async def test_other_calls_are_not_twilios_to_end(call: StreamStarted) -> None:
    assert await hang_up(lambda _: httpx2.Response(200), call) == []


async def test_it_is_opened_for_the_time_of_a_block() -> None:
    async with TwilioRest.opened(ACCOUNT, "the-auth-token") as rest:
        assert str(rest.client.base_url) == "https://api.twilio.com"
        assert "the-auth-token" not in repr(rest)
    assert rest.client.is_closed
