"""Runs the tools of one call: tasks in the call's nursery, which nothing of the call ever waits for.

`ToolRunner.run` returns at once. What comes of a tool is reported by a plain call of `finished`, exactly once for each tool call,
unless the call ends first: then the tools end with it. The answer is always a text for the model: what the function returned, or
`{"error": ...}`. What a tool raised is logged with its traceback and told to the model in general words only, unless the tool
raised a `ToolError`, whose words are meant for the model, or let a `NotSupported` out: what a carrier cannot do is no failure.

A tool's time runs from the model's call to the answer, waiting included, because that is what the caller notices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog
import trio
from attrs import define, field

from trio_voice.agent.context import CallContext, NotSupported
from trio_voice.agent.tool import OnBargeIn, Tool, ToolError, WrongArguments
from trio_voice.server.foreign_code import cancellation_in, failure_in, leaves
from trio_voice.server.tool_threads import ToolThreads

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 8
FILLER_AFTER_S = 1.5
MOST_CHARACTERS = 50_000
"""Of an answer; a longer one would push the conversation out of the model's memory."""
_NOT_JSON = (TypeError, ValueError, OverflowError, RecursionError, msgspec.EncodeError)


def error_text(sentence: str) -> str:
    """Tell the model that something went wrong."""
    return msgspec.json.encode({"error": sentence}).decode()


@define(eq=False)
class _Run:
    """A tool call that has not been answered."""

    tool_call_id: str
    tool: Tool
    limit_s: float
    scope: trio.CancelScope
    started: bool = False
    interrupted: bool = False


@define(eq=False, kw_only=True)
class ToolRunner:
    """The tools of one call.

    `started(tool_call_id, limit_s)`, `finished(tool_call_id, output)` and `say_filler(text)` are plain functions; none raises.
    """

    nursery: trio.Nursery
    context: CallContext
    threads: ToolThreads
    started: Callable[[str, float], None]
    finished: Callable[[str, str], None]
    say_filler: Callable[[str], None]
    limit_s: float
    """How long a tool may take that has no `timeout_s` of its own."""
    most_at_once: int = MOST_AT_ONCE
    """How many run at the same time; more wait for them."""
    filler_after_s: float = FILLER_AFTER_S
    _slots: trio.Semaphore = field(init=False)
    _runs: dict[str, _Run] = field(factory=dict, init=False)
    _filled: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._slots = trio.Semaphore(self.most_at_once)

    def run(self, toolbox: Mapping[str, Tool], tool_call_id: str, name: str, arguments: str) -> None:
        """Start a tool out of the toolbox, with the model's arguments (JSON text)."""
        tool = toolbox.get(name)
        if tool is None:
            self.finished(tool_call_id, error_text(f"there is no tool {name}"))
            return
        limit_s = self.limit_s if tool.timeout_s is None else tool.timeout_s
        run = _Run(tool_call_id, tool, limit_s, trio.CancelScope(deadline=trio.current_time() + limit_s))
        self._runs[tool_call_id] = run
        self.started(tool_call_id, limit_s)
        self.nursery.start_soon(self._live, run, arguments)

    def barge_in(self) -> None:
        """The caller has interrupted the agent: cancel the tools that are to be cancelled then."""
        for run in self._runs.values():
            if run.tool.on_barge_in is OnBargeIn.CANCEL:
                run.interrupted = True
                run.scope.cancel()

    # --- one tool

    async def _live(self, run: _Run, arguments: str) -> None:
        """Guard a tool, and report what came of it. The only thing that it raises is what cancels the call."""
        output: str | None = None
        try:
            output = await self._answer(run, arguments)
        except BaseException as error:  # also what is no Exception: see foreign_code
            output = self._failed(run, error)
            cancellation = cancellation_in(error)
            if cancellation is not None:
                raise cancellation from None
        finally:
            del self._runs[run.tool_call_id]
            self._filled = self._filled and bool(self._runs)
        if not self.nursery.cancel_scope.cancel_called:  # else the call is over, and nobody waits for an answer
            self.finished(run.tool_call_id, self._why_there_is_no_answer(run) if output is None else output)

    def _failed(self, run: _Run, error: BaseException) -> str | None:
        """Log what a tool raised, while it is handled; what the model is told, None: it was only cancelled."""
        failure = failure_in(error)
        if failure is None:
            return None
        told = list(leaves(failure))
        if all(isinstance(each, ToolError | NotSupported) for each in told):
            log.info("a tool told the model of an error", tool=run.tool.name, tool_call_id=run.tool_call_id)
            return error_text(str(told[0]))
        log.exception("a tool failed", tool=run.tool.name, tool_call_id=run.tool_call_id)  # noqa: LOG004 - called while handling
        return error_text("the tool failed")

    async def _answer(self, run: _Run, arguments: str) -> str | None:
        try:
            given = run.tool.read_arguments(arguments)
        except WrongArguments as error:
            return error_text(f"wrong arguments: {error}")
        if run.tool.context is not None:
            given[run.tool.context] = self.context
        output: str | None = None
        with run.scope:
            async with trio.open_nursery() as nursery:
                if run.tool.filler is not None:
                    nursery.start_soon(self._fill, run.tool.filler)
                async with self._slots:
                    output = self._as_text(run, await self._call(run, given))
                nursery.cancel_scope.cancel()
        return output

    async def _call(self, run: _Run, arguments: dict[str, Any]) -> Any:
        if run.tool.is_async:
            run.started = True
            return await run.tool.function(**arguments)
        return await self.threads.run(run.tool.name, partial(_in_thread, run, arguments))

    async def _fill(self, text: str) -> None:
        """Say something while the answer is awaited; once, however many tools are slow together."""
        await trio.sleep(self.filler_after_s)
        if not self._filled:
            self._filled = True
            self.say_filler(text)

    # --- answers

    def _as_text(self, run: _Run, value: object) -> str:
        """Write what a tool returned as text for the model: a str as it is, anything else as JSON."""
        try:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            text.encode()  # a str may hold what is no Unicode
        except _NOT_JSON as error:
            kind = type(value).__name__
            log.warning("a tool's answer cannot be written as JSON", tool=run.tool.name, kind=kind, reason=str(error))
            return error_text("the tool's answer cannot be written as JSON")
        if len(text) > MOST_CHARACTERS:
            log.warning("a tool's answer is too long", tool=run.tool.name, characters=len(text), limit=MOST_CHARACTERS)
            return error_text(f"the tool's answer is too long: {len(text)} characters")
        return text

    def _why_there_is_no_answer(self, run: _Run) -> str:
        if run.interrupted:
            return error_text("cancelled, because the caller interrupted")
        log.warning("a tool took too long", tool=run.tool.name, limit_s=run.limit_s, started=run.started)
        if run.started:
            return error_text(f"the tool did not answer within {run.limit_s:g} s; whether it had an effect is not known")
        return error_text("the tool was not started, because others take too long")


def _in_thread(run: _Run, arguments: dict[str, Any]) -> Any:
    run.started = True
    return run.tool.function(**arguments)
