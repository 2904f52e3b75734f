"""The API of calls in progress."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field
from starlette.types import ASGIApp

from tests.web.asgi_client import Answer, get
from tests.web.test_app import ABOUT
from trio_voice.agent.agent import Agent
from trio_voice.core.events import Event, HangUpAsked, TextInjected
from trio_voice.core.states import CallState, ResponseState
from trio_voice.server.directory import CallDirectory, Handle, LiveCall, Standing
from trio_voice.web.app import Dependencies, create_app

TOKEN = {"Authorization": "Bearer the-token"}

CONVERSING = Standing(CallState.CONVERSING, ResponseState.ACTIVE)


@define
class World:
    """A server with one call, and what the call was told."""

    show_numbers: bool = False
    standing: Standing = CONVERSING
    directory: CallDirectory = field(factory=CallDirectory)
    fed: list[Event] = field(factory=list)
    agents: dict[str, Agent] = field(factory=dict)
    handed_to: list[Agent] = field(factory=list)

    @property
    def app(self) -> ASGIApp:
        return create_app(
            Dependencies(
                about=ABOUT,
                directory=self.directory,
                token="the-token",
                draining=trio.Event(),
                show_numbers=self.show_numbers,
                agents=self.agents,
            )
        )

    @contextmanager
    def call(self, *, lives: bool = True) -> Iterator[LiveCall]:
        live = LiveCall(
            "20261121-093012-0a1b2c3d",
            "CA1",
            datetime(2026, 11, 21, 9, 30, 12, 123456, UTC),
            Path("calls/c1"),
            dialect="twilio",
            caller="+14158675310",
            called=None,
        )
        if lives:
            live.handle = Handle(self.fed.append, lambda: self.standing, hand_off=self.handed_to.append)
        with self.directory.registered(live):
            yield live

    async def ask(self, path: str, method: str = "GET", body: object = None) -> tuple[int, Any]:
        payload = b"" if body is None else json.dumps(body).encode()
        answer = await get(self.app, f"/api/v1{path}", TOKEN, method, payload)
        return answer.status, json.loads(answer.body)


CALL = {
    "call_id": "20261121-093012-0a1b2c3d",
    "call_sid": "CA1",
    "state": "conversing",
    "response": "active",
    "started_at": "2026-11-21T09:30:12.123Z",
    "duration_s": 12.5,
    "dialect": "twilio",
    "caller": "…5310",
    "called": None,
}


async def test_calls_are_listed_and_looked_at_by_either_id(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    assert await world.ask("/calls") == (200, {"calls": [], "silent_workers": []})
    with world.call():
        await trio.sleep(12.5)
        assert await world.ask("/calls") == (200, {"calls": [CALL], "silent_workers": []})
        assert await world.ask("/calls/CA1") == (200, CALL)
        assert await world.ask("/calls/20261121-093012-0a1b2c3d") == (200, CALL)
    assert await world.ask("/calls") == (200, {"calls": [], "silent_workers": []})


async def test_a_call_that_does_not_live_yet_is_connecting() -> None:
    world = World()
    with world.call(lives=False):
        status, call = await world.ask("/calls/CA1")
        assert (status, call["state"], call["response"]) == (200, "connecting", "idle")
        assert (await world.ask("/calls/CA1/hang-up", "POST"))[0] == 409


async def test_numbers_are_shown_in_full_only_where_it_is_asked_for() -> None:
    world = World(show_numbers=True)
    with world.call():
        assert (await world.ask("/calls/CA1"))[1]["caller"] == "+14158675310"


async def test_hang_up_and_say_reach_the_call() -> None:
    world = World()
    with world.call():
        assert await world.ask("/calls/CA1/say", "POST", {"text": "One moment."}) == (
            202,
            {"call_id": CALL["call_id"], "accepted": True},
        )
        assert (await world.ask("/calls/CA1/hang-up", "POST", {"reason": "wrong number"}))[0] == 202
        assert (await world.ask("/calls/CA1/hang-up", "POST"))[0] == 202
    assert world.fed == [TextInjected("One moment."), HangUpAsked("wrong number"), HangUpAsked("an operator hung up")]


async def test_a_call_is_transferred_to_an_agent_by_its_name() -> None:
    billing = Agent(name="billing desk")
    world = World(agents={"billing": billing, "agent": Agent()})
    assert await world.ask("/agents") == (200, {"agents": ["agent", "billing"]})
    with world.call():
        assert (await world.ask("/calls/CA1/transfer", "POST", {"agent": "billing"}))[0] == 202
        status, problem = await world.ask("/calls/CA1/transfer", "POST", {"agent": "sales"})
    assert (status, problem["detail"]) == (422, "there is no agent 'sales'; there are: agent, billing")
    assert world.handed_to == [billing]


async def test_a_server_without_an_agents_file_transfers_nobody() -> None:
    world = World()
    with world.call():
        status, problem = await world.ask("/calls/CA1/transfer", "POST", {"agent": "sales"})
    assert (status, "start the server with an agent's Python file" in problem["detail"]) == (422, True)


async def test_a_call_that_is_over_takes_no_wishes() -> None:
    world = World(standing=Standing(CallState.CLOSED, ResponseState.IDLE))
    with world.call():
        status, problem = await world.ask("/calls/CA1/say", "POST", {"text": "Hello?"})
        world.agents["a"] = Agent()
        assert (await world.ask("/calls/CA1/transfer", "POST", {"agent": "a"}))[0] == 409
    assert (status, problem["title"]) == (409, "Conflict")
    assert (world.fed, world.handed_to) == ([], [])


@pytest.mark.parametrize(
    ("path", "method", "body", "status"),
    [
        ("/calls/CA2", "GET", None, 404),
        ("/calls/CA2/hang-up", "POST", None, 404),
        ("/calls/CA1/say", "POST", None, 422),
        ("/calls/CA1/say", "POST", {"text": ""}, 422),
        ("/calls/CA1/say", "POST", {"text": "a" * 2001}, 422),
        ("/calls/CA1/say", "POST", {"text": "a", "loud": True}, 422),
        ("/calls/CA1/hang-up", "POST", {"reason": "a" * 201}, 422),
        ("/calls/CA1/hang-up", "GET", None, 405),
        ("/nothing", "GET", None, 404),
    ],
)
async def test_a_mistake_is_told_as_a_problem(path: str, method: str, body: object, status: int) -> None:
    world = World()
    with world.call():
        found, problem = await world.ask(path, method, body)
    assert found == problem["status"] == status
    assert set(problem) == {"status", "title", "detail"}
    assert world.fed == []


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/calls", "GET"),
        ("/calls/CA1", "GET"),
        ("/calls/CA1/hang-up", "POST"),
        ("/calls/CA1/say", "POST"),
        ("/calls/CA1/transfer", "POST"),
        ("/agents", "GET"),
    ],
)
async def test_r40_nothing_is_told_or_done_without_the_token(path: str, method: str) -> None:
    world = World()
    with world.call():
        for headers in ({}, {"Authorization": "Bearer other"}):
            answer: Answer = await get(world.app, f"/api/v1{path}", headers, method, b'{"text":"a"}')
            assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")
            assert b"5310" not in answer.body
    assert world.fed == []
