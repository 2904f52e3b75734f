"""What the console watches: the calls in progress, where they stand and how loud both sides are. Server-sent events.

event: calls    data: {"calls": [as GET /api/v1/calls], "why_not": null, or why no call can come}      when something changed
event: levels   data: {"<call_id>": [the caller's level in dBFS or null, the agent's], ...}            at most five a second
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import trio
from attrs import define, field

from trio_voice.server.directory import CallDirectory, LiveCall
from trio_voice.web.all_workers import CallsElsewhere
from trio_voice.web.calls_api import CallView

LOOK_EVERY_S = 0.2
HEARTBEAT_LOOKS = 75
"""After so many looks without news the feed says that it is alive: every 15 s."""
WhyNot = Callable[[], str | None]
"""Tells why no new call can come, if that is so."""


@define(eq=False)
class ConsoleFeed:
    """One watcher's feed: an async iterator of pieces of an event stream."""

    _directory: CallDirectory
    _view: Callable[[LiveCall], CallView]
    _why_not: WhyNot
    _draining: trio.Event
    _elsewhere: CallsElsewhere | None = None
    """The calls of the other workers."""
    _standing: object = field(default=None, init=False)
    _levels: dict[str, tuple[float | None, float | None]] = field(factory=dict, init=False)
    _next_look: float = field(factory=trio.current_time, init=False)
    _looks: int = field(default=0, init=False)

    def __aiter__(self) -> ConsoleFeed:
        """Iterate over itself."""
        return self

    async def __anext__(self) -> bytes:
        """Wait for news; it ends when the server does and the last call is over."""
        while True:
            await trio.sleep_until(self._next_look)
            self._next_look = trio.current_time() + LOOK_EVERY_S
            if self._elsewhere is not None:
                await self._elsewhere.look()
            piece = self._look()
            if self._draining.is_set() and not len(self._directory) and not piece:
                raise StopAsyncIteration
            self._looks += 1
            if piece or self._looks == HEARTBEAT_LOOKS:
                self._looks = 0
                return piece or b": alive\n\n"

    def _look(self) -> bytes:
        """What is new since the last look; nothing, most of the time."""
        elsewhere = self._elsewhere
        views = [self._view(call) for call in self._directory]
        if elsewhere is not None:
            views = sorted([*views, *elsewhere.calls], key=lambda view: view.started_at)
        why_not = self._why_not()
        standing = (why_not, [(view.call_id, view.state, view.response) for view in views])
        piece = b""
        if standing != self._standing:
            self._standing = standing
            piece += _event("calls", {"calls": views, "why_not": why_not})
        levels = levels_of(self._directory) | ({} if elsewhere is None else elsewhere.levels)
        if levels != self._levels:
            self._levels = levels
            piece += _event("levels", levels)
        return piece


def levels_of(directory: CallDirectory) -> dict[str, tuple[float | None, float | None]]:
    """How loud the calls here are, the caller and the agent, by the calls' ids."""
    return {call.call_id: (each.caller_dbfs, each.agent_dbfs) for call in directory for each in [call.levels()]}


def _event(name: str, facts: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(facts))
