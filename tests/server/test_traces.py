"""A call's trace: its turns, when they begin and end, and what they say; nothing of what was said."""

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra `traces` is not installed")

from attrs import define, field
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from trio_voice.core import commands as c
from trio_voice.core import events as e
from trio_voice.server.call_watch import CallFacts
from trio_voice.server.traces import MOST_EVENTS, CallTrace, Traces

BEGAN_NS = 1_700_000_000_000_000_000
AUDIO = c.PlayAudio("r1", "i1", b"secret audio")


@define
class World:
    """A trace, and what was exported of it."""

    exporter: InMemorySpanExporter = field(factory=InMemorySpanExporter)
    trace: CallTrace = field(init=False)

    def __attrs_post_init__(self) -> None:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.trace = Traces(provider, lambda: BEGAN_NS).watch(CallFacts("c1", "CA1", "twilio"))

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def turns(self) -> list[tuple[float, float, dict[str, object]]]:
        """When each turn began and ended, in seconds of the call, and its attributes."""
        return [(seconds(span.start_time), seconds(span.end_time), dict(span.attributes or {})) for span in self.spans("turn")]


def seconds(at_ns: int | None) -> float:
    assert at_ns is not None
    return (at_ns - BEGAN_NS) / 1_000_000_000


def test_r42_a_call_is_a_trace_with_a_span_for_each_turn() -> None:
    world = World()
    world.trace.on_command(0.5, AUDIO)
    world.trace.on_command(0.75, AUDIO)
    world.trace.on_event(4.0, e.SpeechStarted(1, "u1"))
    world.trace.on_event(5.0, e.SpeechStopped(1, "u1"))
    world.trace.on_command(5.75, AUDIO)
    world.trace.on_end(9.0, "the caller hung up")
    assert world.turns() == [
        (0.0, 4.0, {"turn.number": 0, "turn.kind": "greeting", "turn.time_to_first_audio_ms": 500.0}),
        (5.0, 9.0, {"turn.number": 1, "turn.kind": "reply", "turn.time_to_first_audio_ms": 750.0}),
    ]
    (call,) = world.spans("call")
    assert (seconds(call.start_time), seconds(call.end_time)) == (0.0, 9.0)
    assert dict(call.attributes or {}) == {
        "call.id": "c1", "call.sid": "CA1", "call.dialect": "twilio", "call.turns": 2, "call.end_reason": "the caller hung up",
    }  # fmt: skip
    assert {span.parent.span_id for span in world.spans("turn") if span.parent} == {call.context.span_id}


def test_r42_the_sound_for_a_caller_who_waits_for_a_model_is_no_answer() -> None:
    world = World()
    world.trace.on_command(1.5, c.PlayAudio("comfort", "comfort-1500", b"tones"))
    world.trace.on_command(2.5, AUDIO)
    world.trace.on_end(9.0, "the caller hung up")
    assert world.turns() == [(0.0, 9.0, {"turn.number": 0, "turn.kind": "greeting", "turn.time_to_first_audio_ms": 2500.0})]


def test_r42_an_interruption_ends_its_turn_and_tells_how_fast_the_agent_fell_silent() -> None:
    world = World()
    world.trace.on_event(2.0, e.SpeechStarted(1, "u1"))
    world.trace.on_command(2.25, c.ClearPlayback())
    assert world.turns() == [(0.0, 2.25, {"turn.number": 0, "turn.kind": "greeting", "turn.barge_in_reaction_ms": 250.0})]
    world.trace.on_command(2.5, c.ClearPlayback())
    world.trace.on_event(3.0, e.SpeechStopped(1, "u1"))
    world.trace.on_end(4.0, "")
    assert [turn[:2] for turn in world.turns()] == [(0.0, 2.25), (3.0, 4.0)]


def test_r42_tools_and_decisions_are_events_within_bounds() -> None:
    world = World()
    world.trace.on_event(1.0, e.ToolCalled(1, "r1", "i1", "t1", "book", '{"name": "a secret"}'))
    world.trace.on_command(1.0, c.Refuse(c.Purpose.TURN, c.Refusal.GREETING_LOCK))
    world.trace.on_event(1.0, e.ResponseDone(1, "r1", e.ResponseStatus.COMPLETED))
    for _ in range(200):
        world.trace.on_event(1.5, e.SessionLost(1, "a secret"))
    world.trace.on_end(2.0, "")
    (turn,) = world.spans("turn")
    assert [(event.name, dict(event.attributes or {})) for event in turn.events[:3]] == [
        ("tool called", {"tool.name": "book"}),
        ("refused", {"purpose": "turn", "reason": "greeting_lock"}),
        ("response done", {"response.status": "completed"}),
    ]
    assert len(turn.events) == MOST_EVENTS
    assert "secret" not in "".join(span.to_json() for span in world.exporter.get_finished_spans())


def test_r42_a_call_that_a_bug_ended_is_an_error() -> None:
    world = World()
    world.trace.on_event(1.0, e.FatalErrorRaised("a bug"))
    world.trace.on_end(1.0, "a bug")
    assert world.spans("call")[0].status.status_code is StatusCode.ERROR
