"""Traces for OpenTelemetry: one for each call, with a span for each turn.

A turn begins when the caller falls silent (the first one, the greeting, with the call) and ends when the caller speaks again. Its
span has the time to the first sound of the answer and, if the caller interrupted it, how fast the agent fell silent. Tools and
decisions of the guards are events in it. What is said is in no span.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import define, field
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, Status, StatusCode, Tracer, set_span_in_context

from trio_voice.core import commands as c
from trio_voice.core import events as e
from trio_voice.server.call_watch import CallFacts

NANOSECONDS = 1_000_000_000
MOST_EVENTS = 100
"""So many events a turn's span may have: a peer decides how many there are."""


@define(eq=False)
class Traces:
    """Makes the trace of each call. `wall_ns` is the time of day in nanoseconds."""

    provider: TracerProvider
    wall_ns: Callable[[], int] = time.time_ns
    _tracer: Tracer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._tracer = self.provider.get_tracer("trio_voice")

    def watch(self, facts: CallFacts) -> CallTrace:
        """Trace a call that begins."""
        return CallTrace(self._tracer, facts, self.wall_ns())


@define(eq=False)
class CallTrace:
    """The trace of one call."""

    _tracer: Tracer
    _facts: CallFacts
    _began_ns: int
    _call: Span = field(init=False)
    _turn: Span | None = field(default=None, init=False)
    _turns: int = field(default=0, init=False)
    _turn_began: float = field(default=0.0, init=False)
    _awaits_audio: bool = field(default=False, init=False)
    _events: int = field(default=0, init=False)
    _spoken_at: float | None = field(default=None, init=False)
    """When the caller began to speak, while they do."""

    def __attrs_post_init__(self) -> None:
        facts = self._facts
        attributes = {"call.id": facts.call_id, "call.sid": facts.call_sid, "call.dialect": facts.dialect}
        self._call = self._tracer.start_span("call", start_time=self._began_ns, attributes=attributes)
        self._begin_turn(0.0, "greeting")

    def on_event(self, now: float, event: e.Event) -> None:
        """Note what happened."""
        match event:
            case e.SpeechStarted():
                self._spoken_at = now
            case e.SpeechStopped():
                self._end_turn(now if self._spoken_at is None else self._spoken_at)
                self._spoken_at = None
                self._begin_turn(now, "reply")
            case e.ResponseDone(status=status):
                self._note(now, "response done", {"response.status": status.value})
            case e.ToolCalled(name=name):
                self._note(now, "tool called", {"tool.name": name[:100]})
            case e.SessionLost():
                self._note(now, "session lost", {})
            case e.FatalErrorRaised():
                self._call.set_status(Status(StatusCode.ERROR, "an error of ours ended the call"))
            case _:
                pass

    def on_command(self, now: float, command: c.Command) -> None:
        """Note what is done."""
        match command:
            case c.PlayAudio(response_id=id_) if id_ not in c.SOUNDS and self._awaits_audio and self._turn is not None:
                self._awaits_audio = False
                self._turn.set_attribute("turn.time_to_first_audio_ms", round((now - self._turn_began) * 1000, 3))
            case c.ClearPlayback() if self._spoken_at is not None and self._turn is not None:
                self._turn.set_attribute("turn.barge_in_reaction_ms", round((now - self._spoken_at) * 1000, 3))
                self._end_turn(now)
            case c.Refuse(purpose=purpose, reason=reason):
                self._note(now, "refused", {"purpose": purpose.value, "reason": reason.value})
            case _:
                pass

    def on_end(self, now: float, reason: str) -> None:
        """The call is over."""
        self._end_turn(now)
        self._call.set_attribute("call.turns", self._turns)
        self._call.set_attribute("call.end_reason", reason[:200])
        self._call.end(self._at(now))

    def _begin_turn(self, now: float, kind: str) -> None:
        attributes: dict[str, str | int] = {"turn.number": self._turns, "turn.kind": kind}
        context = set_span_in_context(self._call)
        self._turn = self._tracer.start_span("turn", context, start_time=self._at(now), attributes=attributes)
        self._turns += 1
        self._turn_began, self._awaits_audio, self._events = now, True, 0

    def _end_turn(self, now: float) -> None:
        if self._turn is not None:
            self._turn.end(self._at(max(now, self._turn_began)))
            self._turn = None

    def _note(self, now: float, name: str, attributes: dict[str, str]) -> None:
        self._events += 1
        if self._turn is not None and self._events <= MOST_EVENTS:
            self._turn.add_event(name, attributes, self._at(now))

    def _at(self, now: float) -> int:
        return self._began_ns + round(now * NANOSECONDS)
