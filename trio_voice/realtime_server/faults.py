"""What goes wrong between a session and its client, on request: late, doubled, exchanged and unknown events, and broken ends.

A pure filter behind the session: its outputs in, what leaves now out, and a deadline for the rest. The session itself knows
nothing of it; the faults of responses (stragglers, a missing `response.done`) are the responses' own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from attrs import define, field

from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.errors_on_the_wire import ClientError, insufficient_quota
from trio_voice.realtime_server.events import (
    CloseConnection,
    DropConnection,
    FallSilent,
    Output,
    SendEvent,
)
from trio_voice.realtime_server.identifiers import Identifiers
from trio_voice.realtime_server.switches import Switches

_HELD_AT_MOST_S = 0.5
"""An event that is to change places with the next one does not wait longer for it."""


@define
class FaultyWire:
    """The filter of one connection."""

    behaviour: Behaviour
    began_at: float
    _random: random.Random
    _ids: Identifiers = field(init=False)
    _count: int = field(default=0, init=False)
    _held: SendEvent | None = field(default=None, init=False)
    _held_until: float = field(default=math.inf, init=False)
    _delayed: list[tuple[float, Output]] = field(factory=list, init=False)
    _ended: bool = field(default=False, init=False)  # the connection's broken end has come

    def __attrs_post_init__(self) -> None:
        self._ids = Identifiers(self._random)

    @property
    def switches(self) -> Switches:
        """The switches that hold now."""
        return self.behaviour.switches

    @property
    def active(self) -> bool:
        """Whether outputs have to pass through here."""
        s = self.switches
        busy = s.jitter_ms or s.duplicate_every or s.reorder_every or s.unknown_every
        return bool(busy or self._delayed or self._held or self._ended)

    def pass_on(self, outputs: list[Output], now: float) -> list[Output]:
        """Return what leaves now instead of `outputs`."""
        passed: list[Output] = []
        for output in outputs:
            passed += self._event(output, now) if isinstance(output, SendEvent) else [output]
        if not (self.switches.jitter_ms or self._delayed):
            return passed
        return self._delay(passed, now)

    def next_deadline(self) -> float:
        """Return when `handle_timer` wants to be called."""
        earliest = min(self._held_until, self._delayed[0][0] if self._delayed else math.inf)
        s = self.switches
        if self._ended or not (s.close_after_s or s.reset_after_s or s.silent_after_s):
            return earliest
        return min(earliest, *(at for at, _ in self._ends()))

    def handle_timer(self, now: float) -> list[Output]:
        """Return what leaves now."""
        outputs: list[Output] = []
        while self._delayed and self._delayed[0][0] <= now:
            outputs.append(self._delayed.pop(0)[1])
        if now >= self._held_until and self._held is not None:
            outputs.append(self._held)
            self._held, self._held_until = None, math.inf
        for at, end in self._ends():
            if not self._ended and now >= at:
                self._ended = True
                outputs += end()
        return outputs

    # --- events ----------------------------------------------------------------------------------------------------

    def _event(self, output: SendEvent, now: float) -> list[Output]:
        self._count += 1
        sent: list[Output] = [output]
        if self._due(self.switches.duplicate_every):
            sent.append(output)
        if self._due(self.switches.unknown_every):
            sent.append(SendEvent({"type": "response.novelty.delta", "event_id": self._ids.new("event"), "novelty": True}))
        if self._held is not None:
            sent.append(self._held)
            self._held, self._held_until = None, math.inf
        elif self._due(self.switches.reorder_every):
            self._held, self._held_until = output, now + _HELD_AT_MOST_S
            return sent[1:]
        return sent

    def _due(self, every: int) -> bool:
        return bool(every) and self._count % every == 0

    def _delay(self, outputs: list[Output], now: float) -> list[Output]:
        """Let events be late, without changing their order; what is no event overtakes them, as it would on a slow line."""
        passed: list[Output] = []
        for output in outputs:
            if isinstance(output, SendEvent | CloseConnection):
                late_s = self._random.uniform(0, self.switches.jitter_ms / 1000)
                at = max(now + late_s, self._delayed[-1][0] if self._delayed else now)
                self._delayed.append((at, output))
            else:
                passed.append(output)
        while self._delayed and self._delayed[0][0] <= now:
            passed.append(self._delayed.pop(0)[1])
        return passed

    # --- ends ------------------------------------------------------------------------------------------------------

    def _ends(self) -> list[tuple[float, Callable[[], list[Output]]]]:
        s = self.switches
        return [
            (self._at(s.close_after_s), lambda: closing(s.close_code, self._ids)),
            (self._at(s.reset_after_s), lambda: [DropConnection(reset=True)]),
            (self._at(s.silent_after_s), lambda: [FallSilent()]),
        ]

    def _at(self, after_s: float) -> float:
        return self.began_at + after_s if after_s else math.inf


def closing(code: int, ids: Identifiers) -> list[Output]:
    """Return how a connection ends with this code: 1006 without CLOSE; 1011 and 1013 with an error event before it."""
    if code == 1006:
        return [DropConnection(reset=False)]
    if code == 1013:
        refusal = insufficient_quota()
        return [_error(refusal.error, ids), CloseConnection(code, refusal.close_reason)]
    if code == 1011:
        text = "The server had an error while processing your request. Sorry about that!"
        return [_error(ClientError(text, type="server_error"), ids), CloseConnection(code, "server_error")]
    return [CloseConnection(code, "going away" if code == 1001 else "")]


def _error(error: ClientError, ids: Identifiers) -> Output:
    return SendEvent({"type": "error", "event_id": ids.new("event"), "error": error.wire(None)})
