"""From a carrier's upgrade to a running call, and to its record: what happens around `CallRunner`."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog
import trio
from attrs import define, field

from trio_voice.core.call import Call
from trio_voice.dialects.base import Dialect, Oddity, StreamFault, StreamStarted
from trio_voice.dialects.registry import dialect_named
from trio_voice.server.admission import Admission, EntryFault, Refused
from trio_voice.server.call_plan import CallPlan
from trio_voice.server.call_runner import CallRunner
from trio_voice.server.call_watch import Listener
from trio_voice.server.directory import CallDirectory, Handle, LiveCall, Standing
from trio_voice.server.front_door import MediaRequest
from trio_voice.server.message_socket import POLICY_VIOLATION, MessageSocket, SocketClosed
from trio_voice.server.oddities import Oddities
from trio_voice.server.pace import Pace
from trio_voice.server.tokens import Ticket
from trio_voice.storage.journal_file import JournalFile
from trio_voice.storage.writing import Writing

log = structlog.get_logger(__name__)

HangUp = Callable[[StreamStarted], Awaitable[None]]
"""Ends a call at its carrier, within a bounded time. It raises nothing but what cancels it."""


Witness = Callable[[LiveCall], AbstractAsyncContextManager[Listener | None]]
"""Is there while a call lives, and may listen; it leaves when the call is over and its journal complete. It must end in time, and
raise nothing but what cancels it."""


def new_call_id(now: datetime) -> str:
    """Make a call's id: it sorts by time, and cannot be guessed."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


@define(eq=False)
class Answering:
    """Answers the media requests of the front door, each with a call of its own."""

    plan: CallPlan
    directory: CallDirectory
    calls_folder: Path
    journals: Writing
    """Writes the journals; it runs beside this."""
    admission: Admission = field(factory=Admission)
    hang_up: HangUp | None = None
    """Ends a call at its carrier after we have ended it; None: closing its stream is all that is done."""
    redact: Callable[[str], str] = str
    """Takes out of a journal's lines what must not be written down."""
    witnesses: Sequence[Witness] = ()
    """Who is there in every call; they leave in the reverse order."""
    goes_on_elsewhere: Container[str] = frozenset()
    """The carrier's ids of calls that it takes over when we have ended our part: they are not ended there."""
    _departures: Pace = field(factory=Pace, init=False)
    """Of those who leave before their stream has started: nothing keeps a thousand from doing so in the same moment."""

    async def __call__(self, request: MediaRequest) -> None:
        """Live one call. It raises SocketClosed when the carrier leaves before it is answered, and what cancels it."""
        dialect = dialect_named(request.dialect)
        if dialect is None:
            await request.reject(404, f"no dialect is called {request.dialect}")
            return
        entry = self.admission.entry(dialect.name, request.path, request.token, request.remote, request.headers)
        with entry as verdict:  # a place is taken before the stream is accepted
            if isinstance(verdict, Refused):
                log.warning("a call was refused", reason=verdict.fault.value)
                await request.reject(verdict.status, verdict.text)
                return
            await self._answer(request, dialect, verdict.ticket)

    async def _answer(self, request: MediaRequest, dialect: Dialect, ticket: Ticket | None) -> None:
        call_id = new_call_id(datetime.now(UTC))
        with structlog.contextvars.bound_contextvars(call_id=call_id):
            socket = await request.accept(dialect.capabilities.subprotocol)
            oddities = Oddities()
            started = await self._wait_for_start(socket, dialect, oddities)
            if started is None:
                return
            if ticket is not None and not ticket.opens(started.call_sid):
                await self._refuse(socket, self.admission.refuse(EntryFault.WRONG_CALL).text)
                return
            self.admission.note_answered(started.call_sid)
            with structlog.contextvars.bound_contextvars(call_sid=started.call_sid):
                await self._live(socket, dialect, started, call_id, oddities)

    async def _wait_for_start(self, socket: MessageSocket, dialect: Dialect, oddities: Oddities) -> StreamStarted | None:
        """Wait for the stream's start; None, with the socket closed and the reason logged, if it does not come."""
        try:
            with trio.move_on_after(self.plan.start_limit_s):
                while True:
                    for event in dialect.decode(await socket.receive()):
                        match event:
                            case StreamStarted():
                                return event
                            case StreamFault(text=text):
                                await self._refuse(socket, text)
                                return None
                            case Oddity():
                                oddities.add(event)
                            case _:
                                pass
        except SocketClosed as closed:
            await self._departures.turn()
            log.warning("the carrier left before its stream started", reason=str(closed), oddities=dict(oddities.counts))
            return None
        await self._refuse(socket, f"no start within {self.plan.start_limit_s:g} s")
        return None

    async def _refuse(self, socket: MessageSocket, reason: str) -> None:
        log.warning("the stream did not start", reason=reason)
        await socket.close(POLICY_VIOLATION, reason)

    async def _live(
        self, socket: MessageSocket, dialect: Dialect, started: StreamStarted, call_id: str, oddities: Oddities
    ) -> None:
        folder = self.calls_folder / call_id
        live = LiveCall(
            call_id,
            started.call_sid,
            datetime.now(UTC),
            folder,
            dialect=dialect.name,
            caller=started.caller,
            called=started.called,
        )
        log.info("call started", dialect=dialect.name)
        began = trio.current_time()
        # Registered to the end of its journal: a server that waits for its calls waits for that too.
        async with AsyncExitStack() as stack:
            stack.enter_context(live.scope)
            stack.enter_context(self.directory.registered(live))
            present = [await stack.enter_async_context(witness(live)) for witness in self.witnesses]
            listeners = [each for each in present if each is not None]
            async with JournalFile(folder / "call.jsonl", self.journals) as journal:
                runner = CallRunner(
                    self.plan, dialect, socket, started, call_id, _Recorder(journal, live, self.redact), oddities, listeners
                )
                live.handle = Handle(runner.feed, partial(_standing, runner.call), lambda: runner.queued_bytes, runner.hand_off)
                try:
                    await runner.run()
                finally:
                    duration_s = round(trio.current_time() - began, 3)
                    log.info("call ended", reason=runner.end_reason, duration_s=duration_s, oddities=dict(oddities.counts))
            we_ended_it = bool(runner.call.parts.standing.end_reason)
            if self.hang_up is not None and we_ended_it and started.call_sid not in self.goes_on_elsewhere:
                await self.hang_up(started)


def _standing(call: Call) -> Standing:
    return Standing(call.state, call.parts.guard.state)


@define
class _Recorder:
    journal: JournalFile
    live: LiveCall
    redact: Callable[[str], str]

    def __call__(self, line: str, *, frame: bool = False) -> None:
        if frame:  # of audio alone
            self.journal.put(line)
            if self.live.metered_until:
                self.live.measure(line)
        else:
            line = self.redact(line)
            self.journal.put(line)
            self.live.measure(line)
            self.live.publish(line)
