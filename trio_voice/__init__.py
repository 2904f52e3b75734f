"""trio-voice answers telephone calls with a speech-to-speech model. This is the map: how a call flows, and what you import.

A carrier opens a WebSocket for each call (`server.front_door`, `server.answering`). From then on one nursery is the call's life,
the one in `server.call_runner`: whatever works for the call is a task in it, and when it is left nothing of the call is left.

    caller's frame -> dialects.*.decode -> an event ---+              +--- a command -> dialects.*.encode -> caller
                                                       |              |
                                                  core.call.Call (no I/O, no clock)
                                                       |              |
    model's event -> realtime.codec.decode -> an event +              +--- a command -> realtime.codec.encode -> model

`core.call.Call` is the lifecycle: it is told what happened and what time it is, and answers with what to do. It decides whether
a reply may be asked for (`core.response`), what the caller has heard (`core.playback`), whether speech is a barge-in
(`core.gate`), when a turn is over (`core.turns`), and how the call ends (`core.ending`). Its time is one deadline, the call's
alarm. Between an event and the commands that answer it nothing else can happen, and every event, deadline and command is a line
of the call's journal (`storage.journal`), from which the call can be lived again (`trio-voice replay`).

What leaves does so through one outbox for each socket (`server.outbox`), which drops what an interruption made worthless and
never tears a message. The model's sessions (`server.model`) are numbered, so that what a stale one says is dropped by comparison.
Without a key the model is the embedded Realtime server (`realtime_server`), which shares no code with the other side of its
protocol; neither does the telephone of `make call` (`phone`).

You write an agent and its tools, and start it with `trio-voice serve my_agent.py`:

    from trio_voice import Agent, CallContext, tool

    @tool
    async def book(call: CallContext, day: str) -> str:
        '''Book an appointment.'''
        ...

    agent = Agent(name="practice", instructions="...", voice="cedar", tools=[book])

`docs/agents.md` tells the rest. Importing this package costs next to nothing: the names below are looked up when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_voice.agent.agent import Agent
    from trio_voice.agent.change import Change
    from trio_voice.agent.context import CallContext, ModelApi, NotSupported
    from trio_voice.agent.mistakes import AgentError
    from trio_voice.agent.tool import Tool, ToolError, tool
    from trio_voice.core.settings import CallSettings
    from trio_voice.errors import TrioVoiceError, UserError
else:

    def __getattr__(name: str) -> object:
        """Look up a public name: programs that need none, as the voice's worker, import nothing of it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from trio_voice import errors  # noqa: PLC0415 - see above
        from trio_voice.agent import agent, change, context, mistakes, tool  # noqa: PLC0415 - see above
        from trio_voice.core import settings  # noqa: PLC0415 - see above

        homes = (agent, change, context, mistakes, tool, settings, errors)
        return next(vars(home)[name] for home in homes if name in vars(home))


__all__ = [
    "Agent",
    "AgentError",
    "CallContext",
    "CallSettings",
    "Change",
    "ModelApi",
    "NotSupported",
    "Tool",
    "ToolError",
    "TrioVoiceError",
    "UserError",
    "tool",
]
