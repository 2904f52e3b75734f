"""What is written: one JSON object a line, every field of every class, no payload unless asked for."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storage.samples import SECONDS, TEXT, audio_of, instances_of, one_of
from trio_voice.core import commands as c
from trio_voice.core import events as e
from trio_voice.core.deadlines import Timer
from trio_voice.core.settings import CallSettings, Turns, Wording
from trio_voice.storage.journal import COMMANDS, EVENTS, FORMAT, Header, JournalWriter

FRAME = bytes(range(160))
KINDS: Mapping[str, type[Any]] = {**EVENTS, **COMMANDS}


def leaves(base: type[Any]) -> set[type[Any]]:
    """The classes below one that are no base of others, wherever they stand."""
    below = base.__subclasses__()
    return {leaf for kind in below for leaf in leaves(kind)} if below else {base}


def written(value: e.Event | c.Command, now: float = 1.5, *, keep_audio: bool = False) -> dict[str, Any]:
    writer = JournalWriter(keep_audio)
    line = writer.event(now, value) if isinstance(value, e.Event) else writer.command(now, value)
    assert "\n" not in line
    record: dict[str, Any] = json.loads(line)
    return record


def test_every_class_of_the_core_can_be_written() -> None:
    assert set(EVENTS.values()) == leaves(e.Event)
    assert set(COMMANDS.values()) == leaves(c.Command)
    assert not EVENTS.keys() & COMMANDS.keys()


@pytest.mark.parametrize("name", KINDS)
def test_a_line_is_the_moment_the_class_and_all_its_fields_in_their_order(name: str) -> None:
    @settings(max_examples=25)
    @given(instances_of(KINDS[name]))
    def check(value: Any) -> None:
        key = "event" if name in EVENTS else "command"
        record = written(value)
        assert list(record) == ["t", key, *(each.name for each in attrs.fields(type(value)))]
        assert record["t"] == 1.5
        assert record[key] == name

    check()


@given(one_of(EVENTS), SECONDS)
def test_the_moment_is_exactly_the_one_that_was_decided_on(event: e.Event, now: float) -> None:
    assert written(event, now)["t"] == now


def test_audio_is_its_size_and_hash() -> None:
    summary = {"bytes": 160, "crc32": zlib.crc32(FRAME)}
    assert written(e.CallerAudio(FRAME, -31.25)) == {
        "t": 1.5, "event": "CallerAudio", "audio": summary, "level_dbfs": -31.25
    }  # fmt: skip
    assert written(e.CallerAudio(FRAME))["level_dbfs"] is None
    assert written(e.ModelAudio(2, 'r"1', "i1", FRAME)) == {
        "t": 1.5, "event": "ModelAudio", "session": 2, "response_id": 'r"1', "item_id": "i1", "audio": summary, "level_dbfs": None
    }  # fmt: skip
    assert written(c.AppendAudio(1, FRAME))["audio"] == summary
    assert written(c.PlayAudio("r", "i", FRAME))["audio"] == summary


@given(one_of(KINDS))
def test_no_payload_is_written_unless_asked_for(value: e.Event | c.Command) -> None:
    audio = audio_of(value)
    assert "base64" not in json.dumps(written(value))
    if audio is not None:
        assert written(value, keep_audio=True)["audio"]["base64"] == b64encode(audio).decode()


def test_audio_that_is_handed_on_is_said_once() -> None:
    writer = JournalWriter(keep_audio=True)
    writer.event(1.0, e.CallerAudio(FRAME))
    assert json.loads(writer.command(1.0, c.AppendAudio(1, FRAME)))["audio"] == {"bytes": 160}
    writer.event(1.0, e.ModelAudio(1, "r", "i", FRAME))
    assert json.loads(writer.command(1.0, c.PlayAudio("r", "i", FRAME)))["audio"] == {"bytes": 160}


@given(
    audio=st.binary(max_size=400), handed_on=st.booleans(), level_dbfs=st.none() | st.floats(-100, 0), keep_audio=st.booleans()
)
def test_a_frame_is_the_line_of_its_event_and_that_of_its_command(
    audio: bytes, handed_on: bool, level_dbfs: float | None, keep_audio: bool
) -> None:
    event, command = e.CallerAudio(audio, level_dbfs), c.AppendAudio(3, audio if handed_on else bytes(list(audio)))
    one_by_one, together = JournalWriter(keep_audio), JournalWriter(keep_audio)
    assert together.frame(1.25, event, command) == f"{one_by_one.event(1.25, event)}\n{one_by_one.command(1.25, command)}"
    assert together.command(1.25, command) == one_by_one.command(1.25, command)


def test_audio_of_another_event_is_not_taken_for_that_of_this_one() -> None:
    writer = JournalWriter()
    writer.event(1.0, e.CallerAudio(FRAME))
    other = json.loads(writer.command(1.0, c.AppendAudio(1, FRAME[:80])))["audio"]
    assert other == {"bytes": 80, "crc32": zlib.crc32(FRAME[:80])}
    for cause in (writer.event(1.02, e.SessionReady(1)), writer.timer(1.02, Timer.MARK)):
        assert cause
        assert "crc32" in json.loads(writer.command(1.02, c.AppendAudio(1, FRAME)))["audio"]


def test_the_header_has_everything_that_a_call_begins_with() -> None:
    header = Header(
        call_id="c1", call_sid="CA1", started_at="2026-11-21T09:30:12.123456Z", version="0.1.0",
        settings=CallSettings(turns=Turns.MODEL, idle_s=7.5), wording=Wording(greeting="Hello?"), marks=False, apology=FRAME,
    )  # fmt: skip
    record = json.loads(JournalWriter().header(header))
    assert next(iter(record)) == "journal"
    assert record["journal"] == FORMAT
    assert record["settings"].keys() == {each.name for each in attrs.fields(CallSettings)}
    assert record["settings"]["turns"] == "model"
    assert record["settings"]["idle_s"] == 7.5
    assert record["wording"]["greeting"] == "Hello?"
    assert record["marks"] is False
    assert record["apology"] == {"bytes": 160, "crc32": zlib.crc32(FRAME)}
    assert "base64" in json.loads(JournalWriter(keep_audio=True).header(header))["apology"]


@pytest.mark.parametrize("timer", Timer)
def test_a_deadline_is_written_by_its_name(timer: Timer) -> None:
    assert json.loads(JournalWriter().timer(3.0, timer)) == {"t": 3.0, "timer": timer.value}


@given(TEXT)
def test_a_remark_is_any_text(text: str) -> None:
    assert json.loads(JournalWriter().remark(2.0, text)) == {"t": 2.0, "remark": text}
