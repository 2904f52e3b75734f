"""The tool calls of a reply: each is answered once, and one reply is asked for when all are."""

from __future__ import annotations

from attrs import define, evolve, field, frozen

from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.events import ToolCalled
from trio_voice.core.settings import CallSettings

MOST_AT_ONCE = 32
REMEMBERED = 64
LATE_S = 1.0
"""A tool reports the end of its own time itself; so much later it is taken as lost."""


@frozen
class ToolCall:
    """A tool call that has not been answered."""

    session: int
    name: str
    due_at: float


@define
class ToolCalls:
    """The tool calls that have not been answered, and whether the model is owed the word to go on."""

    settings: CallSettings
    deadlines: Deadlines
    reply_owed: bool = field(default=False, init=False)
    _running: dict[str, ToolCall] = field(factory=dict, init=False)
    _known: list[str] = field(factory=list, init=False)

    @property
    def running(self) -> bool:
        """At least one tool has not finished."""
        return bool(self._running)

    @property
    def busy(self) -> bool:
        """A tool runs, or the model has not been asked to go on with what they said."""
        return bool(self._running) or self.reply_owed

    @property
    def full(self) -> bool:
        """No more tools are run at the same time."""
        return len(self._running) >= MOST_AT_ONCE

    def called(self, event: ToolCalled, now: float) -> bool:
        """Take a call in; False for one that was taken in before."""
        if event.tool_call_id in self._known:
            return False
        self._known = [*self._known, event.tool_call_id][-REMEMBERED:]
        self._running[event.tool_call_id] = ToolCall(event.session, event.name, now + self.settings.tool_limit_s)
        self._arm()
        return True

    def started(self, tool_call_id: str, limit_s: float, now: float) -> bool:
        """A tool runs, with a limit of its own; False when nobody waits for it."""
        call = self._running.get(tool_call_id)
        if call is None:
            return False
        self._running[tool_call_id] = evolve(call, due_at=now + limit_s + LATE_S)
        self._arm()
        return True

    def finished(self, tool_call_id: str) -> ToolCall | None:
        """A tool answered, or is taken as failed; None when nobody waits for it (any more)."""
        call = self._running.pop(tool_call_id, None)
        if call is not None:
            self.reply_owed = True
            self._arm()
        return call

    def overdue(self, now: float) -> list[str]:
        """The ids of the calls whose time is up."""
        return [tool_call_id for tool_call_id, call in self._running.items() if call.due_at <= now]

    def _arm(self) -> None:
        if self._running:
            self.deadlines.set(Timer.TOOL, min(call.due_at for call in self._running.values()))
        else:
            self.deadlines.cancel(Timer.TOOL)
