"""What those ask who run the server: its numbers, its state, and that it takes no new calls; and what the API is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import structlog
import trio
from attrs import field, frozen
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trio_voice.server.admission import Admission
from trio_voice.server.directory import CallDirectory
from trio_voice.server.metrics import CONTENT_TYPE
from trio_voice.web.access import Access
from trio_voice.web.answers import API_PATH, json_answer

log = structlog.get_logger(__name__)


class ServerView(msgspec.Struct, frozen=True, kw_only=True):
    """The state of this server."""

    version: str
    uptime_s: float
    ready: bool
    """New calls may be sent here."""
    reason: str | None
    """Why not."""
    draining: bool
    calls: int
    """Calls in progress."""
    places_taken: int
    """Calls in progress, and call tokens that wait to be used."""
    places: int | None
    """How many calls there may be at once; null: any number."""


@frozen(kw_only=True)
class Operations:
    """The endpoints."""

    access: Access
    version: str
    directory: CallDirectory
    admission: Admission
    draining: trio.Event
    why_not: Callable[[], str | None]
    metrics_page: Callable[[], Awaitable[bytes]]
    document: bytes = b"{}"
    """The OpenAPI document."""
    began: float = field(factory=trio.current_time)

    def routes(self) -> list[Route]:
        """What is served where."""
        return [
            Route("/metrics", self.show_metrics),
            Route(f"{API_PATH}/server", self.show),
            Route(f"{API_PATH}/drain", self.drain, methods=["POST"]),
            Route(f"{API_PATH}/openapi.json", self.show_document),
        ]

    async def show(self, request: Request) -> Response:
        """Show the server's state."""
        self.access.check(request)
        return json_answer(self._view())

    async def drain(self, request: Request) -> Response:
        """Take no new calls from now on; those in progress go on. It is undone by starting the server anew."""
        self.access.check(request)
        if not self.draining.is_set():
            log.warning("an operator drains the server", calls=len(self.directory))
            self.draining.set()
        return json_answer(self._view(), status=202)

    async def show_metrics(self, request: Request) -> Response:
        """Show the numbers to Prometheus, which has the token."""
        self.access.check(request)
        return Response(await self.metrics_page(), media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    async def show_document(self, _request: Request) -> Response:
        """Show what the API is; it is no secret."""
        return Response(self.document, media_type="application/json")

    def _view(self) -> ServerView:
        reason = self.why_not()
        return ServerView(
            version=self.version,
            uptime_s=round(trio.current_time() - self.began, 3),
            ready=reason is None,
            reason=reason,
            draining=self.draining.is_set(),
            calls=len(self.directory),
            places_taken=self.admission.places_taken,
            places=self.admission.max_calls or None,
        )
