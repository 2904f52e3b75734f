"""The API of calls in progress: list, look at, hang up, speak. Calls are named by our id or the carrier's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Annotated

import msgspec
from attrs import field, frozen
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trio_voice.agent.agent import Agent
from trio_voice.server.directory import CallDirectory, LiveCall
from trio_voice.storage.masking import mask_number
from trio_voice.web.access import Access
from trio_voice.web.answers import API_PATH, json_answer
from trio_voice.web.bodies import read_json

OPERATOR = "an operator hung up"


class CallView(msgspec.Struct, frozen=True, kw_only=True):
    """A call in progress."""

    call_id: str
    """Our id; the call's folder has the same name."""
    call_sid: str
    """The carrier's id."""
    state: str
    """connecting, greeting, conversing, goodbye, leaving, hanging_up or closed."""
    response: str
    """The model's response: idle, requested, doomed, active, cancelling or blocked."""
    started_at: str
    """RFC 3339, UTC."""
    duration_s: float
    dialect: str
    """The carrier's media stream dialect."""
    caller: str | None = None
    """The number that calls, masked unless server.show_numbers says otherwise; null where the carrier does not tell."""
    called: str | None = None
    """The number that was called, likewise."""


class CallList(msgspec.Struct, frozen=True):
    """The calls in progress, the oldest first."""

    calls: list[CallView]
    silent_workers: list[int] = []
    """The numbers of the workers that do not answer, so that their calls are missing here; usually none."""


class HangUpRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to end a call."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = OPERATOR
    """What the journal says about it."""


class SayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the agent shall say."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class TransferRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who goes on with a call."""

    agent: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    """An agent's name in the server's agent file; GET /api/v1/agents lists them."""


class AgentList(msgspec.Struct, frozen=True):
    """The agents that calls can be transferred to."""

    agents: list[str]


class Accepted(msgspec.Struct, frozen=True):
    """It was passed on to the call, which does it as soon as its conversation allows."""

    call_id: str
    accepted: bool = True


@frozen(kw_only=True)
class CallsApi:
    """The endpoints."""

    access: Access
    directory: CallDirectory
    agents: Mapping[str, Agent] = field(factory=dict)
    show_numbers: bool = field(default=False)

    def routes(self) -> list[Route]:
        """What is served where."""
        return [
            Route(f"{API_PATH}/calls", self.list_calls),
            Route(f"{API_PATH}/calls/{{call}}", self.get_call),
            Route(f"{API_PATH}/calls/{{call}}/hang-up", self.hang_up, methods=["POST"]),
            Route(f"{API_PATH}/calls/{{call}}/say", self.say, methods=["POST"]),
            Route(f"{API_PATH}/calls/{{call}}/transfer", self.transfer, methods=["POST"]),
            Route(f"{API_PATH}/agents", self.list_agents),
        ]

    async def list_calls(self, request: Request) -> Response:
        """List the calls in progress."""
        self.access.check(request)
        return json_answer(CallList([self.view(call) for call in self.directory]))

    async def get_call(self, request: Request) -> Response:
        """Look at one call."""
        return json_answer(self.view(self._call(request)))

    async def hang_up(self, request: Request) -> Response:
        """Have a call end politely: what is being said is heard to its end."""
        call = self._call(request)
        wish = await read_json(request, HangUpRequest)
        return _accepted(call, call.hang_up(wish.reason))

    async def say(self, request: Request) -> Response:
        """Have the agent say something soon."""
        call = self._call(request)
        wish = await read_json(request, SayRequest)
        return _accepted(call, call.say(wish.text))

    async def transfer(self, request: Request) -> Response:
        """Let another agent go on with a call, once what is being said has been heard."""
        call = self._call(request)
        wish = await read_json(request, TransferRequest)
        agent = self.agents.get(wish.agent)
        if agent is None:
            known = ", ".join(sorted(self.agents)) or "none; start the server with an agent's Python file"
            raise HTTPException(422, f"there is no agent {wish.agent!r}; there are: {known}")
        return _accepted(call, call.hand_off(agent))

    async def list_agents(self, request: Request) -> Response:
        """List the agents that calls can be transferred to."""
        self.access.check(request)
        return json_answer(AgentList(sorted(self.agents)))

    def _call(self, request: Request) -> LiveCall:
        self.access.check(request)
        name = request.path_params["call"]
        call = self.directory.named(name)
        if call is None:
            raise HTTPException(404, f"no call {name!r} is in progress; GET {API_PATH}/calls lists those that are")
        return call

    def view(self, call: LiveCall) -> CallView:
        """Show a call in progress."""
        standing = None if call.handle is None else call.handle.standing()
        return CallView(
            call_id=call.call_id,
            call_sid=call.call_sid,
            state="connecting" if standing is None else standing.call.value,
            response="idle" if standing is None else standing.response.value,
            started_at=call.started_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            duration_s=call.duration_s,
            dialect=call.dialect,
            caller=self._number(call.caller),
            called=self._number(call.called),
        )

    def _number(self, number: str | None) -> str | None:
        return number if number is None or self.show_numbers else mask_number(number)


def _accepted(call: LiveCall, accepted: bool) -> Response:
    if not accepted:
        raise HTTPException(409, f"the call {call.call_id} is starting or ending and takes no wishes")
    return json_answer(Accepted(call.call_id), status=202)
