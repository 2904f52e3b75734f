"""The web application: health, the start page, live events. It is made from explicit dependencies and reads no settings.

Every endpoint is `async`: Starlette would run a plain function in a thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping

import trio
from attrs import define, field, frozen
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from trio_voice.agent.agent import Agent
from trio_voice.server.admission import Admission
from trio_voice.server.directory import CallDirectory, Feed, LinesLost
from trio_voice.server.metrics import Metrics
from trio_voice.server.siblings import Siblings
from trio_voice.web.access import Access
from trio_voice.web.all_workers import AllWorkers, CallsElsewhere
from trio_voice.web.answers import API_PATH, error_answer
from trio_voice.web.answers import json_answer as _json
from trio_voice.web.call_tokens import CallTokensApi
from trio_voice.web.calls_api import CallsApi
from trio_voice.web.console import Console, ConsolePlan, is_from_here
from trio_voice.web.event_stream import EventStream
from trio_voice.web.headers import SecurityHeaders
from trio_voice.web.openapi import document
from trio_voice.web.operations import Operations
from trio_voice.web.past_calls import PastCalls, PastCallsApi
from trio_voice.web.start_page import About, asset, start_page
from trio_voice.web.twilio import SORRY, TwilioWebhooks

APPEAR_LIMIT_S = 5.0
"""How long a feed is waited for whose call has not begun: whoever places a call subscribes first."""
HEARTBEAT_S = 15.0
"""A feed says this often that it is alive, so that a dead reader is noticed and no proxy gives it up."""


@frozen(kw_only=True)
class Dependencies:
    """What the pages show and watch."""

    about: About
    directory: CallDirectory
    token: str = field(repr=False)
    """What a reader of calls must show."""
    draining: trio.Event
    problem: Callable[[], str | None] = lambda: None
    """Why a call would fail now, if it would."""
    show_numbers: bool = False
    """Telephone numbers are shown in full."""
    admission: Admission = field(factory=Admission)
    agents: Mapping[str, Agent] = field(factory=dict)
    """Calls can be transferred to them."""
    past_calls: PastCalls | None = None
    """Calls that are over; None: no records are kept."""
    metrics_page: Callable[[], Awaitable[bytes]] | None = None
    """What Prometheus reads; None: the app makes some."""
    media_base: str = "ws://127.0.0.1:8080"
    """Where carriers' streams connect: scheme and host."""
    sorry: str = SORRY
    """What Twilio says to a caller whose call got no media stream."""
    transfer_to: str | None = None
    """The telephone number that takes calls which failed."""
    failed: Container[str] = frozenset()
    """The ids of calls that ended with an apology."""
    console: ConsolePlan | None = None
    """What the console shows; None: there is none."""
    siblings: Siblings | None = None
    """The other workers, whose calls are shown and served as if they were here; None: only our own are."""


def create_app(dependencies: Dependencies) -> ASGIApp:
    """Make the application. It must be called within Trio, whose clock tells the time since then."""
    access = Access(dependencies.token)
    console = _console(dependencies, access)
    pages = _Pages(dependencies, access, console)
    tokens = CallTokensApi(access=access, admission=dependencies.admission)
    twilio = TwilioWebhooks(
        admission=dependencies.admission,
        directory=dependencies.directory,
        media_base=dependencies.media_base,
        sorry=dependencies.sorry,
        transfer_to=dependencies.transfer_to,
        failed=dependencies.failed,
    )
    metrics = Metrics(dependencies.directory, dependencies.admission, dependencies.about.version)
    past = PastCallsApi(access=access, source=dependencies.past_calls, show_numbers=dependencies.show_numbers)
    operations = Operations(
        access=access,
        version=dependencies.about.version,
        directory=dependencies.directory,
        admission=dependencies.admission,
        draining=dependencies.draining,
        why_not=lambda: "draining" if dependencies.draining.is_set() else dependencies.problem(),
        metrics_page=dependencies.metrics_page or metrics.own_page,
        document=document(dependencies.about.version),
    )
    calls = CallsApi(
        access=access,
        directory=dependencies.directory,
        agents=dependencies.agents,
        show_numbers=dependencies.show_numbers,
    )
    app: ASGIApp = Starlette(
        routes=[
            Route("/", pages.start),
            Route("/assets/{name}", pages.asset),
            Route("/healthz", pages.health),
            Route("/readyz", pages.readiness),
            Route("/calls/{call_sid}/events", pages.events),
            Route(f"{API_PATH}/calls/{{call_sid}}/events", pages.events),
            *calls.routes(),
            *tokens.routes(),
            *operations.routes(),
            *past.routes(),
            *twilio.routes(),
            *(console.routes() if console is not None else []),
        ],
        exception_handlers={HTTPException: error_answer},
    )
    if dependencies.siblings is not None:
        app = AllWorkers(
            own=app,
            access=access,
            directory=dependencies.directory,
            siblings=dependencies.siblings,
            own_calls=lambda: [calls.view(call) for call in dependencies.directory],
            operations=operations,
        )
    return SecurityHeaders(app)


def _why_not_ready(dependencies: Dependencies) -> str | None:
    return "draining" if dependencies.draining.is_set() else dependencies.problem()


def _console(dependencies: Dependencies, access: Access) -> Console | None:
    if dependencies.console is None:
        return None
    return Console.of(
        dependencies.console,
        access=access,
        about=dependencies.about,
        directory=dependencies.directory,
        draining=dependencies.draining,
        why_not=lambda: _why_not_ready(dependencies),
        show_numbers=dependencies.show_numbers,
        records=dependencies.past_calls,
        elsewhere=None if dependencies.siblings is None else CallsElsewhere(dependencies.siblings),
    )


@define(eq=False)
class _Pages:
    """The endpoints."""

    _on: Dependencies
    _access: Access
    _console: Console | None = None
    _began: float = field(factory=trio.current_time)

    async def start(self, request: Request) -> Response:
        """Serve the console to those who may see it, the start page to others."""
        console = None if self._console is None else self._console.page(request)
        if console is not None:
            return console
        why_not = _why_not_ready(self._on)
        return start_page(
            self._on.about,
            calls=len(self._on.directory),
            why_not=why_not,
            console=self._console is not None,
            is_near=is_from_here(request),
        )

    async def asset(self, request: Request) -> Response:
        found = asset(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        return found

    async def health(self, _request: Request) -> Response:
        """The process lives and answers."""
        facts = {
            "status": "ok",
            "version": self._on.about.version,
            "uptime_s": round(trio.current_time() - self._began, 3),
            "calls": len(self._on.directory),
        }
        return _json(facts)

    async def readiness(self, _request: Request) -> Response:
        """New calls may be sent here (200), or not (503) and why."""
        calls = len(self._on.directory)
        reason = _why_not_ready(self._on)
        if reason is not None:
            return _json({"ready": False, "reason": reason, "calls": calls}, status=503)
        return _json({"ready": True, "calls": calls})

    async def events(self, request: Request) -> EventStream:
        """One call's journal as it is written: server-sent events, one `data:` a line, until the call ends."""
        self._access.check(request)
        call_sid = request.path_params["call_sid"]
        call = await self._on.directory.wait_for(call_sid, APPEAR_LIMIT_S)
        if call is None:
            raise HTTPException(404, f"no call {call_sid!r} is in progress")
        return EventStream(_Lines(call.follow()))


@define(eq=False)
class _Lines:
    """A call's feed as server-sent events. No generator: one that is left in the middle would have to be closed by somebody."""

    _feed: Feed

    def __aiter__(self) -> _Lines:
        return self

    async def __anext__(self) -> bytes:
        with trio.move_on_after(HEARTBEAT_S):
            line = await anext(self._feed)
            if isinstance(line, LinesLost):
                return b'event: lost\ndata: {"lost":%d}\n\n' % line.count
            return f"data: {line}\n\n".encode()
        return b": alive\n\n"
