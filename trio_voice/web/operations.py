"""What those ask who run the server: its numbers, its state, and that it takes no new calls; and what the API is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

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


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of one process, and of all of them together."""

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


class WorkerView(_State, frozen=True, kw_only=True):
    """The state of one process of this server."""

    worker: int
    """Its number, from 1."""


class ServerView(_State, frozen=True, kw_only=True):
    """The state of this server: of all its processes together, and of each."""

    version: str
    workers: list[WorkerView]
    """Those that answered: one, where `server.workers` is 1."""
    silent_workers: list[int] = []
    """The numbers of those that do not answer, so that their calls are missing here; usually none."""


def of_all(version: str, rows: Sequence[WorkerView], silent: Sequence[int] = ()) -> ServerView:
    """Add up what the workers said of themselves, one at least; `silent`: the numbers of those that said nothing."""
    whys = {row.reason for row in rows}
    named = "; ".join(f"worker {row.worker}: {row.reason}" for row in rows if row.reason is not None)
    places = [row.places for row in rows if row.places is not None]
    return ServerView(
        version=version,
        uptime_s=max(row.uptime_s for row in rows),
        ready=all(row.ready for row in rows),
        reason=rows[0].reason if len(whys) == 1 else named,
        draining=all(row.draining for row in rows),
        calls=sum(row.calls for row in rows),
        places_taken=sum(row.places_taken for row in rows),
        places=sum(places) if len(places) == len(rows) else None,
        workers=list(rows),
        silent_workers=list(silent),
    )


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
        return json_answer(self.view())

    async def drain(self, request: Request) -> Response:
        """Take no new calls from now on; those in progress go on. It is undone by starting the server anew."""
        self.access.check(request)
        self.begin_draining()
        return json_answer(self.view(), status=202)

    async def show_metrics(self, request: Request) -> Response:
        """Show the numbers to Prometheus, which has the token."""
        self.access.check(request)
        return Response(await self.metrics_page(), media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    async def show_document(self, _request: Request) -> Response:
        """Show what the API is; it is no secret."""
        return Response(self.document, media_type="application/json")

    def begin_draining(self) -> None:
        """Take no new calls in this process."""
        if not self.draining.is_set():
            log.warning("an operator drains the server", calls=len(self.directory))
            self.draining.set()

    def view(self) -> ServerView:
        """The state of this process, as if it were the only one."""
        reason = self.why_not()
        row = WorkerView(
            worker=1,
            uptime_s=round(trio.current_time() - self.began, 3),
            ready=reason is None,
            reason=reason,
            draining=self.draining.is_set(),
            calls=len(self.directory),
            places_taken=self.admission.places_taken,
            places=self.admission.max_calls or None,
        )
        return of_all(self.version, [row])
