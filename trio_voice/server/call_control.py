"""What tools and jobs ask of their call, on its way to the state machine."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence

import trio
from attrs import define, field

from trio_voice.agent.agent import Agent
from trio_voice.agent.change import Change
from trio_voice.agent.context import CallContext, ModelApi, NotSupported
from trio_voice.core.events import (
    ChangeAsked,
    DigitsAsked,
    Event,
    FillerAsked,
    HangUpAsked,
    JobEnded,
    JobStarted,
    TextInjected,
    ToolFinished,
    ToolStarted,
)
from trio_voice.dialects.base import StreamStarted
from trio_voice.server.jobs import JobRunner
from trio_voice.server.setups import CallSetups
from trio_voice.server.tool_threads import ToolThreads
from trio_voice.server.tools import ToolRunner


@define(eq=False, kw_only=True)
class LiveControl:
    """The `CallControl` of a call that lives. It is made in the call's own thread, and asked from any.

    What is asked of a call that is over is ignored: that is nobody's mistake, because a tool in a thread cannot know.
    """

    feed: Callable[[Event], None]
    note: Callable[[str], None]
    jobs: JobRunner
    setups: CallSetups
    said: Callable[[], list[tuple[str, str]]]
    """The conversation so far."""
    no_digits: str | None
    """Why no keys can be pressed on this call's line; None: they can."""
    is_over: Callable[[], bool]
    _thread: int = field(factory=threading.get_ident, init=False)
    _trio: trio.lowlevel.TrioToken = field(factory=trio.lowlevel.current_trio_token, init=False)

    def say(self, text: str) -> None:
        """Have the agent say this soon."""
        self._do(lambda: self.feed(TextInjected(text)))

    def fill(self, text: str) -> None:
        """Have the agent say this if nobody speaks now."""
        self._do(lambda: self.feed(FillerAsked(text)))

    def hang_up(self, reason: str) -> None:
        """End the call politely."""
        self._do(lambda: self.feed(HangUpAsked(reason)))

    def switch_voice(self, voice: str) -> Change:
        """Give the agent another voice."""
        return self._change(lambda change: self.setups.switch_voice(voice, change))

    def hand_off(self, agent: Agent) -> Change:
        """Let another agent go on. Raises TypeError."""
        if not isinstance(agent, Agent):
            raise TypeError(f"hand_off() takes a trio_voice.Agent, not {agent!r}")
        return self._change(lambda change: self.setups.hand_off(agent, change))

    def send_dtmf(self, digits: str) -> None:
        """Press keys. Raises NotSupported."""
        if self.no_digits is not None:
            raise NotSupported(self.no_digits)
        self._do(lambda: self.feed(DigitsAsked(digits)))

    def conversation(self) -> Sequence[tuple[str, str]]:
        """What was said so far."""
        said: list[tuple[str, str]] = []
        self._do(lambda: said.extend(self.said()))
        return said

    def journal(self, text: str) -> None:
        """Write a remark into the call's journal."""
        self._do(lambda: self.note(text))

    def start_job(self, job: Callable[[], Awaitable[object]], name: str, limit_s: float) -> None:
        """Run a job beside the conversation. Raises RuntimeError when the call has too many."""
        self._do(lambda: self.jobs.start(job, name, limit_s))

    def _change(self, asked: Callable[[Change], ChangeAsked]) -> Change:
        change = Change()
        if not self._do(lambda: self.feed(asked(change))):
            change.end("the call is over")
        return change

    def _do(self, action: Callable[[], None]) -> bool:
        """Act in the call's own thread, at once if this is it; False when the call is over."""
        if threading.get_ident() != self._thread:
            try:
                return trio.from_thread.run_sync(self._do, action, trio_token=self._trio)
            except trio.RunFinishedError:
                return False
        if self.is_over():
            return False
        action()
        return True


def tools_of_call(
    *,
    feed: Callable[[Event], None],
    note: Callable[[str], None],
    is_over: Callable[[], bool],
    nursery: trio.Nursery,
    threads: ToolThreads,
    call_id: str,
    started: StreamStarted,
    api: ModelApi,
    setups: CallSetups,
    said: Callable[[], list[tuple[str, str]]],
    no_digits: str | None,
    limit_s: float,
) -> ToolRunner:
    """Make the runner of a call's tools, with the context that they get (`runner.context`) and the call's jobs.

    What becomes of a tool is fed as `ToolStarted` and `ToolFinished`, and its filler as `FillerAsked`. `nursery` is the call's,
    `threads` are those of all calls, `said` tells the conversation so far.
    """
    jobs = JobRunner(
        nursery,
        note,
        started=lambda job, limit_s: feed(JobStarted(job, limit_s)),
        ended=lambda job: feed(JobEnded(job)),
    )
    control = LiveControl(feed=feed, note=note, jobs=jobs, setups=setups, said=said, no_digits=no_digits, is_over=is_over)
    context = CallContext(
        call_id=call_id,
        call_sid=started.call_sid,
        caller=started.caller,
        called=started.called,
        parameters=started.parameters,
        api=api,
        control=control,
    )
    return ToolRunner(
        nursery=nursery,
        context=context,
        threads=threads,
        finished=lambda tool_call_id, output: feed(ToolFinished(tool_call_id, output)),
        started=lambda tool_call_id, its_limit_s: feed(ToolStarted(tool_call_id, its_limit_s)),
        say_filler=lambda text: feed(FillerAsked(text)),
        limit_s=limit_s,
    )
