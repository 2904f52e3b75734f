"""A call that is watched: after every event and every deadline, what it commanded is held against the invariants.

The watcher knows only what any outsider knows: the events that it passed on, the names of the deadlines that acted, and the
commands that came back. From these it keeps its own books of responses, items, sessions, tools and turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import attrs
from attrs import define, field

from trio_voice.core import commands as c
from trio_voice.core import events as e
from trio_voice.core.call import Call
from trio_voice.core.deadlines import Timer
from trio_voice.core.lifeline import Lifeline
from trio_voice.core.model import ALREADY_ACTIVE, CANCEL_NOT_ACTIVE
from trio_voice.core.settings import Turns
from trio_voice.core.states import CallState, ChangeState, ResponseState, TurnState

MOST_ENTRIES = 400
"""No list, queue or table of a call is longer than this; the conversation so far is bounded by itself (200)."""

_ALLOWED = {  # purposes that may be asked for where the call stands
    CallState.CONNECTING: frozenset[c.Purpose](),
    CallState.GREETING: frozenset({c.Purpose.GREETING}),
    CallState.CONVERSING: frozenset(c.Purpose),
    CallState.GOODBYE: frozenset({c.Purpose.FAREWELL}),
    CallState.LEAVING: frozenset[c.Purpose](),
    CallState.HANGING_UP: frozenset[c.Purpose](),
    CallState.CLOSED: frozenset[c.Purpose](),
}
_LEADS_OUT = {
    ResponseState.IDLE: frozenset[Timer](),
    ResponseState.REQUESTED: frozenset({Timer.CREATED}),
    ResponseState.DOOMED: frozenset({Timer.CREATED}),
    ResponseState.ACTIVE: frozenset({Timer.FIRST_AUDIO, Timer.AUDIO_GAP}),
    ResponseState.CANCELLING: frozenset({Timer.DONE}),
    ResponseState.BLOCKED: frozenset({Timer.BLOCKED}),
}
_OF_AN_END = {
    CallState.LEAVING: frozenset({Timer.HANG_UP_FALLBACK, Timer.MARK, Timer.PLAYBACK_END}),
    CallState.HANGING_UP: frozenset({Timer.HANG_UP}),
}
_OF_A_RESPONSE = frozenset().union(*_LEADS_OUT.values())
_OF_A_TURN = {
    TurnState.QUIET: frozenset[Timer](),
    TurnState.SPEAKING: frozenset({Timer.SPEECH_LIMIT}),
    TurnState.ENDING: frozenset({Timer.TURN_END}),
    TurnState.COMMITTING: frozenset({Timer.COMMIT}),
    TurnState.OWED: frozenset({Timer.WATCHDOG}),
}


@define
class Checked:
    """One call and what is known about it. `receive` and `ring` return what was commanded, after checking it."""

    call: Call
    now: float = 0.0
    active: str | None = None
    requested: int | None = None
    known: set[str] = field(factory=set)
    over: set[str] = field(factory=set)
    cancelled: set[str] = field(factory=set)
    cut: set[str] = field(factory=set)
    cut_last: set[str] = field(factory=set)
    on_line: set[str] = field(factory=set)
    sent_bytes: dict[str, int] = field(factory=dict)
    heard_ms: dict[str, int] = field(factory=dict)
    truncated: dict[str, int] = field(factory=dict)
    deleted: set[str] = field(factory=set)
    serving: int | None = None
    opened: int = 0
    living: set[int] = field(factory=set)
    tools_run: set[str] = field(factory=set)
    tools_answered: set[str] = field(factory=set)
    changes_asked: set[int] = field(factory=set)
    changes_told: set[int] = field(factory=set)
    owed: set[str] = field(factory=set)
    asked_for: set[str] = field(factory=set)
    marks: list[str] = field(factory=list)
    ended: list[str] = field(factory=list)
    weigh: bool = True
    story: deque[str] = field(factory=lambda: deque(maxlen=200), eq=False)

    def receive(self, event: e.Event) -> list[c.Command]:
        """Pass an event on."""
        self.story.append(f"{self.now:9.6f} >> {event}")
        serving = self.serving = self.call.parts.standing.session
        was = self.call.state
        commands = self.call.receive(event, self.now)
        stale = isinstance(event, e.ModelEvent) and event.session != serving
        if stale:
            assert commands in ([c.Discard(c.Refusal.STALE_SESSION)], [])
        elif was not in (CallState.HANGING_UP, CallState.CLOSED):
            self._note(event, commands)
        self._check(commands)
        return commands

    def ring(self) -> list[c.Command]:
        """Let the next deadline act, at its moment."""
        deadline, timer = self.call.next_deadline(), self.call.next_timer()
        assert deadline is not None
        assert timer is not None
        self.now = max(self.now, deadline)
        self.story.append(f"{self.now:9.6f} >> the deadline {timer.value}")
        self.serving = self.call.parts.standing.session
        commands = self.call.handle_timer(self.now)
        cancelled = any(isinstance(command, c.CancelResponse) for command in commands)
        if timer is Timer.DONE or (timer is Timer.BLOCKED and not cancelled):
            self._over(self.active)
        again = any(isinstance(command, c.CreateResponse) for command in commands)
        if timer in (Timer.CREATED, Timer.BLOCKED) or (timer is Timer.WATCHDOG and (again or self.call.parts.guard.idle)):
            self.requested = None
        self._check(commands)
        return commands

    def wait(self, seconds: float) -> None:
        """Let time pass, and every deadline on the way act."""
        until = self.now + seconds
        while (deadline := self.call.next_deadline()) is not None and deadline <= until:
            self.ring()
        self.now = max(self.now, until)

    # --- the books

    def _note(self, event: e.Event, commands: list[c.Command]) -> None:
        dropped = any(isinstance(command, c.Discard) for command in commands)
        match event:
            case e.ResponseCreated(response_id=response_id) if not dropped and self.call.parts.guard.response_id == response_id:
                self._over(self.active)
                self.active = response_id
                self.known.add(response_id)
                unasked = self.requested is None
                self.requested = None
                if not any(isinstance(command, c.CancelResponse) for command in commands):
                    self.owed -= self.owed if unasked else self.asked_for
            case e.ResponseDone(response_id=response_id):
                self._over(response_id)
            case e.SpeechStarted() if self.call.settings.turns is Turns.MODEL and self.call.parts.guard.response_id is None:
                self._over(self.active)  # the model has cut itself off
            case e.ModelErred(code=code, event_id=event_id, message=message):
                self._note_error(code, event_id, message)
            case e.ChangeAsked(change=change):
                self.changes_asked.add(change)
                self.changes_told.discard(change)
            case e.SendFailed(event_id=event_id):
                if event_id == f"create-{self.requested}":
                    self.requested = None
                if event_id == f"cancel-{self.active}":
                    self.cancelled.discard(str(self.active))
            case e.SessionLost(session=session):
                self._session_over(session)
            case e.TurnCommitted(item_id=item_id) if not dropped:
                self.owed.add(item_id)
            case _:
                pass

    def _note_error(self, code: str | None, event_id: str | None, message: str) -> None:
        if code == CANCEL_NOT_ACTIVE and event_id in (None, f"cancel-{self.active}") and self.active in self.cancelled:
            self._over(self.active)
        elif code == ALREADY_ACTIVE and event_id in (None, f"create-{self.requested}") and self.requested is not None:
            self.requested = None
            self.active = self.call.parts.guard.response_id
            self.known |= {self.active} if self.active is not None else set()
        elif self.requested is not None and event_id == f"create-{self.requested}":
            self.requested = None

    def _over(self, response_id: str | None) -> None:
        if response_id is not None:
            self.over.add(response_id)
            self.known.add(response_id)
        if response_id == self.active or self.active in self.over:
            self.active = None

    def _session_over(self, session: int) -> None:
        if session not in self.living:
            return
        self.living.discard(session)
        if session == self.serving:
            self._over(self.active)
            self.requested = None
            self.asked_for = set()

    # --- what was commanded

    def _check(self, commands: list[c.Command]) -> None:
        self.story.extend(f"          << {command}" for command in commands)
        try:
            self._check_all(commands)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *self.story])) from error

    def _check_all(self, commands: list[c.Command]) -> None:
        lost = self.call.parts.standing.session != self.serving  # then nobody can tell any more whether it was a cough
        if c.Discard(c.Refusal.TOO_SHORT) in commands or lost:
            self.cut -= self.cut_last  # it goes on
        for command in commands:
            assert not self.ended or (self.ended == ["HangUp"] and isinstance(command, c.Close)), "commanded after the end"
            self._check_playback(command)
            self._check_response(command)
            self._check_session(command)
        if any(isinstance(command, c.Refuse) and not command.waits for command in commands):
            self.owed.clear()  # refused, by name
        if c.Discard(c.Refusal.TOO_SHORT) in commands or c.Discard(c.Refusal.NOT_COMMITTED) in commands:
            self.owed &= {item for item in self.owed if item in self.call.parts.turn.items}
        self._check_state()

    def _check_playback(self, command: c.Command) -> None:
        match command:
            case c.PlayAudio(response_id=response_id, item_id=item_id, audio=audio):
                assert audio
                assert response_id not in self.cancelled, f"late audio of {response_id}"
                assert response_id not in self.cut, f"audio of {response_id} after its clear"
                self.cut.discard(response_id)
                self.on_line.add(response_id)
                self.sent_bytes[item_id] = self.sent_bytes.get(item_id, 0) + len(audio)
            case c.ClearPlayback():
                assert self.on_line, "nothing to clear"
                self.cut_last = set(self.on_line)
                self.cut |= self.cut_last
                self.on_line.clear()
            case c.SendMark(name=name):
                assert name not in self.marks, "a mark's name was used twice"
                self.marks.append(name)
            case c.TruncateItem(item_id=item_id, heard_ms=heard_ms):
                assert 0 <= heard_ms <= self.sent_bytes.get(item_id, 0) // 8  # 0 of what was received while nothing was sent
                assert heard_ms >= self.heard_ms.get(item_id, 0) or item_id in self.truncated, "heard less than before"
                assert item_id not in self.truncated or heard_ms < self.truncated[item_id], "truncated twice"
                assert item_id not in self.deleted
                self.truncated[item_id] = heard_ms
            case c.DeleteItem(item_id=item_id):
                assert item_id not in self.deleted or item_id not in self.sent_bytes, "deleted twice"
                self.deleted.add(item_id)
            case _:
                pass

    def _check_response(self, command: c.Command) -> None:
        match command:
            case c.CreateResponse(request=request, purpose=purpose, instructions=instructions):
                assert self.active is None, f"asked for another while {self.active} is in progress"
                assert self.requested is None, "asked twice"
                assert purpose in _ALLOWED[self.call.state], f"{purpose} while {self.call.state}"
                self.requested = request
                self.asked_for = set(self.owed) if instructions is None else set()
            case c.CancelResponse(response_id=response_id):
                assert response_id == self.active, "cancelled what is not in progress"
                assert response_id in self.known
                assert response_id not in self.over
                assert response_id not in self.cancelled, "cancelled twice"
                self.cancelled.add(response_id)
            case c.ReportChange(change=change, failure=failure):
                assert change in self.changes_asked, "nobody asked for this change"
                assert change not in self.changes_told or failure is None, "told twice that a change failed"
                self.changes_told.add(change)
            case c.RunTool(tool_call_id=tool_call_id):
                assert tool_call_id not in self.tools_run
                self.tools_run.add(tool_call_id)
            case c.SendToolResult(tool_call_id=tool_call_id):
                assert tool_call_id not in self.tools_answered
                self.tools_answered.add(tool_call_id)
            case _:
                pass

    def _check_session(self, command: c.Command) -> None:
        match command:
            case c.OpenSession(session=session):
                assert session == self.opened + 1
                self.opened = session
                self.living.add(session)
                assert len(self.living) <= 2, "more than two sessions"
            case c.CloseSession(session=session):
                assert session in self.living
                self._session_over(session)
            case c.HangUp() | c.Close():
                self.ended.append(type(command).__name__)
                assert self.ended in (["HangUp"], ["Close"], ["HangUp", "Close"])
            case (
                c.AppendAudio(session=session)
                | c.CreateResponse(session=session)
                | c.CancelResponse(session=session)
                | c.TruncateItem(session=session)
                | c.DeleteItem(session=session)
                | c.AddText(session=session)
                | c.SendToolResult(session=session)
                | c.UpdateSession(session=session)
            ):
                assert session in self.living, "told to a session that is gone"
            case _:
                pass

    # --- where it stands

    def _check_state(self) -> None:
        call, parts = self.call, self.call.parts
        armed = parts.deadlines.armed()
        if self.ended and self.ended[-1] == "Close":
            assert call.state is CallState.CLOSED
            assert not armed
            return
        lifeline = call.lifeline()
        assert lifeline is not None, "a silent call"
        if call.state in (CallState.LEAVING, CallState.HANGING_UP):
            assert lifeline is Lifeline.ENDING
            assert armed <= _OF_AN_END[call.state], "something else may still act"
            return
        quiet = lifeline is Lifeline.THE_CALLERS_TURN
        assert not (quiet and self.owed), f"{self.owed} will never be answered"
        leads_out = armed & _OF_A_RESPONSE
        assert len(leads_out) == (parts.guard.state is not ResponseState.IDLE)
        assert leads_out <= _LEADS_OUT[parts.guard.state]
        if parts.settings.turns is Turns.OURS:
            assert (self.active is not None) <= (parts.guard.state is not ResponseState.IDLE), "forgot a response"
        assert armed >= _OF_A_TURN[parts.standing.turn]
        pending = self.changes_asked - self.changes_told
        assert (parts.standing.change is not ChangeState.SETTLED) == bool(pending), f"{pending} will never be told"
        for item_id, sent in self.sent_bytes.items():
            heard_ms = parts.playback.heard_ms(item_id, self.now)
            if heard_ms:
                assert self.heard_ms.get(item_id, 0) <= heard_ms <= sent // 8, "the caller unheard something"
                self.heard_ms[item_id] = heard_ms
        for name, size in sizes(parts) if self.weigh else ():
            assert size <= MOST_ENTRIES, f"{name} grows without bound"


def sizes(value: object, name: str = "call") -> Iterator[tuple[str, int]]:
    """The lengths of all containers in an attrs object and in those that it owns."""
    kind: type[Any] = type(value)
    for attribute in attrs.fields(kind):
        inner = object.__getattribute__(value, attribute.name)
        if isinstance(inner, list | dict | set) or type(inner).__name__ in ("deque", "OrderedDict"):
            yield f"{name}.{attribute.name}", len(inner)
        elif attrs.has(type(inner)):
            yield from sizes(inner, f"{name}.{attribute.name}")
