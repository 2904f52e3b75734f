"""From a call's journal to its record. Pure: lines in, a record out.

A journal of an hour has 700,000 lines, nearly all of single audio frames; those are passed over, or read by one expression. Lines
that cannot be read are passed over too: a record of a journal that was cut off is better than none.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from attrs import define, evolve, field

from trio_voice.core.commands import SOUNDS
from trio_voice.storage.call_record import CallFacts, CallRecord, Latency, LatencyKind, Outcome, Speaker, ToolUse, Turn

MOST_ROWS = 5000
"""So many turns, tool calls and latencies are kept of one call."""
MOST_CHARACTERS = 16_000
"""So long may a text be."""
LARGEST = 2**31 - 1
"""A whole number that is larger fits into no column, and is none of ours."""
_NAMED_WITHIN = 60
"""A line's name is in its first characters."""
_KEPT_FRAMES = 1500
_APPENDED = re.compile(r'\{"t":(\d+(?:\.\d+)?(?:e-?\d+)?),"command":"AppendAudio","session":(\d+),"audio":\{"bytes":(\d+)')
_PASSED_OVER = ('"event":"CallerAudio"', '"event":"ModelAudio"')
_FAULTS = frozenset({"SessionLost", "FatalErrorRaised", "OutboxOverran"})
_BROKEN_LINE = ("the caller's line broke", "the carrier broke its protocol")
_SERVER_ENDS = "the server is ending"
_APOLOGY = "apology"
_LAST_OF_A_DEAD_LINE = "media"
"""The deadline whose answer is a hang-up when the carrier sends no audio; in a call that goes on it only looks again later."""

Fields = Mapping[str, Any]


def read_record(lines: Iterable[str], facts: CallFacts | None = None) -> CallRecord | None:
    """Make a call's record from its journal, header first, and from what else is known of it.

    None: there is no header, and no `facts` that could stand for it.
    """
    digest = _Digest()
    for line in lines:
        digest.take(line)
    return digest.record(facts)


@define
class _Appended:
    """When the latest of the audio that a session was given was given: the clock of the model's voice detector."""

    bytes_per_ms: int = 8
    total: int = 0
    frames: deque[tuple[float, int]] = field(factory=lambda: deque(maxlen=_KEPT_FRAMES))

    def add(self, t: float, size: int) -> None:
        self.total += size
        self.frames.append((t, self.total))

    def moment_of(self, at_ms: int) -> float | None:
        """When the audio at this place was given; None: that is forgotten, or still to come."""
        place, since = at_ms * self.bytes_per_ms, None
        for t, end in reversed(self.frames):
            if end <= place:
                return since
            since = t
        return since if self.frames and len(self.frames) < _KEPT_FRAMES else None


@define
class _Digest:
    header: Fields = field(factory=dict)
    last_t: float = 0.0
    end_reason: str | None = None
    caller_left: str | None = None
    we_hung_up: bool = False
    is_broken: bool = False
    has_failed: bool = False
    last_event: str = ""
    event_t: float = -1.0
    last_timer: str = ""
    """The deadline that acted, while what follows may answer it."""
    barge_ins: int = 0
    faults: int = 0
    lost_lines: int = 0
    turns: dict[str, Turn] = field(factory=dict)
    tools: dict[str, ToolUse] = field(factory=dict)
    latencies: list[Latency] = field(factory=list)
    refusals: Counter[str] = field(factory=Counter)
    appended: dict[int, _Appended] = field(factory=dict)
    purposes: dict[int, str] = field(factory=dict)
    responses: dict[str, str] = field(factory=dict)
    items: dict[str, list[str]] = field(factory=dict)
    speaking_since: float | None = None
    silent_since: float | None = None
    has_played: bool = False

    def take(self, line: str) -> None:
        start = line[:_NAMED_WITHIN]
        if any(name in start for name in _PASSED_OVER):
            return
        if (found := _APPENDED.match(line)) is not None:
            session = int(found[2])
            appended = self.appended.get(session)
            if appended is None:
                self.appended = {session: (appended := _Appended(_whole(self.header, "bytes_per_ms") or 8))}
            appended.add(float(found[1]), int(found[3]))
            return
        try:
            fields = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeError):
            return
        if isinstance(fields, dict):
            self.take_fields(fields)

    def take_fields(self, fields: Fields) -> None:
        if "journal" in fields:
            self.header = fields
        elif "lost_lines" in fields:
            self.lost_lines = min(self.lost_lines + _whole(fields, "lost_lines"), LARGEST)
        elif isinstance(t := fields.get("t"), int | float):
            self.last_t = max(self.last_t, float(t))
            if isinstance(timer := fields.get("timer"), str):
                self.last_timer = timer
            elif isinstance(remark := fields.get("remark"), str):
                self.is_broken |= remark.startswith(_BROKEN_LINE)
            else:
                name = str(fields.get("event") or fields.get("command"))
                if "event" in fields:  # what follows answers this event, and no deadline of before
                    self.last_event, self.event_t, self.last_timer = name, float(t), ""
                self.faults += name in _FAULTS
                if (take := _TAKERS.get(name)) is not None:
                    take(self, float(t), fields)

    # --- the caller

    def speech_started(self, t: float, fields: Fields) -> None:
        appended = self.appended.get(_whole(fields, "session"))
        began = appended.moment_of(_whole(fields, "at_ms")) if appended is not None else None
        self.speaking_since, self.silent_since = t if began is None else began, None
        self.put_turn(Turn(speaker=Speaker.CALLER, item_id=_text(fields, "item_id"), started_s=self.speaking_since))

    def speech_stopped(self, t: float, fields: Fields) -> None:
        self.speaking_since, self.silent_since = None, t
        self.change_turn(_text(fields, "item_id"), ended_s=t)

    def caller_transcribed(self, t: float, fields: Fields) -> None:
        item_id = _text(fields, "item_id")
        if item_id not in self.turns:
            self.put_turn(Turn(speaker=Speaker.CALLER, item_id=item_id, started_s=t))
        self.change_turn(item_id, text=_text(fields, "text"))

    # --- the agent

    def create(self, _t: float, fields: Fields) -> None:
        self.purposes[_whole(fields, "request")] = _text(fields, "purpose")

    def created(self, _t: float, fields: Fields) -> None:
        request = fields.get("request")
        if isinstance(request, int) and request in self.purposes:
            self.responses[_text(fields, "response_id")] = self.purposes[request]

    def done(self, _t: float, fields: Fields) -> None:
        for item_id in self.items.get(_text(fields, "response_id"), []):
            self.change_turn(item_id, status=_text(fields, "status"))

    def agent_turn(self, t: float, fields: Fields) -> str:
        item_id, response_id = _text(fields, "item_id"), _text(fields, "response_id")
        if item_id not in self.turns:
            purpose = self.responses.get(response_id)
            self.put_turn(Turn(speaker=Speaker.AGENT, item_id=item_id, started_s=t, purpose=purpose))
            self.items.setdefault(response_id, []).append(item_id)
        return item_id

    def play(self, t: float, fields: Fields) -> None:
        if fields.get("response_id") in SOUNDS:
            return
        if fields.get("item_id") == _APOLOGY:
            self.has_failed = True
        item_id = self.agent_turn(t, fields)
        if not self.has_played:
            self.has_played = True
            self.put_latency(LatencyKind.GREETING, t, t)
        if self.silent_since is not None:
            took_ms = self.put_latency(LatencyKind.FIRST_AUDIO, t, t - self.silent_since)
            self.silent_since = None
            self.change_turn(item_id, first_audio_ms=took_ms)
        self.change_turn(item_id, ended_s=t)

    def transcript(self, t: float, fields: Fields) -> None:
        if fields.get("final"):
            self.change_turn(self.agent_turn(t, fields), text=_text(fields, "text"))

    def clear(self, t: float, _fields: Fields) -> None:
        if self.speaking_since is not None:  # the first clear of a speech is the one that counts
            self.barge_ins += 1
            self.put_latency(LatencyKind.BARGE_IN, t, t - self.speaking_since)
            self.speaking_since = None

    def truncate(self, _t: float, fields: Fields) -> None:
        self.change_turn(_text(fields, "item_id"), heard_ms=_whole(fields, "heard_ms"))

    def delete(self, _t: float, fields: Fields) -> None:
        self.change_turn(_text(fields, "item_id"), heard_ms=0)

    def refuse(self, _t: float, fields: Fields) -> None:
        self.refusals[_text(fields, "reason")] += 1

    def discard(self, t: float, fields: Fields) -> None:
        if self.last_event == "SpeechStarted" and self.event_t == t:  # it answers no frame, whose line was passed over
            self.refusals[_text(fields, "reason")] += 1

    # --- tools, and the end

    def run_tool(self, t: float, fields: Fields) -> None:
        tool_call_id = _text(fields, "tool_call_id")
        if len(self.tools) < MOST_ROWS:
            self.tools[tool_call_id] = ToolUse(
                tool_call_id=tool_call_id, name=_text(fields, "name"), arguments=_text(fields, "arguments"), called_s=t
            )

    def tool_finished(self, t: float, fields: Fields) -> None:
        tool = self.tools.get(_text(fields, "tool_call_id"))
        if tool is not None and tool.took_ms is None:
            took_ms = _ms(t - tool.called_s)
            self.tools[tool.tool_call_id] = evolve(tool, output=_text(fields, "output"), took_ms=took_ms)

    def caller_hung_up(self, _t: float, fields: Fields) -> None:
        self.caller_left = _text(fields, "reason")

    def failed(self, _t: float, _fields: Fields) -> None:
        self.has_failed = True

    def hang_up(self, _t: float, _fields: Fields) -> None:
        self.we_hung_up = True
        self.is_broken |= self.last_timer == _LAST_OF_A_DEAD_LINE

    def close(self, _t: float, fields: Fields) -> None:
        self.end_reason = _text(fields, "reason")

    # --- keeping

    def put_turn(self, turn: Turn) -> None:
        if len(self.turns) < MOST_ROWS:
            self.turns.setdefault(turn.item_id, turn)

    def change_turn(self, item_id: str, **changes: Any) -> None:
        turn = self.turns.get(item_id)
        if turn is not None:
            self.turns[item_id] = evolve(turn, **changes)

    def put_latency(self, kind: LatencyKind, t: float, took_s: float) -> int:
        took_ms = _ms(took_s)
        if len(self.latencies) < MOST_ROWS:
            self.latencies.append(Latency(kind=kind, at_s=t, ms=took_ms))
        return took_ms

    def outcome(self) -> Outcome:
        if self.has_failed:
            return Outcome.FAILED
        if self.end_reason is None:
            return Outcome.CUT_OFF
        if self.is_broken:
            return Outcome.LINE_LOST
        if self.we_hung_up:
            return Outcome.COMPLETED
        return Outcome.SERVER_ENDED if (self.caller_left or "").startswith(_SERVER_ENDS) else Outcome.CALLER_HUNG_UP

    def record(self, facts: CallFacts | None) -> CallRecord | None:
        facts = facts or _facts_in(self.header)
        if facts is None:
            return None
        return CallRecord(
            facts=facts,
            outcome=self.outcome(),
            end_reason=self.end_reason,
            duration_s=self.last_t,
            version=str(self.header.get("version", "")),
            barge_ins=self.barge_ins,
            faults=self.faults,
            lost_lines=self.lost_lines,
            turns=tuple(sorted(self.turns.values(), key=lambda turn: turn.started_s)),
            tools=tuple(self.tools.values()),
            latencies=tuple(self.latencies),
            refusals=dict(self.refusals.most_common()),
        )


def _facts_in(header: Fields) -> CallFacts | None:
    try:
        started_at = datetime.fromisoformat(str(header["started_at"]))
        call_id, call_sid = str(header["call_id"]), str(header["call_sid"])
    except (KeyError, ValueError):
        return None
    return CallFacts(call_id=call_id, call_sid=call_sid, started_at=started_at.astimezone(UTC))


def _text(fields: Fields, key: str) -> str:
    """A text of a peer's; a database takes no zero byte."""
    return str(fields.get(key) or "")[:MOST_CHARACTERS].replace("\0", "\ufffd")


def _whole(fields: Fields, key: str) -> int:
    value = fields.get(key)
    return value if isinstance(value, int) and 0 <= value < LARGEST else 0


def _ms(took_s: float) -> int:
    return round(min(max(0.0, took_s * 1000), LARGEST))


_TAKERS: Mapping[str, Callable[[_Digest, float, Fields], None]] = {
    "SpeechStarted": _Digest.speech_started,
    "SpeechStopped": _Digest.speech_stopped,
    "CallerTranscribed": _Digest.caller_transcribed,
    "CreateResponse": _Digest.create,
    "ResponseCreated": _Digest.created,
    "ResponseDone": _Digest.done,
    "PlayAudio": _Digest.play,
    "ModelTranscript": _Digest.transcript,
    "ClearPlayback": _Digest.clear,
    "TruncateItem": _Digest.truncate,
    "DeleteItem": _Digest.delete,
    "Refuse": _Digest.refuse,
    "Discard": _Digest.discard,
    "RunTool": _Digest.run_tool,
    "ToolFinished": _Digest.tool_finished,
    "CallerHungUp": _Digest.caller_hung_up,
    "FatalErrorRaised": _Digest.failed,
    "HangUp": _Digest.hang_up,
    "Close": _Digest.close,
}
