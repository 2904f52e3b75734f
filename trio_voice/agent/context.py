"""What a tool or a job knows of its call, and can do to it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field, frozen

from trio_voice.agent.change import Change

if TYPE_CHECKING:
    from trio_voice.agent.agent import Agent

JOB_LIMIT_S = 60.0
KEEPALIVE_S = 3.0
DIGITS_PATTERN = r"[0-9*#A-D]+"


class CallControl(Protocol):
    """What the server does for a context. Nothing waits, and a call that is over ignores what is asked of it."""

    def say(self, text: str) -> None:
        """Have the agent say this soon."""

    def fill(self, text: str) -> None:
        """Have the agent say this if nobody speaks now."""

    def hang_up(self, reason: str) -> None:
        """End the call politely."""

    def switch_voice(self, voice: str) -> Change:
        """Give the agent another voice."""

    def hand_off(self, agent: Agent) -> Change:
        """Let another agent go on."""

    def send_dtmf(self, digits: str) -> None:
        """Press keys. Raises NotSupported."""

    def conversation(self) -> Sequence[tuple[str, str]]:
        """What was said so far."""

    def journal(self, text: str) -> None:
        """Write a remark into the call's journal."""

    def start_job(self, job: Callable[[], Awaitable[object]], name: str, limit_s: float) -> None:
        """Run a job beside the conversation. Raises RuntimeError when the call has too many."""


class NotSupported(Exception):  # noqa: N818 - a fact about the carrier, and nobody's error
    """The call's carrier cannot do what was asked; the text says what and which."""


@frozen(kw_only=True)
class ModelApi:
    """The HTTP API beside the voice's model, for agents that have a text model do something.

    `AsyncOpenAI(base_url=call.api.base_url, api_key=call.api.key or "none")` works under Trio. The embedded model has a stand-in
    of chat completions there.
    """

    base_url: str
    """For instance https://api.openai.com/v1."""
    key: str | None = field(default=None, repr=False)
    """The same that the voice's model is given; None: it asks for none."""


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
    api: ModelApi = field(factory=lambda: ModelApi(base_url=""))
    """Where a text model can be asked, and with which key."""
    _control: CallControl = field(repr=False)

    def say(self, text: str) -> None:
        """Have the agent say exactly this, soon: it waits a moment for what is being said, and then cuts it off.

        The text goes by the model, which speaks it in its own voice. Raises ValueError for an empty one.
        """
        if not text.strip():
            raise ValueError("say() needs a text")
        self._control.say(text)

    def fill(self, text: str) -> None:
        """Have the agent say this if nobody speaks and nothing is about to be said; else drop it. For "One moment, please".

        Raises ValueError for an empty text.
        """
        if not text.strip():
            raise ValueError("fill() needs a text")
        self._control.fill(text)

    def switch_voice(self, voice: str) -> Change:
        """Give the agent another voice, once what is being said has been heard. What is asked to be said after this has it.

        `await change.wait()` tells whether it was made. If the model refuses the voice, the call goes on with the old one, and
        the model is told so. Raises ValueError for an empty name.
        """
        if not voice.strip():
            raise ValueError("switch_voice() needs the name of a voice")
        return self._control.switch_voice(voice)

    def hand_off(self, agent: Agent) -> Change:
        """Let another agent go on with this call, once what is being said has been heard.

        Its instructions, voice and tools hold from its first word on; it knows what was said, and `data` stays as it is. It tells
        the caller that it has taken over; its greeting is not said. `await change.wait()` tells whether the change was made. If
        not, the call goes on with the agent that it had, whose model is told so. Raises TypeError for what is no agent.
        """
        return self._control.hand_off(agent)

    def send_dtmf(self, digits: str) -> None:
        """Press keys on the caller's line, for instance to go through a menu.

        Raises ValueError for what is no key, and NotSupported where the call's carrier cannot do it over a media stream.
        """
        if not re.fullmatch(DIGITS_PATTERN, digits):
            raise ValueError(f"send_dtmf() takes keys out of 0-9, *, # and A-D, not {digits!r}")
        self._control.send_dtmf(digits)

    def conversation(self) -> Sequence[tuple[str, str]]:
        """Return what was said so far: the role ("user", "assistant" or "system") and the text, oldest first.

        Of a reply that was interrupted it has what was heard. The caller's words are in it where the model's side writes them
        down (`model.transcription_model`).
        """
        return self._control.conversation()

    @asynccontextmanager
    async def keepalive(self, text: str, *, every_s: float = KEEPALIVE_S) -> AsyncIterator[None]:
        """For the time of the block have the agent say something every `every_s` seconds, if nobody else speaks (see `fill`).

        When the block is left, nothing of it is left either: no text is begun after it. Raises ValueError for an empty text.
        """
        if not 0 < every_s < math.inf:
            raise ValueError(f"a keepalive's every_s must be a number of seconds above 0, not {every_s!r}")
        import trio  # noqa: PLC0415 - importing an agent's names costs next to nothing

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_alive, text, every_s)
            yield
            nursery.cancel_scope.cancel()

    async def _keep_alive(self, text: str, every_s: float) -> None:
        import trio  # noqa: PLC0415 - see above

        while True:
            await trio.sleep(every_s)
            self.fill(text)

    def hang_up(self, reason: str) -> None:
        """End the call when what is being said, and what `say` was given before, has been heard.

        `reason` is for the log and the journal.
        """
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
