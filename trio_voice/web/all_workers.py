"""The calls of all workers, whichever of them is asked: an ASGI application around each worker's own.

What concerns one call is answered here if the call is, and else handed to the worker that has it. The list of calls and the
server's state are put together from all, and a drain reaches all. Everything else is the worker's own business.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import msgspec
import structlog
import trio
from attrs import define, field, frozen
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trio_voice.server.directory import CallDirectory
from trio_voice.server.siblings import Answers, SiblingLost, Siblings
from trio_voice.web.access import Access
from trio_voice.web.answers import API_PATH, error_answer, json_answer
from trio_voice.web.bodies import read_body
from trio_voice.web.calls_api import CallList, CallView
from trio_voice.web.operations import Operations, ServerView, of_all

if TYPE_CHECKING:
    import httpx2

LOOK_EVERY_S = 1.0
"""How old what is known of the others' calls may be, for those who watch."""
APPEAR_LIMIT_S = 5.0
"""How long a feed is waited for whose call has not begun anywhere."""
APPEAR_EVERY_S = 0.25
log = structlog.get_logger(__name__)

_Read = TypeVar("_Read", bound=msgspec.Struct)
_OF_CALL = re.compile(rf"(?:{API_PATH})?/calls/([^/]+)/events|{API_PATH}/calls/([^/]+)(?:/(?:hang-up|say|transfer))?")
_KEPT_HEADERS = frozenset({"content-type", "cache-control", "x-accel-buffering", "www-authenticate"})


class LiveLook(msgspec.Struct, frozen=True):
    """The calls in progress of one worker, and how loud they are: (the caller's level in dBFS, the agent's), by call."""

    calls: list[CallView]
    levels: dict[str, tuple[float | None, float | None]] = {}


@define(eq=False)
class CallsElsewhere:
    """What is known of the other workers' calls; it is looked at no more often than every LOOK_EVERY_S, whoever asks."""

    siblings: Siblings
    calls: list[CallView] = field(factory=list, init=False)
    levels: dict[str, tuple[float | None, float | None]] = field(factory=dict, init=False)
    _looked_at: float = field(default=float("-inf"), init=False)

    async def look(self) -> None:
        """Ask the others again, if it is time."""
        if trio.current_time() < self._looked_at + LOOK_EVERY_S:
            await trio.lowlevel.checkpoint()
            return
        self._looked_at = trio.current_time()
        looks = _read(await self.siblings.look("/console/live"), LiveLook).values()
        self.calls = [view for look in looks for view in look.calls]
        self.levels = {call: levels for look in looks for call, levels in look.levels.items()}

    def has(self, call_id: str) -> bool:
        """Tell whether a call was in progress elsewhere when it was looked last."""
        return any(view.call_id == call_id for view in self.calls)


@frozen(kw_only=True)
class AllWorkers:
    """The application `own` of one worker, and the calls of the others."""

    own: ASGIApp
    access: Access
    directory: CallDirectory
    siblings: Siblings
    own_calls: Callable[[], list[CallView]]
    operations: Operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not self._may(Request(scope)):
            await self.own(scope, receive, send)  # which says why not
            return
        path, method = scope["path"], scope["method"]
        if path == f"{API_PATH}/calls" and method == "GET":
            await self._answer(scope, receive, send, self._list)
        elif path == f"{API_PATH}/drain" and method == "POST":
            await self._answer(scope, receive, send, self._drain)
        elif path == f"{API_PATH}/server" and method == "GET":
            await self._answer(scope, receive, send, self._state)
        elif (found := _OF_CALL.fullmatch(path)) is not None:
            await self._of_call(found[1] or found[2], scope, receive, send)
        else:
            await self.own(scope, receive, send)

    def _may(self, request: Request) -> bool:
        try:
            self.access.check(request)
        except HTTPException:
            return False
        return True

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, endpoint: Callable[[Request], Awaitable[Response]]
    ) -> None:
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except HTTPException as error:
            response = await error_answer(request, error)
        await response(scope, receive, send)

    async def _list(self, _request: Request) -> Response:
        answers = await self.siblings.look(f"{API_PATH}/calls")
        calls = [*self.own_calls(), *(view for each in _read(answers, CallList).values() for view in each.calls)]
        return json_answer(CallList(sorted(calls, key=lambda call: call.started_at), _silent(answers)))

    async def _state(self, _request: Request) -> Response:
        return json_answer(self._together(await self.siblings.look(f"{API_PATH}/server")))

    async def _drain(self, _request: Request) -> Response:
        answers = await self.siblings.tell(f"{API_PATH}/drain")
        self.operations.begin_draining()
        return json_answer(self._together(answers), status=202)

    def _together(self, answers: Answers) -> ServerView:
        own = self.operations.view()
        views = _read(answers, ServerView) | {self.siblings.number: own}
        rows = [msgspec.structs.replace(views[number].workers[0], worker=number) for number in sorted(views)]
        return of_all(own.version, rows, _silent(answers))

    # --- one call

    async def _of_call(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        is_feed = scope["path"].endswith("/events")
        number = None if self.directory.named(name) is not None else await self._who_has(name, APPEAR_LIMIT_S if is_feed else 0)
        if number is not None:
            await self._hand_to(number, scope, receive, send)
        elif is_feed and self.directory.named(name) is None:
            await self._answer(scope, receive, send, _no_such_call)
        else:
            await self.own(scope, receive, send)

    async def _who_has(self, name: str, wait_s: float) -> int | None:
        """Find the worker that has a call; None: we have it by now, or nobody has."""
        until = trio.current_time() + wait_s
        while True:
            number = await self.siblings.find(f"{API_PATH}/calls/{quote(name, safe='')}")
            if number is not None:
                return number
            if self.directory.named(name) is not None or trio.current_time() >= until:
                return None
            await trio.sleep(APPEAR_EVERY_S)

    async def _hand_to(self, number: int, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            body = await read_body(request)
            kind = Headers(scope=scope).get("content-type", "application/json")
            async with self.siblings.asked(number, scope["method"], quote(scope["path"]), body, kind) as answer:
                await _pass_on(answer, receive, send)
        except SiblingLost as lost:
            response = await error_answer(request, HTTPException(503, f"{lost}; ask again"))
            await response(scope, receive, send)
        except HTTPException as error:
            response = await error_answer(request, error)
            await response(scope, receive, send)


async def _no_such_call(request: Request) -> Response:
    raise HTTPException(404, f"no call {request.url.path.split('/')[-2]!r} is in progress")


def _silent(answers: Answers) -> list[int]:
    return sorted(number for number, answer in answers.items() if answer is None)


def _read(answers: Answers, kind: type[_Read]) -> dict[int, _Read]:
    """What those said who did answer, and in our words: one that was started after an update may have others."""
    found = {}
    for number, answer in answers.items():
        if answer is not None and answer.is_success:
            try:
                found[number] = msgspec.json.decode(answer.content, type=kind)
            except msgspec.DecodeError as error:
                log.warning("a worker is of another version: its calls are not shown", worker=number, reason=str(error))
    return found


async def _pass_on(answer: httpx2.Response, receive: Receive, send: Send) -> None:
    """Give an answer to our client as it comes, until it ends, breaks off, or the client has gone."""
    from httpx2 import TransportError  # noqa: PLC0415 - a process that has no siblings does without

    headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items() if name in _KEPT_HEADERS]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
        try:
            async for piece in answer.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except TransportError:
            pass  # its worker has died: what was said is all that there is
        nursery.cancel_scope.cancel()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive, serving: trio.CancelScope) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()
    serving.cancel()
