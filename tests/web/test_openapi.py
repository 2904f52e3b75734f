"""The document is valid, complete, and true: schemathesis asks everything that it allows, and everything that it does not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import schemathesis
import trio
from hypothesis import HealthCheck, Phase, settings
from jsonschema import Draft202012Validator
from schemathesis import Case
from schemathesis.checks import ignored_auth
from starlette.routing import Route

from tests.tools import api_page
from tests.web.test_app import ABOUT
from trio_voice.core.states import CallState, ResponseState
from trio_voice.server.directory import CallDirectory, Handle, LiveCall, Standing
from trio_voice.web.app import Dependencies, create_app
from trio_voice.web.openapi import OPERATIONS, document

DOCUMENT = json.loads(document("1.2.3"))
CONVERSING = Standing(CallState.CONVERSING, ResponseState.ACTIVE)


def test_the_file_in_docs_is_this_document() -> None:
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.page(), "run python -m tests.tools.api_page"


def test_the_schemas_are_schemas_and_every_reference_leads_somewhere() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in set(_references(DOCUMENT)):
        name = reference.removeprefix("#/components/schemas/")
        assert name in DOCUMENT["components"]["schemas"]


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [each for value in node.values() for each in _references(value)]
    return [each for value in node for each in _references(value)] if isinstance(node, list) else []


async def test_every_endpoint_of_the_api_is_in_the_document() -> None:
    app = create_app(Dependencies(about=ABOUT, directory=CallDirectory(), token="t", draining=trio.Event()))
    served = {
        (method.lower(), route.path.replace("{call_sid}", "{call}"))
        for route in app.app.routes  # type: ignore[attr-defined] # - what SecurityHeaders wraps is a Starlette app
        if isinstance(route, Route) and (route.path.startswith("/api/") or route.path in ("/metrics", "/healthz", "/readyz"))
        for method in (route.methods or set()) - {"HEAD"}
    }
    told = {(operation.method, operation.path) for operation in OPERATIONS}
    console = {each for each in served if each[1].startswith("/api/v1/console")}
    assert served - console == told


# --- what schemathesis asks --------------------------------------------------------------------------------------------

QUICKLY = settings(
    max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
ASKED = schemathesis.openapi.from_dict(DOCUMENT).exclude(operation_id="followCall")  # it does not end before its call does


async def ask(case: Case[Any], token: str) -> httpx2.Response:
    """Ask a server with one call, named CA1."""
    directory = CallDirectory()
    app = create_app(Dependencies(about=ABOUT, directory=directory, token="the-token", draining=trio.Event()))
    call = LiveCall("c1", "CA1", datetime(2026, 11, 21, tzinfo=UTC), Path("c1"))
    call.handle = Handle(lambda _event: None, lambda: CONVERSING)
    wanted = case.as_transport_kwargs(base_url="http://server.example", headers={"Authorization": f"Bearer {token}"})
    given = {name: wanted[name] for name in ("method", "url", "headers", "params", "json", "data", "content") if name in wanted}
    if isinstance(given.get("data"), bytes):
        given["content"] = given.pop("data")
    transport = httpx2.ASGITransport(app)
    with directory.registered(call):
        async with httpx2.AsyncClient(transport=transport) as client:
            return await client.request(**given)


@ASKED.parametrize()
@QUICKLY
def test_every_answer_is_as_the_document_says(case: Case[Any]) -> None:
    case.validate_response(trio.run(ask, case, "the-token"), excluded_checks=[ignored_auth])


@ASKED.parametrize()
@settings(QUICKLY, max_examples=3)
def test_r40_nothing_is_told_without_the_token(case: Case[Any]) -> None:
    response = trio.run(ask, case, "other")
    is_open = case.operation.definition.raw.get("security") == []
    assert is_open or response.status_code in (401, 404, 405)  # the last two where there is nothing at all


async def test_the_known_call_is_found_by_what_schemathesis_asks_with() -> None:
    case = ASKED["/api/v1/calls/{call}/say"]["POST"].Case(
        path_parameters={"call": "CA1"}, body={"text": "Hello."}, media_type="application/json"
    )
    response = await ask(case, "the-token")
    assert (response.status_code, response.json()) == (202, {"call_id": "c1", "accepted": True})
