"""The OpenAPI document of the API, made from the types that the endpoints read and write. docs/openapi.json is a copy of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from attrs import frozen

from trio_voice.web.answers import API_PATH, Problem
from trio_voice.web.call_tokens import CallToken
from trio_voice.web.calls_api import Accepted, AgentList, CallList, CallView, HangUpRequest, SayRequest, TransferRequest
from trio_voice.web.operations import ServerView
from trio_voice.web.past_calls import OUTCOMES, PastCallList, PastCallsQuery, WholePastCall

Json = dict[str, Any]
PROBLEMS: Mapping[int, str] = {
    400: "The body is no JSON.",
    401: "The token is missing or wrong.",
    403: "A page of another site asked.",
    404: "There is no such call in progress.",
    408: "The body took too long.",
    409: "The call is starting or ending.",
    413: "The body is too long.",
    415: "The body is of another type.",
    422: "The body does not fit.",
    429: "Too many calls.",
    503: "No calls are taken: busy, draining, or the model cannot be reached.",
}


@frozen(kw_only=True)
class Operation:
    """One endpoint."""

    method: str
    path: str
    name: str
    summary: str
    status: int = 200
    answer: type[Any] | None = None
    media_type: str = "application/json"
    body: type[Any] | None = None
    query: type[msgspec.Struct] | None = None
    problems: Sequence[int] = ()
    is_open: bool = False
    """It needs no token."""


BODY_PROBLEMS = (400, 408, 413, 415, 422)


def _wish(what: str, body: type[msgspec.Struct], *, name: str, summary: str) -> Operation:
    """What a call in progress is asked to do, and does as soon as it can."""
    return Operation(
        method="post",
        path=f"{API_PATH}/calls/{{call}}/{what}",
        name=name,
        summary=summary,
        status=202,
        answer=Accepted,
        body=body,
        problems=(403, 404, 409, *BODY_PROBLEMS),
    )


OPERATIONS = (
    Operation(method="get", path=f"{API_PATH}/calls", name="listCalls", summary="List the calls in progress.", answer=CallList),
    Operation(
        method="get",
        path=f"{API_PATH}/calls/{{call}}",
        name="getCall",
        summary="Look at a call in progress.",
        answer=CallView,
        problems=(404,),
    ),
    Operation(
        method="get",
        path=f"{API_PATH}/calls/{{call}}/events",
        name="followCall",
        summary="Follow a call: the lines of its journal as they are written (docs/journal.md), as server-sent events.",
        answer=str,
        media_type="text/event-stream",
        problems=(404,),
    ),
    _wish("hang-up", HangUpRequest, name="hangUp", summary="End a call politely: what is being said is heard to its end."),
    _wish("say", SayRequest, name="say", summary="Have the agent say something soon."),
    _wish(
        "transfer",
        TransferRequest,
        name="transfer",
        summary="Let another agent go on with a call, once what is being said has been heard.",
    ),
    Operation(
        method="get",
        path=f"{API_PATH}/agents",
        name="listAgents",
        summary="List the agents that calls can be transferred to.",
        answer=AgentList,
    ),
    Operation(
        method="get",
        path=f"{API_PATH}/past-calls",
        name="listPastCalls",
        summary="List calls that are over, the newest first, from their records.",
        answer=PastCallList,
        query=PastCallsQuery,
        problems=(404, 422, 503),
    ),
    Operation(
        method="get",
        path=f"{API_PATH}/past-calls/{{call}}",
        name="getPastCall",
        summary="Look at a call that is over: what was said and done, and how long it took.",
        answer=WholePastCall,
        problems=(404, 503),
    ),
    Operation(
        method="post",
        path=f"{API_PATH}/call-tokens",
        name="makeCallToken",
        summary="Make a call token: it opens one media stream, once, within a short time.",
        status=201,
        answer=CallToken,
        problems=(403, 503),
    ),
    Operation(method="get", path=f"{API_PATH}/server", name="getServer", summary="Show the server's state.", answer=ServerView),
    Operation(
        method="post",
        path=f"{API_PATH}/drain",
        name="drain",
        summary="Take no new calls from now on; those in progress go on.",
        status=202,
        answer=ServerView,
        problems=(403,),
    ),
    Operation(
        method="get",
        path=f"{API_PATH}/openapi.json",
        name="getDocument",
        summary="This document.",
        answer=dict[str, Any],
        is_open=True,
    ),
    Operation(
        method="get",
        path="/metrics",
        name="getMetrics",
        summary="Numbers for Prometheus (docs/operations.md).",
        answer=str,
        media_type="text/plain; version=0.0.4; charset=utf-8",
    ),
    Operation(method="get", path="/healthz", name="getHealth", summary="The process lives.", answer=dict[str, Any], is_open=True),
    Operation(
        method="get",
        path="/readyz",
        name="getReadiness",
        summary="New calls may be sent here (200), or not (503).",
        answer=dict[str, Any],
        is_open=True,
        problems=(503,),
    ),
)
_CALL = {
    "name": "call",
    "in": "path",
    "required": True,
    "description": "The call's id: ours (call_id) or the carrier's (call_sid).",
    "schema": {"type": "string", "minLength": 1},
}


@cache
def document(version: str) -> bytes:
    """The document, for this version of the program."""
    types = {each for operation in OPERATIONS for each in (operation.answer, operation.body) if each is not None} | {Problem}
    ordered = sorted(types, key=str)
    schemas, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, schema_of)
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "trio-voice",
            "version": version,
            "description": "Calls in progress, call tokens, and the server's state. Errors are RFC 9457 problems.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }
    return msgspec.json.format(msgspec.json.encode(whole, order="sorted"), indent=2)


def _operation(operation: Operation, schema_of: Mapping[Any, Json]) -> Json:
    problems = operation.problems if operation.is_open else (401, *operation.problems)
    responses: Json = {
        str(operation.status): {
            "description": "Done." if operation.status == 200 else "Accepted." if operation.status == 202 else "Made.",
            "content": {operation.media_type: {"schema": schema_of[operation.answer]}},
        }
    }
    is_api = operation.path.startswith(f"{API_PATH}/")
    for status in sorted(problems):
        content: Json = {"application/problem+json": {"schema": schema_of[Problem]}} if is_api else _other_error(operation)
        responses[str(status)] = {"description": PROBLEMS[status], "content": content}
    made: Json = {"operationId": operation.name, "summary": operation.summary, "responses": responses}
    parameters = [_CALL] if "{call}" in operation.path else []
    if operation.query is not None:
        parameters += _query_parameters(operation.query)
    if parameters:
        made["parameters"] = parameters
    if operation.body is not None:
        required = operation.body is not HangUpRequest
        made["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema_of[operation.body]}}}
    if operation.is_open:
        made["security"] = []
    return made


def _query_parameters(query: type[msgspec.Struct]) -> list[Json]:
    (_,), components = msgspec.json.schema_components([query], ref_template="#/components/schemas/{name}")
    parameters = []
    for name, schema in components[query.__name__]["properties"].items():
        options = [each for each in schema.pop("anyOf", [schema]) if each.get("type") != "null"]
        merged = {key: value for each in (schema, *options) for key, value in each.items() if key != "default"}
        if name == "outcome":
            merged["enum"] = list(OUTCOMES)
        parameters.append({"name": name, "in": "query", "required": False, "schema": merged})
    return parameters


def _other_error(operation: Operation) -> Json:
    """Errors of pages that are not below the API's path: text, but for the readiness."""
    if operation.path == "/readyz":
        return {"application/json": {"schema": {"type": "object"}}}
    return {"text/plain": {"schema": {"type": "string"}}}
