"""The console: a page for those who look after the calls, and what it asks of the server. Nobody sees it without the token.

The token comes in once, in the address that the server prints (`/?token=...`), or typed on the start page; from then on the
browser shows it in a cookie that no script can read and no other site's page can send. Where the server's owner says so, clients
on this machine need no token: then the name that the browser asked for must be this machine's own, so that neither a stranger's
name that points here (DNS rebinding) nor a tunnel gets the cookie.

What the page shows comes from strangers too: its script inserts text as text, and its policy allows no script but these files.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import trio
from attrs import field, frozen
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from trio_voice.server.clients import is_local
from trio_voice.server.directory import CallDirectory
from trio_voice.storage.masking import mask_number
from trio_voice.web.access import COOKIE, Access
from trio_voice.web.all_workers import CallsElsewhere, LiveLook
from trio_voice.web.answers import json_answer
from trio_voice.web.calls_api import CallsApi
from trio_voice.web.console_feed import ConsoleFeed, WhyNot, levels_of
from trio_voice.web.console_past import Elsewhere, PastCalls
from trio_voice.web.event_stream import EventStream
from trio_voice.web.file_answer import READERS_LIMIT, FileAnswer
from trio_voice.web.headers import SECURITY_HEADERS
from trio_voice.web.past_calls import MOST_CALLS, PastCallsFailedError, PastCallsQuery
from trio_voice.web.past_calls import PastCalls as RecordedCalls
from trio_voice.web.start_page import About

PATH = "/console"
FILES = {
    "console.css": "text/css",
    **dict.fromkeys(
        (
            "app.js",
            "call.js",
            "capture.js",
            "dom.js",
            "g711.js",
            "jitter.js",
            "line.js",
            "live.js",
            "past.js",
            "phone.js",
            "player.js",
            "resample.js",
            "server.js",
            "story.js",
            "timeline.js",
        ),
        "text/javascript",
    ),
}
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": SECURITY_HEADERS["Content-Security-Policy"] + "; media-src 'self'",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
}
LONGEST_SEARCH = 200
_T = TypeVar("_T")
Facts = dict[str, dict[str, Any]]
"""Settings by section and name, as JSON shows them."""


@frozen(kw_only=True)
class ConsolePlan:
    """What the console shows besides the calls in progress, and to whom."""

    calls_folder: Path
    settings: Facts = field(factory=dict)
    """What is in force, without secrets."""
    is_local: bool = False
    """Clients on this machine need no token."""
    recordings: Elsewhere = lambda _call: ()


@frozen(kw_only=True)
class Console:
    """The console's page and its endpoints."""

    access: Access
    about: About
    directory: CallDirectory
    past: PastCalls
    plan: ConsolePlan
    why_not: WhyNot
    draining: trio.Event
    show_numbers: bool
    records: RecordedCalls | None
    elsewhere: CallsElsewhere | None = None
    """The calls of the other workers; None: there are none."""
    readers: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(READERS_LIMIT), init=False)
    """Of recordings."""

    @classmethod
    def of(
        cls,
        plan: ConsolePlan,
        *,
        access: Access,
        about: About,
        directory: CallDirectory,
        draining: trio.Event,
        why_not: WhyNot,
        show_numbers: bool,
        records: RecordedCalls | None,
        elsewhere: CallsElsewhere | None = None,
    ) -> Console:
        """Make the console that was planned."""

        def is_live(call_id: str) -> bool:
            return directory.named(call_id) is not None or (elsewhere is not None and elsewhere.has(call_id))

        return cls(
            access=access,
            about=about,
            directory=directory,
            past=PastCalls(plan.calls_folder, is_live, plan.recordings),
            plan=plan,
            why_not=why_not,
            draining=draining,
            show_numbers=show_numbers,
            records=records,
            elsewhere=elsewhere,
        )

    def routes(self) -> list[Route]:
        """What is served where, besides the page itself."""
        return [
            Route(f"{PATH}/session", self.sign_in, methods=["POST"]),
            Route(f"{PATH}/session", self.sign_out, methods=["DELETE"]),
            Route(f"{PATH}/files/{{name}}", self.file),
            Route(f"{PATH}/facts", self.facts),
            Route(f"{PATH}/feed", self.feed),
            Route(f"{PATH}/live", self.live),
            Route(f"{PATH}/calls", self.calls),
            Route(f"{PATH}/calls/{{call_id}}", self.call),
            Route(f"{PATH}/calls/{{call_id}}/recording", self.recording),
            Route(f"{PATH}/calls/{{call_id}}/replay", self.replay),
        ]

    # --- coming in

    def page(self, request: Request) -> Response | None:
        """Answer with the console, to those who may see it; None: to this one the start page is shown."""
        shown = request.query_params.get("token")
        if shown is not None:
            return self._let_in(request, RedirectResponse("/", 303)) if self.access.is_right(shown) else None
        page = Response(_file("console.html"), media_type="text/html", headers=PAGE_HEADERS)
        if self.access.is_right(request.cookies.get(COOKIE, "")):
            return page
        return self._let_in(request, page) if self.plan.is_local and is_from_here(request) else None

    async def sign_in(self, request: Request) -> Response:
        """Exchange the token, shown as a bearer token, for the cookie."""
        self.access.check(request)
        return self._let_in(request, Response(status_code=204))

    async def sign_out(self, request: Request) -> Response:
        """Take the cookie back."""
        self.access.check(request)
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    def _let_in(self, request: Request, answer: Response) -> Response:
        answer.set_cookie(COOKIE, self.access.token, httponly=True, samesite="strict", secure=request.url.scheme == "https")
        return answer

    # --- what the page asks for

    async def file(self, request: Request) -> Response:
        """Serve one of the page's own files: they are no secret."""
        name = request.path_params["name"]
        if name not in FILES:
            raise HTTPException(404)
        return Response(_file(name), media_type=FILES[name], headers={"Cache-Control": "no-cache"})

    async def facts(self, request: Request) -> Response:
        """Tell what runs here and which settings are in force."""
        self.access.check(request)
        about = self.about
        facts = {
            "version": about.version,
            "agent": about.agent,
            "model": about.model,
            "media_urls": about.media_urls,
            "settings": self.plan.settings,
        }
        return json_answer(facts)

    async def feed(self, request: Request) -> EventStream:
        """The calls in progress and their levels, as server-sent events, for as long as somebody watches."""
        self.access.check(request)
        api = CallsApi(access=self.access, directory=self.directory, show_numbers=self.show_numbers)
        return EventStream(ConsoleFeed(self.directory, api.view, self.why_not, self.draining, self.elsewhere))

    async def live(self, request: Request) -> Response:
        """The calls in progress in this worker and their levels, as they are now: the other workers ask."""
        self.access.check(request)
        api = CallsApi(access=self.access, directory=self.directory, show_numbers=self.show_numbers)
        return json_answer(LiveLook([api.view(call) for call in self.directory], levels_of(self.directory)))

    async def calls(self, request: Request) -> Response:
        """List past calls, the newest first; `search` keeps those with all its words."""
        self.access.check(request)
        search = request.query_params.get("search", "")
        if len(search) > LONGEST_SEARCH:
            raise HTTPException(400, f"search for at most {LONGEST_SEARCH} characters")
        await self._look_elsewhere()
        return json_answer(await _read(self.past.find(search, await self._callers())))

    async def _look_elsewhere(self) -> None:
        if self.elsewhere is not None:
            await self.elsewhere.look()

    async def _callers(self) -> dict[str, str | None]:
        """Who called in the newest calls, by our id; nothing, if there are no records or they cannot be read now."""
        if self.records is None:
            return {}
        try:
            rows = await self.records.listed(PastCallsQuery(limit=MOST_CALLS))
        except PastCallsFailedError:
            return {}
        return {row["call_id"]: self._number(row["caller"]) for row in rows}

    def _number(self, number: str | None) -> str | None:
        return number if number is None or self.show_numbers else mask_number(number)

    async def call(self, request: Request) -> Response:
        """One call from its journal, also while it goes on."""
        self.access.check(request)
        await self._look_elsewhere()
        return json_answer(_found(await _read(self.past.look(request.path_params["call_id"]))))

    async def recording(self, request: Request) -> FileAnswer:
        """The call's recording; a part of it, if asked for."""
        self.access.check(request)
        path = _found(await _read(self.past.recording(request.path_params["call_id"])))
        return FileAnswer(path, "audio/wav", self.readers)

    async def replay(self, request: Request) -> Response:
        """Live the call again, and tell whether the same came about."""
        self.access.check(request)
        return json_answer(_found(await _read(self.past.replay(request.path_params["call_id"]))))


async def _read(reading: Awaitable[_T]) -> _T:
    try:
        return await reading
    except PastCallsFailedError as error:
        raise HTTPException(503, str(error)) from None


def _found(value: _T | None) -> _T:
    if value is None:
        raise HTTPException(404, "there is no such call, or its files are gone; GET /console/calls lists those that are there")
    return value


def is_from_here(request: Request) -> bool:
    """Tell whether a request comes from this machine, and not through a tunnel or a proxy."""
    client = request.client
    return client is not None and is_local(f"[{client.host}]:{client.port}", request.headers)


@cache
def _file(name: str) -> bytes:
    return files("trio_voice.web").joinpath("static", "console", name).read_bytes()
