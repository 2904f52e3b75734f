"""The tool calls of a reply: each is answered once, and one reply is asked for when all are."""

from __future__ import annotations

from attrs import define, field

from trio_voice.core.commands import AddText, Command, Note, RunTool, SendToolResult
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.events import ToolCalled
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing


@define
class _Running:
    session: int
    name: str
    due_at: float


@define
class ToolCalls:
    """The tool calls that have not been answered. `owed` tells that outputs were sent and no reply to them was asked for yet."""

    settings: CallSettings
    standing: Standing
    deadlines: Deadlines
    _running: dict[str, _Running] = field(factory=dict, init=False)
    _answered: int = field(default=0, init=False)

    @property
    def running(self) -> bool:
        """At least one tool has not finished."""
        return bool(self._running)

    @property
    def reply_owed(self) -> bool:
        """All tools have finished and the model has not been asked to go on."""
        return bool(self._answered) and not self._running

    def called(self, event: ToolCalled, now: float) -> list[Command]:
        """Run a tool; a call that is running already is not run again."""
        if event.tool_call_id in self._running:
            return []
        self._running[event.tool_call_id] = _Running(event.session, event.name, now + self.settings.tool_limit_s)
        self._arm()
        return [RunTool(event.tool_call_id, event.name, event.arguments)]

    def finished(self, tool_call_id: str, output: str, number: int) -> list[Command]:
        """A tool answered (or is taken as failed): hand its output to the model. `number` counts added texts."""
        running = self._running.pop(tool_call_id, None)
        self._arm()
        if running is None:
            return [Note(f"the answer of tool call {tool_call_id} came too late and is dropped")]
        self._answered += 1
        session = self.standing.session
        if session == running.session:
            return [SendToolResult(session, tool_call_id, output)]
        if session is not None:  # the session that asked is gone, and its successor does not know the call
            return [AddText(session, number, "system", f"Result of {running.name}: {output}")]
        return []

    def overdue(self, now: float) -> list[str]:
        """The ids of the calls whose time is up."""
        return [tool_call_id for tool_call_id, running in self._running.items() if running.due_at <= now]

    def replied(self) -> None:
        """A reply to the outputs was asked for."""
        self._answered = 0

    def _arm(self) -> None:
        if self._running:
            self.deadlines.set(Timer.TOOL, min(running.due_at for running in self._running.values()))
        else:
            self.deadlines.cancel(Timer.TOOL)
