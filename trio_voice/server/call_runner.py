"""One call, from the carrier's upgrade to its end.

The nursery in `CallRunner.run` is the call's life: both readers, both writers, the alarm, the model's sessions and the tools live
in it, and when it is left nothing of the call is left. `feed` is a plain function: between an event and the commands that answer
it nothing can happen. The alarm is one cancel scope whose deadline is the state machine's next deadline.

Two guards stand at the border. Around each task: an unexpected error is logged once, with its traceback and the marker
REALTIME_FATAL, and told to the state machine, which says sorry and hangs up. Around the call: if even that fails, the call is
closed hard. No other call notices.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
import trio
from attrs import define, field, frozen

from trio_voice.audio.g711 import FRAME_BYTES, ulaw_to_pcm16
from trio_voice.audio.levels import band_level_dbfs, rms_dbfs
from trio_voice.core import commands as c
from trio_voice.core.call import Call
from trio_voice.core.events import (
    CallerAudio,
    CallerHungUp,
    CallStarted,
    DigitPressed,
    Event,
    FatalErrorRaised,
    HangUpAsked,
    ModelAudio,
    OutboxOverran,
    PlaybackMarked,
    ToolFinished,
)
from trio_voice.core.settings import CallSettings, Wording
from trio_voice.dialects.base import (
    Dialect,
    DigitReceived,
    MarkEchoed,
    MarkSource,
    Oddity,
    StreamAudio,
    StreamEvent,
    StreamFault,
    StreamStarted,
    StreamStopped,
)
from trio_voice.realtime.settings import SessionSettings
from trio_voice.server.model import ModelEndpoint, ModelSession
from trio_voice.server.outbox import Outbox
from trio_voice.server.websocket import MessageSocket, SocketClosed
from trio_voice.storage.journal import Header, JournalWriter

log = structlog.get_logger(__name__)

NORMAL_CLOSURE = 1000
POLICY_VIOLATION = 1008
CLOSE_REASON_LIMIT = 100
"""A Close carries at most 123 bytes of reason (RFC 6455, section 5.5)."""
LEVEL_EVERY_FRAMES = 2
HANG_UP_TOOL = "hang_up"


class Record(Protocol):
    """Takes the lines of a call's journal. It must not wait."""

    def __call__(self, line: str, *, frame: bool = False) -> None:
        """Take one line; `frame` marks those of single audio frames, which people who watch are spared."""


@frozen(kw_only=True)
class CallPlan:
    """Everything that calls have in common."""

    endpoint: ModelEndpoint
    session: SessionSettings
    settings: CallSettings = field(factory=CallSettings)
    wording: Wording = field(factory=Wording)
    apology: bytes = b""
    version: str = "0"
    keep_audio: bool = False
    start_limit_s: float = 10.0
    """How long a carrier may take from the upgrade to the start of its stream."""


@define(eq=False)
class CallRunner:
    """One call."""

    plan: CallPlan
    dialect: Dialect
    socket: MessageSocket
    started: StreamStarted
    call_id: str
    record: Record
    call: Call = field(init=False)
    end_reason: str = field(default="", init=False)
    oddities: Counter[str] = field(factory=Counter, init=False)
    _journal: JournalWriter = field(init=False)
    _origin: float = field(init=False)
    _outbox: Outbox = field(init=False)
    _sessions: dict[int, ModelSession] = field(factory=dict, init=False)
    _nursery: trio.Nursery | None = field(default=None, init=False)
    _alarm: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _events: deque[Event] = field(factory=deque, init=False)
    _feeding: bool = field(default=False, init=False)
    _frames: int = field(default=0, init=False)
    _goodbye: tuple[int, str] = field(default=(NORMAL_CLOSURE, ""), init=False)

    def __attrs_post_init__(self) -> None:
        plan, marks = self.plan, self.dialect.capabilities.mark is MarkSource.NATIVE
        self.call = Call(plan.settings, plan.wording, plan.apology, marks)
        self._journal = JournalWriter(plan.keep_audio)
        self._origin = trio.current_time()
        self._outbox = Outbox(
            self.socket, on_overrun=lambda: self.feed(OutboxOverran("caller")), on_unsent=lambda _event_id: None
        )
        self.record(
            self._journal.header(
                Header(
                    call_id=self.call_id,
                    call_sid=self.started.call_sid,
                    started_at=datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
                    version=plan.version,
                    settings=plan.settings,
                    wording=plan.wording,
                    marks=marks,
                    apology=plan.apology,
                )
            )
        )

    # --- the call's life

    async def run(self) -> str:
        """Live the call; returns why it ended. Raises nothing but what cancels it."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._guarded, "caller's writer", self._outbox.run)
                nursery.start_soon(self._guarded, "alarm", self._ring)
                nursery.start_soon(self._guarded, "caller's reader", self._read_caller)
                self.feed(CallStarted(self.started.call_sid))
        finally:
            self._nursery = None
            await self.socket.close(*self._goodbye)
        return self.end_reason

    async def _guarded(self, what: str, task: Callable[..., Awaitable[None]], *args: object) -> None:
        try:
            await task(*args)
        except Exception as error:
            log.exception("REALTIME_FATAL", task=what)
            self._fail(f"{what}: {type(error).__name__}")

    def _fail(self, reason: str) -> None:
        """Tell the state machine of an unexpected error; if it cannot cope, close the call hard."""
        self._feeding = False
        self._events.clear()
        try:
            self.feed(FatalErrorRaised(reason))
        except Exception:
            log.exception("the state machine failed too: the call is closed", task=reason)
            self._over(reason)

    # --- events in, commands out

    @property
    def now(self) -> float:
        """Seconds since the call began, in whole microseconds: what the journal shows is exactly what was decided on."""
        return round(trio.current_time() - self._origin, 6)

    def feed(self, event: Event) -> None:
        """Tell the state machine what happened and do what it says, before anything else can happen."""
        if self.end_reason:
            return  # the call is over
        self._events.append(event)
        if self._feeding:
            return  # a command had an event of its own: it is next
        self._feeding = True
        while self._events:
            event, now = self._events.popleft(), self.now
            self.record(self._journal.event(now, event), frame=type(event) in _FRAMES)
            self._perform(self.call.receive(event, now), now)
        self._feeding = False
        self._set_alarm()

    def _perform(self, commands: list[c.Command], now: float) -> None:
        for command in commands:
            self.record(self._journal.command(now, command), frame=type(command) in _FRAMES)
            perform = _PERFORM.get(type(command))
            if perform is not None:
                perform(self, command)

    async def _ring(self) -> None:
        """The call's alarm: sleep until the next deadline, which every event may move."""
        while True:
            with trio.CancelScope() as self._alarm:
                self._set_alarm()
                await trio.sleep_forever()
            self._fire()

    def _set_alarm(self) -> None:
        deadline = self.call.next_deadline()
        self._alarm.deadline = math.inf if deadline is None else self._origin + deadline

    def _fire(self) -> None:
        while (deadline := self.call.next_deadline()) is not None and self._origin + deadline <= trio.current_time():
            timer, now = self.call.next_timer(), max(self.now, deadline)
            assert timer is not None
            self.record(self._journal.timer(now, timer))
            self._feeding = True
            self._perform(self.call.handle_timer(now), now)
            self._feeding = False
        if self._events:
            self.feed(self._events.popleft())

    # --- the caller's leg

    async def _read_caller(self) -> None:
        try:
            while True:
                for event in self.dialect.decode(await self.socket.receive()):
                    self._hear(event)
        except SocketClosed as closed:
            self.feed(CallerHungUp(f"the caller's line was closed ({closed.code})"))

    def _hear(self, event: StreamEvent) -> None:
        match event:
            case StreamAudio(audio=audio):
                self._frames += 1
                self.feed(CallerAudio(audio, self._level_dbfs(audio) if self._frames % LEVEL_EVERY_FRAMES == 0 else None))
            case MarkEchoed(name=name):
                self.feed(PlaybackMarked(name))
            case DigitReceived(digit=digit):
                self.feed(DigitPressed(digit))
            case StreamStopped(reason=reason):
                self.feed(CallerHungUp(reason))
            case Oddity(kind=kind, text=text):
                self.oddities[kind.value] += 1
                self._remark("the carrier sent something odd", kind=kind.value, detail=text)
            case StreamFault(text=text):
                self._remark("the carrier broke its protocol", detail=text)
                self._goodbye = (POLICY_VIOLATION, text[:CLOSE_REASON_LIMIT])
                self.feed(CallerHungUp(text))
            case StreamStarted():
                pass

    def _level_dbfs(self, audio: bytes) -> float | None:
        if not audio:
            return None
        pcm16 = ulaw_to_pcm16(audio)
        return round(band_level_dbfs(pcm16) if len(audio) == FRAME_BYTES else rms_dbfs(pcm16), 1)

    def _remark(self, event: str, **facts: object) -> None:
        log.warning(event, **facts)
        told = ", ".join(f"{name}: {value}" for name, value in facts.items())
        self.record(self._journal.remark(self.now, f"{event} ({told})"))

    # --- commands

    def _play(self, command: c.PlayAudio) -> None:
        for message in self.dialect.encode(command):
            self._outbox.put(message, droppable=True)

    def _clear(self, command: c.ClearPlayback) -> None:
        for message in self.dialect.encode(command):
            self._outbox.put_first(message)

    def _hang_up(self, command: c.HangUp) -> None:
        self._outbox.close_after(reason=command.reason)

    def _open_session(self, command: c.OpenSession) -> None:
        session = ModelSession(command.session, self.plan.endpoint, self.plan.session, self.feed)
        self._sessions[command.session] = session
        self._start("model session", session.run, command.delay_s)

    def _close_session(self, command: c.CloseSession) -> None:
        session = self._sessions.pop(command.session, None)
        if session is not None:
            session.close()

    def _tell_model(self, command: Any) -> None:
        session = self._sessions.get(command.session)
        if session is not None:
            session.send(command)

    def _run_tool(self, command: c.RunTool) -> None:
        if command.name == HANG_UP_TOOL:
            self.feed(HangUpAsked("the agent ended the call"))
            self.feed(ToolFinished(command.tool_call_id, '{"ok": true}'))
        else:
            self.feed(ToolFinished(command.tool_call_id, f'{{"error": "there is no tool {command.name}"}}'))

    def _close(self, command: c.Close) -> None:
        self._over(command.reason)

    def _start(self, what: str, task: Callable[..., Awaitable[None]], *args: object) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._guarded, what, task, *args)

    def _over(self, reason: str) -> None:
        self.end_reason = reason
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()


_FRAMES = frozenset({CallerAudio, ModelAudio, c.AppendAudio, c.PlayAudio})

_PERFORM: Mapping[type[c.Command], Callable[[CallRunner, Any], None]] = {
    c.PlayAudio: CallRunner._play,
    c.SendMark: CallRunner._play,
    c.ClearPlayback: CallRunner._clear,
    c.HangUp: CallRunner._hang_up,
    c.OpenSession: CallRunner._open_session,
    c.CloseSession: CallRunner._close_session,
    c.AppendAudio: CallRunner._tell_model,
    c.CreateResponse: CallRunner._tell_model,
    c.CancelResponse: CallRunner._tell_model,
    c.TruncateItem: CallRunner._tell_model,
    c.DeleteItem: CallRunner._tell_model,
    c.AddText: CallRunner._tell_model,
    c.SendToolResult: CallRunner._tell_model,
    c.ClearInput: CallRunner._tell_model,
    c.RunTool: CallRunner._run_tool,
    c.Close: CallRunner._close,
}
