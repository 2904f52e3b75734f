"""What tools and jobs ask of their call, on its way to the state machine."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import trio
from attrs import define, field

from trio_voice.agent.context import CallContext
from trio_voice.core.events import Event, HangUpAsked, TextInjected, ToolFinished
from trio_voice.dialects.base import StreamStarted
from trio_voice.server.jobs import JobRunner
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
    is_over: Callable[[], bool]
    _thread: int = field(factory=threading.get_ident, init=False)
    _trio: trio.lowlevel.TrioToken = field(factory=trio.lowlevel.current_trio_token, init=False)

    def say(self, text: str) -> None:
        """Have the agent say this soon."""
        self._do(lambda: self.feed(TextInjected(text)))

    def hang_up(self, reason: str) -> None:
        """End the call politely."""
        self._do(lambda: self.feed(HangUpAsked(reason)))

    def journal(self, text: str) -> None:
        """Write a remark into the call's journal."""
        self._do(lambda: self.note(text))

    def start_job(self, job: Callable[[], Awaitable[object]], name: str, limit_s: float) -> None:
        """Run a job beside the conversation. Raises RuntimeError when the call has too many."""
        self._do(lambda: self.jobs.start(job, name, limit_s))

    def _do(self, action: Callable[[], None]) -> None:
        """Act in the call's own thread, at once if this is it."""
        if threading.get_ident() != self._thread:
            try:
                trio.from_thread.run_sync(self._do, action, trio_token=self._trio)
            except trio.RunFinishedError:
                return
        elif not self.is_over():
            action()


def tools_of_call(
    *,
    feed: Callable[[Event], None],
    note: Callable[[str], None],
    is_over: Callable[[], bool],
    nursery: trio.Nursery,
    threads: ToolThreads,
    call_id: str,
    started: StreamStarted,
    limit_s: float,
) -> ToolRunner:
    """Make the runner of a call's tools, with the context that they get (`runner.context`) and the call's jobs.

    What comes of a tool is fed as `ToolFinished`, and its filler is said as an injected text. `nursery` is the call's, `threads`
    are those of all calls.
    """
    control = LiveControl(feed=feed, note=note, jobs=JobRunner(nursery, note), is_over=is_over)
    context = CallContext(
        call_id=call_id,
        call_sid=started.call_sid,
        caller=started.caller,
        called=started.called,
        parameters=started.parameters,
        control=control,
    )
    return ToolRunner(
        nursery=nursery,
        context=context,
        threads=threads,
        finished=lambda tool_call_id, output: feed(ToolFinished(tool_call_id, output)),
        say_filler=lambda text: feed(TextInjected(text)),
        limit_s=limit_s,
    )
