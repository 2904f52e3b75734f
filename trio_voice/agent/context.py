"""What a tool or a job knows of its call, and can do to it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol

from attrs import define, field

JOB_LIMIT_S = 60.0


class CallControl(Protocol):
    """What the server does for a context. Nothing waits, and a call that is over ignores what is asked of it."""

    def say(self, text: str) -> None:
        """Have the agent say this soon."""

    def hang_up(self, reason: str) -> None:
        """End the call politely."""

    def journal(self, text: str) -> None:
        """Write a remark into the call's journal."""

    def start_job(self, job: Callable[[], Awaitable[object]], name: str, limit_s: float) -> None:
        """Run a job beside the conversation. Raises RuntimeError when the call has too many."""


Job = Callable[["CallContext"], Awaitable[object]]
"""What runs beside a conversation."""


@define(eq=False, kw_only=True)
class CallContext:
    """The call that a tool or a job works for.

    A tool gets it by an argument of this type, of which the model is not told. All methods return at once, and may be called from
    async functions and from the threads of sync tools alike; once the call is over they do nothing.
    """

    call_id: str
    """Our own name for the call; its folder has the same."""
    call_sid: str
    """The carrier's name for it."""
    caller: str | None = None
    """The number that calls, where the carrier says so."""
    called: str | None = None
    """The number that was called, where the carrier says so."""
    parameters: Mapping[str, str] = field(factory=dict)
    """What was attached to the call's stream when it was set up."""
    data: dict[str, Any] = field(factory=dict)
    """Yours: what tools and jobs of this call want to remember. It lives as long as the call, whatever interrupts it."""
    _control: CallControl = field(repr=False)

    def say(self, text: str) -> None:
        """Have the agent say exactly this, soon: it waits a moment for what is being said, and then cuts it off.

        The text goes by the model, which speaks it in its own voice. Raises ValueError for an empty one.
        """
        if not text.strip():
            raise ValueError("say() needs a text")
        self._control.say(text)

    def hang_up(self, reason: str) -> None:
        """End the call when what is being said has been heard. `reason` is for the log and the journal."""
        self._control.hang_up(reason)

    def journal(self, text: str) -> None:
        """Write a remark into the call's journal, at this moment of the call."""
        self._control.journal(text)

    def start_job(self, job: Job, *, limit_s: float = JOB_LIMIT_S) -> None:
        """Run `await job(context)` beside the conversation, for at most `limit_s` seconds; `functools.partial` adds arguments.

        It ends with the call. If it fails, or takes longer, that is logged and in the journal, and the call goes on.
        Raises TypeError for a job that is no async function, ValueError for a limit that is none, and RuntimeError when the call
        has too many jobs.
        """
        if not inspect.iscoroutinefunction(job):
            raise TypeError(f"a job must be an async function, not {job!r}")
        if not 0 < limit_s < math.inf:
            raise ValueError(f"a job's limit_s must be a number of seconds above 0, not {limit_s!r}")
        function = job.func if isinstance(job, partial) else job
        self._control.start_job(partial(job, self), function.__name__, limit_s)
