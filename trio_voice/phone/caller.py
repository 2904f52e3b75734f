"""A telephone call over a real WebSocket: the Trio side of the phone.

    async with PhoneCall.place("ws://127.0.0.1:8080/media/twilio", scenario) as call:
        ending = await call.finished()

The call lives in the block: leaving it hangs up, politely and within a bounded time. Three tasks serve it: one reads the
server's messages, one is the only writer, and one keeps the time. The last has absolute deadlines (frame n is due
(n + 1) * 20 ms after the answer), so that nothing drifts, and a stall is made up for at once, frame by frame; `lag_max_s` says
how late the latest one was, which is how a load generator knows that it was itself the bottleneck.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import cast
from urllib.parse import urlsplit

import trio
from attrs import define, field, frozen
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from trio_voice.audio.g711 import FRAME_BYTES, FRAME_MS
from trio_voice.errors import UserError
from trio_voice.phone.carrier import Carrier, Happening, Identity, LineEvent
from trio_voice.phone.connecting import open_stream
from trio_voice.phone.scenario import Performance, Scenario

FRAME_S = FRAME_MS / 1000
CONNECT_LIMIT_S = 10.0
GOODBYE_LIMIT_S = 2.0
_QUEUE_LIMIT = 5000  # messages to a server that does not read: more than a minute and a half of frames
_MESSAGE_LIMIT_BYTES = 4 * 1024 * 1024
_ROUNDING_S = 1e-9
_NORMAL_CLOSURE = 1000
_ABNORMAL_CLOSURE = 1006
_NOT_FOUND = 404

Headers = Sequence[tuple[bytes, bytes]]


class CallRefusedError(UserError):
    """No call came about: nobody listens, or the server refused the upgrade (`status` is its HTTP status)."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class EndedBy(Enum):
    """Who ended a call."""

    CALLER = "caller"
    SERVER = "server"
    LINE = "line"


@frozen
class Ending:
    """How a call ended: by whom, when (seconds since the answer), and the WebSocket's close code and reason.

    `LINE` is a connection that was lost: closed without a close frame (code 1006).
    """

    by: EndedBy
    at_s: float
    code: int
    reason: str = ""


@define(eq=False)
class PhoneCall:
    """One call, from the answer to its end. Made by `place` or `over`; read it at any time, also after its end."""

    scenario: Scenario
    carrier: Carrier
    performance: Performance
    ending: Ending | None = field(default=None, init=False)
    lag_max_s: float = field(default=0.0, init=False)
    answered: datetime | None = field(default=None, init=False)
    """The wall clock's time at the answer."""
    _socket: WebSocketConnection
    _outgoing: trio.MemorySendChannel[str]
    _to_send: trio.MemoryReceiveChannel[str]
    _frames: int = field(default=0, init=False)
    _hang_up_asked: bool = field(default=False, init=False)
    _alarm: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _writing: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _over: trio.Event = field(factory=trio.Event, init=False)
    _readers: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    # --- opening

    @staticmethod
    @asynccontextmanager
    async def place(
        url: str,
        scenario: Scenario,
        *,
        identity: Identity | None = None,
        headers: Headers = (),
        connect_limit_s: float = CONNECT_LIMIT_S,
    ) -> AsyncIterator[PhoneCall]:
        """Call a media URL (`ws://` or `wss://`). Raises CallRefusedError when no call comes about."""
        host, port, path, tls = _parts_of(url)
        async with await _connect(url, host, port, tls, connect_limit_s) as stream:
            name = f"[{host}]" if ":" in host else host
            name += "" if port in {80, 443} else f":{port}"
            over = PhoneCall.over(
                stream, scenario, identity=identity, host=name, path=path, headers=headers, connect_limit_s=connect_limit_s
            )
            async with over as call:
                yield call

    @staticmethod
    def over(
        stream: trio.abc.Stream,
        scenario: Scenario,
        *,
        identity: Identity | None = None,
        host: str = "phone.invalid",
        path: str = "/media/twilio",
        headers: Headers = (),
        connect_limit_s: float = CONNECT_LIMIT_S,
    ) -> AbstractAsyncContextManager[PhoneCall]:
        """Call over a stream that is already open (a memory stream in tests). Raises CallRefusedError as `place` does."""
        who = identity or Identity.made_up()
        return _call_over(_Line(stream, scenario, who, host, path, list(headers), connect_limit_s))

    # --- while it lasts

    def hang_up(self) -> None:
        """End the call as a caller who puts the receiver down: `stop`, then the socket is closed."""
        self._hang_up_asked = True
        self._alarm.deadline = -math.inf

    async def finished(self) -> Ending:
        """Wait for the call's end (it is bounded by the scenario's limit)."""
        await self._over.wait()
        assert self.ending is not None
        return self.ending

    async def events(self) -> AsyncIterator[LineEvent]:
        """Follow what happens on the line, from the answer to the end, as it happens."""
        seen = 0
        while True:
            while seen < len(self.carrier.events):
                seen += 1
                yield self.carrier.events[seen - 1]
            if self._over.is_set():
                return
            await self._readers.park()

    # --- the three tasks

    async def serve(self) -> None:
        """Live through the call; `place` and `over` run this, in a task that only the call's own end ends."""
        try:
            async with trio.open_nursery() as line:
                line.start_soon(self._read, line.cancel_scope)
                line.start_soon(self._keep_time)
                with self._writing:
                    await self._write()
                line.cancel_scope.cancel()
        finally:
            self._lost(_ABNORMAL_CLOSURE, "")

    async def _read(self, line: trio.CancelScope) -> None:
        while True:
            try:
                message = await self._socket.get_message()
            except ConnectionClosed as closed:
                if closed.reason is not None:
                    self._lost(closed.reason.code, closed.reason.reason or "")
                line.cancel()
                return
            self._send(self.carrier.receive(message, trio.current_time()))
            self._alarm.deadline = min(self._alarm.deadline, self._next_deadline())

    async def _write(self) -> None:
        try:
            async for message in self._to_send:
                await self._socket.send_message(message)
            await self._socket.aclose()
        except ConnectionClosed:
            await trio.sleep_forever()  # the reading task knows how it was closed, once it has read what came before

    async def _keep_time(self) -> None:
        self.answered = datetime.now(UTC)
        self._send(self.carrier.answer(trio.current_time()))
        while not self._hang_up_asked:
            with trio.CancelScope(deadline=self._next_deadline()) as self._alarm:
                await trio.sleep_forever()
            self._catch_up(trio.current_time())
        now = trio.current_time()
        self._send(self.carrier.stop(now))
        self._outgoing.close()
        self._writing.deadline = now + GOODBYE_LIMIT_S

    # --- between two awaits

    def _frame_due(self) -> float:
        return self.carrier.answered_at + (self._frames + 1) * FRAME_S

    def _next_deadline(self) -> float:
        mark_due = self.carrier.next_deadline()
        return self._frame_due() if mark_due is None else min(mark_due, self._frame_due())

    def _catch_up(self, now: float) -> None:
        self._send(self.carrier.advance(now))
        while now >= (due := self._frame_due()) - _ROUNDING_S and not self._hang_up_asked:
            self.lag_max_s = max(self.lag_max_s, now - due)
            self._live_a_frame(now)

    def _live_a_frame(self, now: float) -> None:
        begin = self._frames * FRAME_BYTES
        frame = self.performance.perform(bytes(self.carrier.heard[begin : begin + FRAME_BYTES]))
        self._frames += 1
        self.carrier.events += self.performance.events
        self.performance.events.clear()
        self._send([self.carrier.speak(frame.said), *(self.carrier.press(digit, now) for digit in frame.digits)])
        self._hang_up_asked |= frame.hangs_up

    def _send(self, messages: Sequence[str]) -> None:
        try:
            for message in messages:
                self._outgoing.send_nowait(message)
        except trio.WouldBlock:
            if not self._hang_up_asked:
                self.carrier.tell(self.carrier.heard_s, Happening.WARNING, "the server does not read: the caller hangs up")
            self.hang_up()
        self._readers.unpark_all()

    def _lost(self, code: int, reason: str) -> None:
        if self.ending is not None:
            return
        by = EndedBy.LINE if code == _ABNORMAL_CLOSURE else EndedBy.SERVER
        if not self.carrier.streaming:
            by, code, reason = EndedBy.CALLER, _NORMAL_CLOSURE, ""
        self.carrier.cut_off(trio.current_time())
        self.ending = Ending(by, self.carrier.heard_s, code, reason)
        detail = f"by the {by.value}, code {code}" + (f": {reason}" if reason else "")
        self.carrier.tell(self.ending.at_s, Happening.CLOSED, detail)
        self._over.set()
        self._readers.unpark_all()


# --- opening -----------------------------------------------------------------------------------------------------------


@define(eq=False)
class _Line:
    """What a call needs to come about over an open stream."""

    stream: trio.abc.Stream
    scenario: Scenario
    identity: Identity
    host: str
    path: str
    headers: list[tuple[bytes, bytes]]
    connect_limit_s: float

    async def open(self, task_status: trio.TaskStatus[PhoneCall]) -> None:
        """Upgrade, hand the call over, and serve it; from there on only its own end ends it, not a cancellation around it."""
        with trio.CancelScope() as goodbye:
            async with trio.open_nursery() as nursery:
                try:
                    socket = await self._upgrade(nursery)
                    goodbye.shield = True
                    outgoing, to_send = trio.open_memory_channel[str](_QUEUE_LIMIT)
                    carrier = Carrier(self.identity)
                    call = PhoneCall(self.scenario, carrier, Performance(self.scenario), socket, outgoing, to_send)
                    task_status.started(call)
                    await call.serve()
                finally:
                    await trio.aclose_forcefully(self.stream)
                nursery.cancel_scope.cancel()

    async def _upgrade(self, nursery: trio.Nursery) -> WebSocketConnection:
        try:
            with trio.fail_after(self.connect_limit_s):
                return await wrap_client_stream(
                    nursery,
                    cast("trio.SocketStream", self.stream),  # any stream will do: only the annotation there is narrower
                    self.host,
                    self.path,
                    extra_headers=self.headers,
                    max_message_size=_MESSAGE_LIMIT_BYTES,
                )
        except trio.TooSlowError:
            raise CallRefusedError(
                f"{self.host}{self.path}: no answer to the WebSocket upgrade within {self.connect_limit_s:g} s; "
                "is it a media URL?"
            ) from None


@asynccontextmanager
async def _call_over(line: _Line) -> AsyncIterator[PhoneCall]:
    error_of_the_block: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            call = await nursery.start(line.open)
            try:
                yield call
            except BaseException as error:  # also a cancellation: whatever it is, it leaves as it came, out of no group of ours
                error_of_the_block = error
                raise
            finally:
                call.hang_up()
                with trio.CancelScope(shield=True):
                    await call.finished()
    except BaseExceptionGroup as group:  # the nurseries are our own business
        if error_of_the_block is not None and group.exceptions == (error_of_the_block,):
            raise error_of_the_block from error_of_the_block.__cause__
        refusals, others = group.split((ConnectionRejected, CallRefusedError))
        if refusals is None or others is not None:
            raise
        raise _refused(line, refusals) from None


def _refused(line: _Line, group: BaseExceptionGroup) -> CallRefusedError:
    rejection: BaseException = group
    while isinstance(rejection, BaseExceptionGroup):
        rejection = rejection.exceptions[0]
    if isinstance(rejection, CallRefusedError):
        return rejection
    assert isinstance(rejection, ConnectionRejected)
    says = (rejection.body or b"").decode("utf-8", "replace").strip().splitlines()
    status = rejection.status_code
    return CallRefusedError(
        f"{line.host}{line.path}: the server refused the call with HTTP status {status}"
        + (f" ({says[0][:200]})" if says else "; is this the path of a media URL?" if status == _NOT_FOUND else ""),
        status,
    )


def _parts_of(url: str) -> tuple[str, int, str, bool]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise CallRefusedError(f"{url}: not a URL ({error})") from None
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise CallRefusedError(f"{url}: not a media URL; give one like ws://127.0.0.1:8080/media/twilio")
    tls = parts.scheme == "wss"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.hostname, port or (443 if tls else 80), path, tls


async def _connect(url: str, host: str, port: int, tls: bool, limit_s: float) -> trio.abc.Stream:
    try:
        with trio.fail_after(limit_s):
            return await open_stream(host, port, tls=tls)
    except trio.TooSlowError:
        raise CallRefusedError(f"{url}: no connection within {limit_s:g} s") from None
    except (OSError, trio.BrokenResourceError) as error:
        reason = error.__cause__ if isinstance(error, trio.BrokenResourceError) and error.__cause__ else error
        raise CallRefusedError(f"{url}: nobody answers there ({reason}); is the server running?") from None
