"""Two workers, each with calls of its own; either shows and serves those of both."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
import structlog
import trio
from attrs import define, evolve, field
from starlette.types import ASGIApp

from tests.web.asgi_client import get, request
from tests.web.test_app import ABOUT
from tests.web.test_calls_api import CONVERSING
from trio_voice.core.events import Event, HangUpAsked, TextInjected
from trio_voice.server.directory import CallDirectory, Handle, LiveCall
from trio_voice.server.front_door import serve_pages
from trio_voice.server.siblings import Siblings, private_listener
from trio_voice.web import all_workers
from trio_voice.web.app import Dependencies, create_app
from trio_voice.web.console import ConsolePlan

TOKEN = {"Authorization": "Bearer the-token"}
NUMBER_OF_CALL = {1: "c-one", 2: "c-two"}


@define
class Worker:
    """A worker with one call, and what the call was told."""

    number: int
    sockets: Path
    directory: CallDirectory = field(factory=CallDirectory)
    draining: trio.Event = field(factory=trio.Event)
    fed: list[Event] = field(factory=list)
    own: ASGIApp = field(init=False)
    app: ASGIApp = field(init=False)
    call: LiveCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        plan = ConsolePlan(calls_folder=self.sockets / "no-calls")
        dependencies = Dependencies(
            about=ABOUT, directory=self.directory, token="the-token", draining=self.draining, console=plan
        )
        self.own = create_app(dependencies)
        self.app = create_app(evolve(dependencies, siblings=Siblings(self.sockets, self.number, "the-token")))
        began = datetime(2026, 11, 21, 9, self.number, tzinfo=UTC)
        self.call = LiveCall(NUMBER_OF_CALL[self.number], f"CA{self.number}", began, Path("x"), caller="+14158675310")
        self.call.handle = Handle(self.fed.append, lambda: CONVERSING)

    async def ask(self, path: str, method: str = "GET", body: object = None, headers: Any = TOKEN) -> tuple[int, Any]:
        payload = b"" if body is None else json.dumps(body).encode()
        answer = await get(self.app, path, headers, method, payload)
        return answer.status, json.loads(answer.body)


@asynccontextmanager
async def two_workers() -> AsyncIterator[tuple[Worker, Worker]]:
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="workers-")))
        both = Worker(1, folder), Worker(2, folder)
        for worker in both:
            nursery.start_soon(serve_pages, stack.enter_context(private_listener(folder, worker.number)), worker.own)
            stack.enter_context(worker.directory.registered(worker.call))
        yield both
        nursery.cancel_scope.cancel()


async def test_r45_either_lists_the_calls_of_both_the_oldest_first() -> None:
    async with two_workers() as both:
        for worker in both:
            status, listed = await worker.ask("/api/v1/calls")
            assert (status, [call["call_id"] for call in listed["calls"]]) == (200, ["c-one", "c-two"])
            assert listed["silent_workers"] == []
            assert {call["caller"] for call in listed["calls"]} == {"…5310"}


@pytest.mark.parametrize("name", ["c-two", "CA2"])
async def test_r45_a_call_is_looked_at_and_told_wherever_it_is(name: str) -> None:
    async with two_workers() as (first, second):
        status, view = await first.ask(f"/api/v1/calls/{name}")
        assert (status, view["call_id"], view["state"]) == (200, "c-two", "conversing")
        assert await first.ask(f"/api/v1/calls/{name}/say", "POST", {"text": "Hello."}) == (
            202,
            {"call_id": "c-two", "accepted": True},
        )
        assert (await first.ask(f"/api/v1/calls/{name}/hang-up", "POST", {"reason": "enough"}))[0] == 202
        assert (await first.ask("/api/v1/calls/c-one/hang-up", "POST"))[0] == 202
        assert second.fed == [TextInjected("Hello."), HangUpAsked("enough")]
        assert [type(event) for event in first.fed] == [HangUpAsked]


async def test_what_the_other_says_of_a_wish_is_passed_on() -> None:
    async with two_workers() as (first, second):
        status, problem = await first.ask("/api/v1/calls/c-two/say", "POST", {"text": ""})
        assert (status, problem["detail"].startswith("the body does not fit")) == (422, True)
        status, problem = await first.ask("/api/v1/calls/c-two/transfer", "POST", {"agent": "nobody"})
        assert (status, problem["detail"].startswith("there is no agent 'nobody'")) == (422, True)
        status, problem = await first.ask("/api/v1/calls/c-two/say", "POST", {"text": "x" * 70_000})
        assert (status, problem["detail"]) == (413, "the body is longer than 65536 bytes")
        assert second.fed == []


async def test_a_call_that_nobody_has_is_404() -> None:
    async with two_workers() as (first, _second):
        status, problem = await first.ask("/api/v1/calls/c-three/hang-up", "POST")
        assert (status, problem["detail"][:36]) == (404, "no call 'c-three' is in progress; GE")
        status, _ = await first.ask("/api/v1/calls/..%2f..%2fdrain/hang-up", "POST")
        assert status == 404


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Cookie": "trio_voice_token=the-token"}])
async def test_who_may_not_ask_here_is_not_answered_by_the_other(headers: dict[str, str]) -> None:
    async with two_workers() as (first, second):
        status, _ = await first.ask("/api/v1/calls/c-two/hang-up", "POST", {}, headers)
        assert status == (403 if "Cookie" in headers else 401)
        assert (await first.ask("/api/v1/drain", "POST", None, headers))[0] == status
        assert (second.fed, second.draining.is_set()) == ([], False)


async def test_a_drain_reaches_all() -> None:
    async with two_workers() as (first, second):
        status, told = await first.ask("/api/v1/drain", "POST")
        assert (status, told["reason"], [row["draining"] for row in told["workers"]]) == (202, "draining", [True, True])
        assert (first.draining.is_set(), second.draining.is_set()) == (True, True)


async def test_r45_the_servers_state_is_that_of_all_workers_with_a_row_for_each() -> None:
    async with two_workers() as both:
        both[1].draining.set()
        for worker in both:
            status, told = await worker.ask("/api/v1/server")
            assert (status, told["calls"], told["silent_workers"]) == (200, 2, [])
            assert [(row["worker"], row["calls"], row["ready"]) for row in told["workers"]] == [(1, 1, True), (2, 1, False)]
            assert (told["ready"], told["reason"]) == (False, "worker 2: draining")


async def test_the_state_of_a_worker_that_does_not_answer_is_missing_and_said() -> None:
    async with two_workers() as (first, second):
        (second.sockets / "2.sock").unlink()
        (second.sockets / "2.sock").touch()
        status, told = await first.ask("/api/v1/server")
        assert (status, told["calls"], told["silent_workers"], len(told["workers"])) == (200, 1, [2], 1)


async def test_a_worker_that_does_not_answer_is_left_out_and_said() -> None:
    async with two_workers() as (first, second):
        (second.sockets / "2.sock").rename(second.sockets / "9.sock")
        (second.sockets / "7.sock").touch()
        status, listed = await first.ask("/api/v1/calls")
        assert (status, len(listed["calls"]), listed["silent_workers"]) == (200, 2, [7])


async def test_a_worker_of_another_version_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_workers() as (first, _second):
        with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
            patch.setattr(Siblings, "look", answer_oddly)
            status, listed = await first.ask("/api/v1/calls")
        assert (status, [call["call_id"] for call in listed["calls"]]) == (200, ["c-one"])
        assert [line["worker"] for line in logs] == [2]


async def answer_oddly(_siblings: Siblings, _path: str) -> dict[int, httpx2.Response | None]:
    await trio.lowlevel.checkpoint()
    return {2: httpx2.Response(200, json={"calls": [{"call_id": 7}]}), 3: httpx2.Response(500)}


# --- feeds -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/calls/CA2/events", "/api/v1/calls/c-two/events"])
async def test_a_calls_feed_is_read_to_its_end_wherever_the_call_is(path: str) -> None:
    async with two_workers() as (first, second):
        second.call.publish("header")
        with trio.fail_after(10):
            async with request(first.app, path, TOKEN) as answer:
                while not answer.body:  # noqa: ASYNC110 - another connection's bytes
                    await trio.sleep(0.01)
                assert (answer.status, answer.headers["content-type"][:17]) == (200, "text/event-stream")
                assert answer.headers["x-accel-buffering"] == "no"
                second.call.publish("line")
                second.call.end()
        assert answer.body == b"data: header\n\ndata: line\n\n"


async def test_a_reader_who_leaves_is_let_go() -> None:
    async with two_workers() as (first, second):
        second.call.publish("header")
        with trio.fail_after(10):
            async with request(first.app, "/calls/CA2/events", TOKEN) as answer:
                while not answer.body:  # noqa: ASYNC110 - another connection's bytes
                    await trio.sleep(0.01)
                answer.leave.set()


async def test_a_feed_waits_for_a_call_that_begins_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_workers() as (first, second):
        late = LiveCall("c-late", "CA9", datetime(2026, 11, 21, tzinfo=UTC), Path("x"))
        with trio.fail_after(10):
            async with request(first.app, "/calls/CA9/events", TOKEN) as answer:
                await trio.sleep(0.05)
                with second.directory.registered(late):
                    late.publish("header")
                    while not answer.body:  # noqa: ASYNC110 - another connection's bytes
                        await trio.sleep(0.01)
        assert answer.body == b"data: header\n\n"
        monkeypatch.setattr(all_workers, "APPEAR_LIMIT_S", 0.1)
        missing = await get(first.app, "/calls/CA8/events", TOKEN)
        assert (missing.status, missing.body) == (404, b"no call 'CA8' is in progress\n")


async def test_the_console_watches_the_calls_of_both() -> None:
    async with two_workers() as (first, _second):
        with trio.fail_after(10):
            async with request(first.app, "/console/feed", TOKEN) as answer:
                while b"c-two" not in answer.body or b"event: levels" not in answer.body:  # noqa: ASYNC110 - as above
                    await trio.sleep(0.01)
                answer.leave.set()
        text = answer.body.decode()
        events = dict(part.split("\ndata: ", 1) for part in text.strip().split("\n\n") if "\ndata: " in part)
        assert [call["call_id"] for call in json.loads(events["event: calls"])["calls"]] == ["c-one", "c-two"]
        assert set(json.loads(events["event: levels"])) == {"c-one", "c-two"}
