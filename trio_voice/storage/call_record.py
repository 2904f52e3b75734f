"""What a call was: who spoke when, what was said, how it ended. Moments are seconds since it began, durations milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

from attrs import field, frozen


class Outcome(Enum):
    """How a call ended."""

    COMPLETED = "completed"
    """We ended it: the agent, an operator, or a limit of the call."""
    CALLER_HUNG_UP = "caller_hung_up"
    LINE_LOST = "line_lost"
    """The carrier's stream broke, or brought no audio any more."""
    SERVER_ENDED = "server_ended"
    """The server ended before the call did."""
    FAILED = "failed"
    """An error of ours, or a model that could not be reached; the caller heard that we are sorry."""
    CUT_OFF = "cut_off"
    """Nothing tells of its end: the server was killed."""


class Speaker(Enum):
    """Who speaks."""

    CALLER = "caller"
    AGENT = "agent"


class LatencyKind(Enum):
    """What took its time."""

    GREETING = "greeting"
    """From the start of the call to its first audio."""
    FIRST_AUDIO = "first_audio"
    """From the moment at which the model reported the end of the caller's speech to the first audio of the reply."""
    BARGE_IN = "barge_in"
    """From the begin of the caller's speech, as the model's voice detector dates it, to the clear of what was being played."""


@frozen(kw_only=True)
class CallFacts:
    """What a call's journal does not tell. `call_sid` is the carrier's id, `started_at` is in UTC."""

    call_id: str
    call_sid: str
    started_at: datetime
    dialect: str = ""
    caller: str | None = None
    called: str | None = None


@frozen(kw_only=True)
class Turn:
    """Somebody said something. `text` None: nobody wrote it down."""

    speaker: Speaker
    item_id: str
    started_s: float
    ended_s: float | None = None
    """Of the caller: when the model heard silence. Of the agent: when its last audio was handed to the carrier."""
    text: str | None = None
    purpose: str | None = None
    """Of the agent: why it spoke."""
    status: str | None = None
    """Of the agent: how the response ended."""
    heard_ms: int | None = None
    """Of the agent, when it was interrupted: how much of it the caller heard."""
    first_audio_ms: int | None = None
    """Of the agent: `LatencyKind.FIRST_AUDIO`."""


@frozen(kw_only=True)
class ToolUse:
    """A tool ran, or was asked for. `took_ms` None: it did not return before the end."""

    tool_call_id: str
    name: str
    arguments: str
    called_s: float
    output: str | None = None
    took_ms: int | None = None


@frozen(kw_only=True)
class Latency:
    """Something took its time, at this moment of the call."""

    kind: LatencyKind
    at_s: float
    ms: int


@frozen(kw_only=True)
class CallRecord:
    """One call."""

    facts: CallFacts
    outcome: Outcome
    end_reason: str | None
    duration_s: float
    version: str = ""
    barge_ins: int = 0
    faults: int = 0
    """How often a session was lost, a peer did not read, or something of ours failed."""
    lost_lines: int = 0
    """So many lines are missing in the journal that the record was made from."""
    turns: tuple[Turn, ...] = ()
    tools: tuple[ToolUse, ...] = ()
    latencies: tuple[Latency, ...] = ()
    refusals: Mapping[str, int] = field(factory=dict)
    """What the guards refused, and how often, by reason; no database keeps it."""

    def latencies_of(self, kind: LatencyKind) -> list[int]:
        """All of one kind, in milliseconds."""
        return [each.ms for each in self.latencies if each.kind is kind]
