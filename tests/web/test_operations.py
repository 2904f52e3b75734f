"""What those ask who run the server."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from tests.web.asgi_client import Answer, get
from trio_voice.server.admission import Admission
from trio_voice.server.directory import CallDirectory
from trio_voice.server.metrics import Metrics
from trio_voice.server.tokens import Issuer
from trio_voice.web.access import Access
from trio_voice.web.answers import error_answer
from trio_voice.web.operations import Operations, WorkerView, of_all


@define
class World:
    """A server without calls."""

    problem: str | None = None
    max_calls: int = 3
    draining: trio.Event = field(factory=trio.Event)
    admission: Admission = field(init=False)
    app: Starlette = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.admission = Admission(max_calls=self.max_calls, draining=self.draining)
        directory = CallDirectory()
        operations = Operations(
            access=Access("the-token"),
            version="1.2.3",
            directory=directory,
            admission=self.admission,
            draining=self.draining,
            why_not=lambda: "draining" if self.draining.is_set() else self.problem,
            metrics_page=Metrics(directory, self.admission, "1.2.3").own_page,
            document=b'{"openapi":"3.1.0"}',
        )
        self.app = Starlette(routes=operations.routes(), exception_handlers={HTTPException: error_answer})

    async def ask(self, path: str, method: str = "GET", token: str = "the-token") -> Answer:
        return await get(self.app, path, {"Authorization": f"Bearer {token}"}, method)


async def test_the_servers_state_is_shown(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    await trio.sleep(2.5)
    world.admission.tokens.issue(Issuer.API)
    answer = await world.ask("/api/v1/server")
    assert (answer.status, json.loads(answer.body)) == (
        200,
        {
            "version": "1.2.3",
            "uptime_s": 2.5,
            "ready": True,
            "reason": None,
            "draining": False,
            "calls": 0,
            "places_taken": 1,
            "places": 3,
            "workers": [
                {
                    "worker": 1,
                    "uptime_s": 2.5,
                    "ready": True,
                    "reason": None,
                    "draining": False,
                    "calls": 0,
                    "places_taken": 1,
                    "places": 3,
                }
            ],
            "silent_workers": [],
        },
    )


async def test_a_server_that_is_not_ready_says_why() -> None:
    told = json.loads((await World("the model is away", max_calls=0).ask("/api/v1/server")).body)
    assert (told["ready"], told["reason"], told["places"]) == (False, "the model is away", None)


def row(worker: int, **changes: Any) -> WorkerView:
    facts = {"uptime_s": 2.5, "ready": True, "reason": None, "draining": False, "calls": 1, "places_taken": 2, "places": 3}
    return WorkerView(worker=worker, **(facts | changes))


def test_what_several_workers_say_is_added_up_and_each_has_a_row() -> None:
    one, three = row(1, uptime_s=9.0), row(3, calls=4, places_taken=5, places=6)
    both = of_all("1.2.3", [one, three], silent=[2])
    assert (both.version, both.uptime_s, both.calls, both.places_taken, both.places) == ("1.2.3", 9.0, 5, 7, 9)
    assert both.workers == [one, three]
    assert (both.ready, both.reason, both.draining, both.silent_workers) == (True, None, False, [2])


def test_places_without_a_bound_are_without_a_bound_in_all() -> None:
    assert of_all("1", [row(1), row(2, places=None)]).places is None


def test_all_are_not_ready_for_the_reason_that_they_share() -> None:
    told = of_all("1", [row(number, ready=False, reason="draining", draining=True) for number in (1, 2)])
    assert (told.ready, told.reason, told.draining) == (False, "draining", True)


def test_one_that_is_not_ready_is_named() -> None:
    told = of_all("1", [row(1), row(2, ready=False, reason="the model is away")])
    assert (told.ready, told.reason, told.draining) == (False, "worker 2: the model is away", False)


async def test_r41_an_operator_drains_the_server_once_and_may_ask_again() -> None:
    world = World()
    for _ in range(2):
        answer = await world.ask("/api/v1/drain", "POST")
        assert (answer.status, json.loads(answer.body)["reason"]) == (202, "draining")
    assert world.draining.is_set()


async def test_r42_metrics_are_told_in_prometheus_own_form() -> None:
    answer = await World().ask("/metrics")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b'trio_voice_build_info{version="1.2.3"} 1.0\n' in answer.body
    assert b"process_resident_memory_bytes" in answer.body


@pytest.mark.parametrize(("path", "method"), [("/metrics", "GET"), ("/api/v1/server", "GET"), ("/api/v1/drain", "POST")])
async def test_r40_nothing_without_the_token(path: str, method: str) -> None:
    world = World()
    assert (await world.ask(path, method, token="other")).status == 401
    assert not world.draining.is_set()


async def test_what_the_api_is_is_no_secret() -> None:
    answer = await World().ask("/api/v1/openapi.json", token="")
    assert (answer.status, json.loads(answer.body)) == (200, {"openapi": "3.1.0"})
