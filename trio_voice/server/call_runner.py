"""One call, from the carrier's upgrade to its end.

The nursery in `CallRunner.run` is the call's life: both readers, both writers, the alarm, the model's sessions and the tools live
in it, and when it is left nothing of the call is left. `feed` is a plain function: between an event and the commands that answer
it nothing can happen. The alarm is one cancel scope whose deadline is the state machine's next deadline.

Time is kept in order: a deadline that is due acts before anything that happens after it, whichever task runs first. So what a
call does depends on what happened when, and not on the scheduler.

Guards stand at the border. Around the state machine and around each task: an unexpected error is logged once, with its traceback
and the marker REALTIME_FATAL, and told to the state machine, which says sorry and hangs up, while the tasks that are left go on.
If the state machine fails again, the call is closed hard. No other call notices.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
import trio
from attrs import define, field

from trio_voice.agent.agent import Agent
from trio_voice.core import commands as c
from trio_voice.core.call import Call
from trio_voice.core.events import (
    CallerAudio,
    CallStarted,
    Event,
    FatalErrorRaised,
    ModelAudio,
    SendFailed,
)
from trio_voice.dialects.base import (
    Dialect,
    MarkSource,
    StreamStarted,
)
from trio_voice.errors import LocalProtocolError
from trio_voice.server.call_control import tools_of_call
from trio_voice.server.call_plan import CallPlan
from trio_voice.server.call_watch import CallFacts, CallWatcher, Listener
from trio_voice.server.caller_leg import CallerLeg
from trio_voice.server.model import ModelSession
from trio_voice.server.oddities import Oddities
from trio_voice.server.setups import CallSetups
from trio_voice.server.tools import ToolRunner
from trio_voice.server.websocket import MessageSocket
from trio_voice.storage.journal import Header, JournalWriter

log = structlog.get_logger(__name__)

STEPS_AT_ONCE = 1000
"""Deadlines that act again and again at the same moment, for instance because a setting is 0, must not stop the other calls."""


class Record(Protocol):
    """Takes the lines of a call's journal. It must not wait."""

    def __call__(self, line: str, *, frame: bool = False) -> None:
        """Take one line, or several with newlines between them; `frame`: of audio alone, which people who watch are spared."""


@define(eq=False)
class CallRunner:
    """One call."""

    plan: CallPlan
    dialect: Dialect
    socket: MessageSocket
    started: StreamStarted
    call_id: str
    record: Record
    oddities: Oddities = field(factory=Oddities)
    listeners: Sequence[Listener] = ()
    """Who is told everything, single audio frames too."""
    call: Call = field(init=False)
    end_reason: str | None = field(default=None, init=False)
    """Why the call ended; None while it goes on."""
    _journal: JournalWriter = field(init=False)
    _watchers: list[CallWatcher] = field(init=False)
    _time: Callable[[], float] = field(factory=lambda: trio.lowlevel.current_clock().current_time, init=False)
    """Trio's clock, asked directly: this is done with every event."""
    _origin: float = field(init=False)
    _now: float = field(default=0.0, init=False)
    _leg: CallerLeg = field(init=False)
    _sessions: dict[int, ModelSession] = field(factory=dict, init=False)
    _nursery: trio.Nursery = field(init=False)
    _tools: ToolRunner | None = field(default=None, init=False)
    """None: nobody has asked for one yet."""
    _setups: CallSetups = field(init=False)
    _alarm: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _alarm_at: float = field(default=math.inf, init=False)
    _events: list[Event] = field(factory=list, init=False)
    _working: bool = field(default=False, init=False)
    _failures: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        plan, marks = self.plan, self.dialect.capabilities.mark is MarkSource.NATIVE
        self.call = Call(plan.settings, plan.wording, plan.apology, marks, comfort=plan.comfort, beep=plan.beep)
        self._setups = CallSetups(plan.first_setup, plan.wording)
        self._journal = JournalWriter(plan.keep_audio)
        facts = CallFacts(self.call_id, self.started.call_sid, self.dialect.name)
        self._watchers = [watch(facts) for watch in plan.watches]
        self._origin = trio.current_time()
        self._leg = CallerLeg(
            self.socket, self.dialect, self.feed, self._note, lambda: self.end_reason is not None, self.oddities
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
                    comfort=plan.comfort,
                    beep=plan.beep,
                )
            )
        )

    # --- the call's life

    async def run(self) -> None:
        """Live the call to its end, with the caller's socket closed; `end_reason` tells why. It raises only what cancels it."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._start("caller's writer", self._leg.write)
                self._start("caller's reader", self._leg.read)
                self.feed(CallStarted(self.started.call_sid))
                await self._guarded("alarm", self._ring)
        finally:
            for watcher in self._watchers:
                watcher.on_end(self._clock(trio.current_time()), self.end_reason or "")

    def hand_off(self, agent: Agent) -> None:
        """Let another agent go on with the call, as a tool of the call's own agent could."""
        self._runner_of_tools().context.hand_off(agent)

    @property
    def queued_bytes(self) -> int:
        """How much waits to be read by the caller's carrier."""
        return self._leg.queued_bytes

    def _runner_of_tools(self) -> ToolRunner:
        if self._tools is None:
            self._tools = self._make_tools()
        return self._tools

    def _make_tools(self) -> ToolRunner:
        return tools_of_call(
            feed=self.feed,
            note=self._note,
            is_over=lambda: self.end_reason is not None,
            nursery=self._nursery,
            threads=self.plan.threads,
            call_id=self.call_id,
            started=self.started,
            api=self.plan.api,
            setups=self._setups,
            said=self.call.parts.history.seed,
            no_digits=None
            if self.dialect.capabilities.dtmf_out
            else f"{self.dialect.name} cannot press keys over a media stream",
            limit_s=self.plan.settings.tool_limit_s,
        )

    def _start(self, what: str, task: Callable[..., Awaitable[None]], *args: object) -> None:
        self._nursery.start_soon(self._guarded, what, task, *args)

    async def _guarded(self, what: str, task: Callable[..., Awaitable[None]], *args: object) -> None:
        try:
            await task(*args)
        except* Exception as group:
            log.exception("REALTIME_FATAL", task=what)
            self.feed(FatalErrorRaised(f"{what}: {_innermost(group)}"))

    # --- events in, commands out

    def feed(self, event: Event) -> None:
        """Tell the state machine what happened and do what it says, before anything else can happen. It never raises."""
        if self._working:  # a command had an event of its own: it is next
            self._events.append(event)
        elif type(event) is CallerAudio and self.end_reason is None and (time := self._time()) < self._alarm_at:
            self._work(event, self._clock(time))
        else:
            self._events.append(event)
            self._work()

    def _work(self, frame: CallerAudio | None = None, now: float = 0.0) -> None:
        """Tell of a frame of the caller before which no deadline falls, fifty a second, or work off what waits."""
        self._working = True
        try:
            if frame is not None and self._tell_of_a_frame(frame, now) and not self._events:
                self._working = False
                return  # no deadline has moved
            self._work_off()
        except Exception as error:
            self._working = False
            self._state_machine_failed(error)
            return
        self._working = False
        deadline = None if self.end_reason is not None else self.call.parts.deadlines.next_at
        at = math.inf if deadline is None else self._origin + deadline
        if at != self._alarm_at:
            self._alarm.deadline = self._alarm_at = at

    def _work_off(self) -> None:
        """Let every deadline act that is due, and tell the state machine every event: whichever is the next."""
        time, events, deadlines = self._time(), self._events, self.call.parts.deadlines
        for _ in range(STEPS_AT_ONCE):
            if self.end_reason is not None:
                events.clear()
                return
            deadline = deadlines.next_at
            if deadline is not None and self._origin + deadline <= time and not (events and type(events[0]) is FatalErrorRaised):
                self._deadline_passed(self._clock(time, deadline))
            elif events:
                self._tell(events.pop(0), self._clock(time))
            else:
                return
        raise LocalProtocolError("the deadlines of the call do not come to rest")

    def _deadline_passed(self, now: float) -> None:
        timer = self.call.next_timer()
        assert timer is not None
        self.record(self._journal.timer(now, timer))
        self._perform(self.call.handle_timer(now), now)

    def _tell(self, event: Event, now: float) -> None:
        if type(event) is CallerAudio:
            self._tell_of_a_frame(event, now)
            return
        self.record(self._journal.event(now, event), frame=type(event) is ModelAudio)
        for listener in self.listeners:
            listener.on_event(now, event)
        for watcher in self._watchers:
            watcher.on_event(now, event)
        self._perform(self.call.receive(event, now), now)

    def _tell_of_a_frame(self, event: CallerAudio, now: float) -> bool:
        """Tell of a frame of the caller; whether it was handed on, and that was all, as nearly always."""
        for listener in self.listeners:
            listener.on_event(now, event)
        try:
            commands = self.call.receive(event, now)
        except Exception:
            self.record(self._journal.event(now, event), frame=True)
            raise
        if len(commands) == 1 and type(commands[0]) is c.AppendAudio:
            self.record(self._journal.frame(now, event, commands[0]), frame=True)
            for listener in self.listeners:
                listener.on_command(now, commands[0])
            self._tell_model(commands[0])
            return True
        self.record(self._journal.event(now, event), frame=True)
        self._perform(commands, now)
        return False

    def _perform(self, commands: list[c.Command], now: float) -> None:
        for command in commands:
            self.record(self._journal.command(now, command), frame=type(command) in _FRAMES)
            for listener in self.listeners:
                listener.on_command(now, command)
            if type(command) is not c.AppendAudio:
                for watcher in self._watchers:
                    watcher.on_command(now, command)
            perform = _PERFORM.get(type(command))
            if perform is not None:
                perform(self, command)

    def _clock(self, time: float, at_least: float = 0.0) -> float:
        """Seconds since the call began, in whole microseconds where possible: the journal shows exactly what was decided on."""
        now = int((time - self._origin) * 1e6 + 0.5) / 1e6
        if now > self._now:  # it hardly ever is not
            self._now = now
        if at_least > self._now:
            self._now = at_least
        return self._now

    async def _ring(self) -> None:
        """The call's alarm: sleep until the next deadline, which every event may move."""
        while True:
            with trio.CancelScope(deadline=self._alarm_at) as self._alarm:
                await trio.sleep_forever()
            self._work()

    def _state_machine_failed(self, error: Exception) -> None:
        self._failures += 1
        self._events.clear()
        reason = f"state machine: {type(error).__name__}"
        if self._failures == 1:
            log.error("REALTIME_FATAL", task="state machine", exc_info=error)
            self.feed(FatalErrorRaised(reason))
        else:
            log.error("the state machine failed again: the call is closed", task="state machine", exc_info=error)
            self._over(reason)
            self.record(self._journal.command(self._clock(trio.current_time()), c.Close(reason)))

    def _note(self, text: str) -> None:
        self.record(self._journal.remark(self._clock(trio.current_time()), text))

    # --- commands

    def _tell_caller(self, command: Any) -> None:
        self._leg.perform(command)

    def _open_session(self, command: c.OpenSession) -> None:
        setup = self._setups.opened(command.session, command.change)
        session = ModelSession(command.session, self.plan.endpoint, setup.session, self.feed)
        self._sessions[command.session] = session
        self._start("model session", self._run_session, session, self.plan.pause_s(command.delay_s))

    async def _run_session(self, session: ModelSession, delay_s: float) -> None:
        try:
            await session.run(delay_s)
        finally:
            self._sessions.pop(session.number, None)

    def _close_session(self, command: c.CloseSession) -> None:
        session = self._sessions.pop(command.session, None)
        if session is not None:
            session.close()

    def _update_session(self, command: c.UpdateSession) -> None:
        session = self._sessions.get(command.session)
        settings = self._setups.updated(command.session, command.change).session
        if session is None or not session.update(settings, command.change, command.event_id):
            self.feed(SendFailed(command.session, command.event_id))

    def _report_change(self, command: c.ReportChange) -> None:
        self._setups.report(command)

    def _tell_model(self, command: Any) -> None:
        session = self._sessions.get(command.session)
        if session is None or not session.send(command):
            event_id = c.event_id_of(command)
            if event_id is not None:
                self.feed(SendFailed(command.session, event_id))

    def _run_tool(self, command: c.RunTool) -> None:
        toolbox = self._setups.toolbox(command.session)
        self._runner_of_tools().run(toolbox, command.tool_call_id, command.name, command.arguments)

    def _interrupt_tools(self, command: c.InterruptTools) -> None:
        if self._tools is not None:
            self._tools.barge_in()

    def _close(self, command: c.Close) -> None:
        self._over(command.reason)

    def _over(self, reason: str) -> None:
        self.end_reason = reason
        self._nursery.cancel_scope.cancel()


def _innermost(error: BaseException) -> str:
    """The name of what was raised, out of its groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__


_FRAMES = frozenset({CallerAudio, ModelAudio, c.AppendAudio, c.PlayAudio})

_PERFORM: Mapping[type[c.Command], Callable[[CallRunner, Any], None]] = {
    c.PlayAudio: CallRunner._tell_caller,
    c.SendMark: CallRunner._tell_caller,
    c.SendDigits: CallRunner._tell_caller,
    c.ClearPlayback: CallRunner._tell_caller,
    c.HangUp: CallRunner._tell_caller,
    c.OpenSession: CallRunner._open_session,
    c.CloseSession: CallRunner._close_session,
    c.UpdateSession: CallRunner._update_session,
    c.ReportChange: CallRunner._report_change,
    c.AppendAudio: CallRunner._tell_model,
    c.CreateResponse: CallRunner._tell_model,
    c.CancelResponse: CallRunner._tell_model,
    c.TruncateItem: CallRunner._tell_model,
    c.DeleteItem: CallRunner._tell_model,
    c.AddText: CallRunner._tell_model,
    c.SendToolResult: CallRunner._tell_model,
    c.RunTool: CallRunner._run_tool,
    c.InterruptTools: CallRunner._interrupt_tools,
    c.Close: CallRunner._close,
}
