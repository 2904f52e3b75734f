"""Calls to record."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trio_voice.storage.call_record import (
    CallFacts,
    CallRecord,
    Latency,
    LatencyKind,
    Outcome,
    Speaker,
    ToolUse,
    Turn,
)

RECORDED = Path(__file__).parents[1] / "recorded"
STARTED_AT = datetime(2026, 11, 21, 9, 30, 12, 123456, UTC)


def call_id(number: int) -> str:
    return f"20261121-0930{number:02}-{number:08x}"


def facts(number: int = 1, **more: Any) -> CallFacts:
    return CallFacts(call_id=call_id(number), call_sid=f"CA{number}", started_at=STARTED_AT.replace(minute=number), **more)


def record(number: int = 1, **more: Any) -> CallRecord:
    """A call with something in every field."""
    known = facts(number, dialect="twilio", caller="…5310", called="…1234")
    fields: dict[str, Any] = {
        "facts": known,
        "outcome": Outcome.COMPLETED,
        "end_reason": "the agent ended the call",
        "duration_s": 12.5,
        "version": "0.1.0",
        "barge_ins": 1,
        "turns": (
            Turn(
                speaker=Speaker.CALLER,
                item_id="u1",
                started_s=1.0,
                ended_s=2.0,
                text="Tisch für zwei \N{SMILING FACE WITH OPEN MOUTH}",
            ),
            Turn(
                speaker=Speaker.AGENT,
                item_id="i1",
                started_s=2.5,
                ended_s=3.0,
                text="Gladly.",
                purpose="turn",
                status="cancelled",
                heard_ms=320,
                first_audio_ms=500,
            ),
        ),
        "tools": (ToolUse(tool_call_id="c1", name="book", arguments='{"for": 2}', output='{"ok": 1}', called_s=2.6, took_ms=40),),
        "latencies": (
            Latency(kind=LatencyKind.GREETING, at_s=0.4, ms=400),
            Latency(kind=LatencyKind.FIRST_AUDIO, at_s=2.5, ms=500),
            Latency(kind=LatencyKind.FIRST_AUDIO, at_s=7.5, ms=701),
            Latency(kind=LatencyKind.BARGE_IN, at_s=3.2, ms=180),
        ),
    }
    return CallRecord(**(fields | more))


def journal(number: int = 1, *lines: dict[str, Any], end: str | None = "the agent ended the call") -> str:
    """A small journal."""
    started_at = facts(number).started_at.isoformat().replace("+00:00", "Z")
    head = {"journal": 1, "call_id": call_id(number), "call_sid": f"CA{number}", "started_at": started_at, "version": "0.1.0"}
    tail = [] if end is None else [{"t": 9.5, "command": "HangUp", "reason": end}, {"t": 10.0, "command": "Close", "reason": end}]
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in (head, *lines, *tail))


def write_journal(
    calls_folder: Path, number: int = 1, *, end: str | None = "the agent ended the call", age_s: float = 0.0
) -> Path:
    """Put a call's journal where the server puts it."""
    path = calls_folder / call_id(number) / "call.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(journal(number, {"t": 0.5, "event": "CallStarted", "call_sid": f"CA{number}"}, end=end), encoding="utf-8")
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


def recorded(name: str) -> Iterator[str]:
    """The lines of a call that was recorded."""
    with gzip.open(RECORDED / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from lines
