"""What was written is read back as it was; what a later version, a crash or a hand did to it is told apart."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given, settings

from tests.storage.samples import SECONDS, TEXT, audio_of, instances_of, one_of, with_audio
from tests.storage.tape import HEADER
from trio_voice.core import commands as c
from trio_voice.core import events as e
from trio_voice.core.deadlines import Timer
from trio_voice.core.settings import CallSettings, Turns, Wording
from trio_voice.errors import UserError
from trio_voice.storage.journal import COMMANDS, EVENTS, FORMAT, Header, JournalWriter
from trio_voice.storage.journal_reader import (
    CommandLine,
    EventLine,
    GapLine,
    JournalReader,
    Line,
    RemarkLine,
    TimerLine,
    UnknownLine,
    read_header,
)

FIRST = JournalWriter().header(HEADER)
FRAME = bytes(range(160))
NONE = "this is no journal of trio-voice: its first line is no header"
STAND_IN = zlib.crc32(FRAME).to_bytes(4, "big") * 40


def read(*lines: str) -> list[Line]:
    return list(JournalReader(iter((FIRST, *lines))))


def read_one(line: str) -> Line:
    (found,) = read(line)
    return found


def line_of(value: e.Event | c.Command, now: float = 1.5, *, keep_audio: bool = False) -> str:
    writer = JournalWriter(keep_audio)
    return writer.event(now, value) if isinstance(value, e.Event) else writer.command(now, value)


# --- round trips


@pytest.mark.parametrize("name", EVENTS)
def test_r36_every_event_is_read_as_it_was(name: str) -> None:
    @settings(max_examples=25)
    @given(instances_of(EVENTS[name]), SECONDS)
    def check(event: e.Event, now: float) -> None:
        line = line_of(event, now, keep_audio=True)
        assert read_one(line) == EventLine(2, now, line, event)

    check()


@pytest.mark.parametrize("name", COMMANDS)
def test_r36_every_command_is_read_as_it_was(name: str) -> None:
    @settings(max_examples=25)
    @given(instances_of(COMMANDS[name]), SECONDS)
    def check(command: c.Command, now: float) -> None:
        line = line_of(command, now, keep_audio=True)
        assert read_one(line) == CommandLine(2, now, line, command, exact=True)

    check()


@pytest.mark.parametrize("timer", Timer)
def test_r36_every_deadline_is_read_as_it_was(timer: Timer) -> None:
    line = JournalWriter().timer(3.25, timer)
    assert read_one(line) == TimerLine(2, 3.25, line, timer)


@given(TEXT)
def test_a_remark_is_read_as_it_was(text: str) -> None:
    line = JournalWriter().remark(2.0, text)
    assert read_one(line) == RemarkLine(2, 2.0, line, text)


@given(one_of(EVENTS))
def test_the_order_of_the_keys_does_not_matter(event: e.Event) -> None:
    record: dict[str, Any] = json.loads(line_of(event, keep_audio=True))
    found = read_one(json.dumps(dict(reversed(record.items()))))
    assert isinstance(found, EventLine)
    assert (found.t, found.event) == (1.5, event)


def test_the_header_is_read_as_it_was() -> None:
    header = Header(
        call_id="c1", call_sid="CA1", started_at="2026-11-21T09:30:12.123456Z", version="0.1.0",
        settings=CallSettings(turns=Turns.MODEL, barge_in_min_level_db=6.0), wording=Wording(greeting="Hello?"),
        marks=False, bytes_per_ms=16, apology=FRAME,
    )  # fmt: skip
    assert read_header(JournalWriter(keep_audio=True).header(header)) == header


# --- audio that was left out


@given(one_of(EVENTS))
def test_audio_that_was_left_out_has_a_stand_in_of_its_size(event: e.Event) -> None:
    found = read_one(line_of(event))
    audio = audio_of(event)
    assert isinstance(found, EventLine)
    if audio is None:
        assert found.event == event
    else:
        stand_in = audio_of(found.event)
        assert stand_in is not None
        assert len(stand_in) == len(audio)
        assert with_audio(found.event, audio) == event


def test_the_same_audio_has_the_same_stand_in_and_other_audio_another() -> None:
    same, again, other = read(*(line_of(e.CallerAudio(audio)) for audio in (FRAME, FRAME, FRAME[::-1])))
    assert isinstance(same, EventLine)
    assert isinstance(again, EventLine)
    assert isinstance(other, EventLine)
    assert same.event == again.event == e.CallerAudio(STAND_IN)
    assert same.event != other.event


def test_audio_that_is_handed_on_is_that_of_the_event() -> None:
    writer = JournalWriter()
    lines = [writer.event(1.0, e.CallerAudio(FRAME)), writer.command(1.0, c.AppendAudio(1, FRAME))]
    event, command = read(*lines)
    assert event == EventLine(2, 1.0, lines[0], e.CallerAudio(STAND_IN))
    assert command == CommandLine(3, 1.0, lines[1], c.AppendAudio(1, STAND_IN), exact=True)


def test_of_audio_that_is_not_that_of_the_event_only_the_size_is_known() -> None:
    line = line_of(c.AppendAudio(1, FRAME))
    assert read_one(line) == CommandLine(2, 1.5, line, c.AppendAudio(1, STAND_IN), exact=False)


def test_a_deadline_hands_no_audio_on() -> None:
    writer = JournalWriter()
    handed_on = '{"t":1.0,"command":"AppendAudio","session":1,"audio":{"bytes":160}}'
    *_, command = read(writer.event(1.0, e.CallerAudio(FRAME)), writer.timer(1.0, Timer.MARK), handed_on)
    assert isinstance(command, CommandLine)
    assert command.command == c.AppendAudio(1, bytes(160))


# --- other versions


def test_unknown_fields_are_passed_over() -> None:
    line = '{"t":1.0,"event":"SpeechStarted","session":1,"item_id":"i","at_ms":640,"confidence":0.9,"words":["hm"]}'
    assert read_one(line) == EventLine(2, 1.0, line, e.SpeechStarted(1, "i", 640))


def test_fields_that_are_missing_have_their_defaults() -> None:
    line = '{"t":1.0,"event":"ItemAdded","session":1,"response_id":"r","item_id":"i"}'
    assert read_one(line) == EventLine(2, 1.0, line, e.ItemAdded(1, "r", "i", e.ItemKind.MESSAGE))


@pytest.mark.parametrize("line", ['{"t":1.0,"measure":"cpu","of":"call"}', '{"summary":{"turns":3}}', '{"t":2}', "{}", "", "  "])
def test_unknown_lines_are_passed_over(line: str) -> None:
    remark = JournalWriter().remark(2.0, "and on")
    assert read(line, remark) == [RemarkLine(3, 2.0, remark, "and on")]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"t":1.0,"event":"CallerYawned","jaw":"wide"}', "this version knows no event CallerYawned"),
        ('{"t":1.0,"command":"SendSms","text":"hi"}', "this version knows no command SendSms"),
        ('{"command":"SendSms","t":1.0}', "this version knows no command SendSms"),
        ('{"t":1.0,"timer":"tea"}', "this version knows no timer tea"),
        ('{"t":1.0,"command":"Discard","reason":"bad_mood"}', "this version knows no Refusal bad_mood"),
    ],
)
def test_names_and_values_that_are_not_known_are_not_passed_over(line: str, problem: str) -> None:
    assert read_one(line) == UnknownLine(2, 1.0, line, problem)


def test_r36_a_setting_that_is_missing_has_its_default() -> None:
    record: dict[str, Any] = json.loads(FIRST)
    del record["settings"]["watchdog_s"], record["wording"]["notice"], record["marks"], record["apology"]
    assert read_header(json.dumps(record)) == HEADER


def test_r36_a_setting_that_was_removed_is_passed_over() -> None:
    record: dict[str, Any] = json.loads(FIRST)
    record["settings"]["patience_s"] = 3.0
    record["wording"]["sigh"] = "Sigh."
    record["leg"] = {"dialect": "twilio"}
    assert read_header(json.dumps(record)) == HEADER


def test_a_setting_of_the_oldest_journals_is_all_default() -> None:
    oldest = f'{{"journal":{FORMAT},"call_id":"c","call_sid":"s","started_at":"then","version":"0"}}'
    assert read_header(oldest) == Header(call_id="c", call_sid="s", started_at="then", version="0")


# --- journals that are none, or broken


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "the file is empty: this is no journal of trio-voice"),
        ("RIFF....WAVEfmt ", f"{NONE} (JSON is malformed"),
        ('{"call_id":"c"}', f"{NONE} (object missing required field `journal`)"),
        ('{"journal":"one"}', f"{NONE} (expected `int`, got `str` - at `$.journal`"),
        ("[1, 2]", f"{NONE} (expected `object`, got `array`)"),
        ('{"journal":99,"call_id":"c"}', "the journal has format 99, this version reads up to 1: install a newer trio-voice"),
        ('{"journal":1,"call_id":"c"}', "the journal's header cannot be read: object missing required field `call_sid`"),
        (FIRST.replace('"watchdog_s":3.0', '"watchdog_s":-3.0'), "the journal's header cannot be read: "),
        (FIRST.replace('"watchdog_s":3.0', '"watchdog_s":"soon"'), "the journal's header cannot be read: expected `float`"),
    ],
)  # fmt: skip
def test_a_first_line_that_is_none_is_refused(line: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        JournalReader(iter([line]))
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"t":1.0,"event":"SpeechSta', "line 3 of the journal cannot be read (input data was truncated): "),
        ('{"t":"soon","event":"CallStarted","call_sid":"s"}', "line 3 of the journal cannot be read (expected `float | null`"),
        ('{"t":1.0,"event":"SpeechStarted","session":"x"}', "line 3 of the journal cannot be read (expected `int`, got `str`"),
        ('{"t":1.0,"event":"SpeechStarted"}', "line 3 of the journal cannot be read (object missing required field `session`)"),
        ('{"t":1.0,"event":"CallerAudio","audio":{"bytes":-1}}', "line 3 of the journal cannot be read (expected `int` >= 0"),
        ('{"t":1.0,"event":"CallerAudio","audio":{"bytes":1e15}}', "line 3 of the journal cannot be read (expected `int`"),
        (
            '{"t":1.0,"event":"CallerAudio","audio":{"bytes":67108865}}',
            "line 3 of the journal cannot be read (expected `int` <= 67108864",
        ),
        (
            '{"t":1.0,"event":"CallerAudio","audio":{"bytes":3,"base64":"?"}}',
            "line 3 of the journal cannot be read (invalid base64",
        ),
        ("and then he said", "line 3 of the journal cannot be read (JSON is malformed"),
        ("\x00\x00\x00\x00", "line 3 of the journal cannot be read"),
        ("broken\nbroken too", "line 3 of the journal cannot be read (JSON is malformed"),
    ],
)
def test_a_broken_line_is_refused_with_its_number(line: str, told: str) -> None:
    remark = JournalWriter().remark(2.0, "and on")
    with pytest.raises(UserError) as caught:
        read(remark, *line.splitlines(), remark)
    assert str(caught.value).lower().startswith(told.lower())


@pytest.mark.parametrize("kept", range(1, 60))
def test_a_last_line_that_was_cut_off_anywhere_is_left_out(kept: int) -> None:
    whole = line_of(e.SpeechStarted(1, "item_1", 640))
    assert kept < len(whole)
    journal = JournalReader(iter([FIRST, whole, whole[:kept]]))
    assert list(journal) == [EventLine(2, 1.5, whole, e.SpeechStarted(1, "item_1", 640))]
    assert journal.cut


def test_a_journal_with_all_its_lines_was_not_cut() -> None:
    journal = JournalReader(iter([FIRST, line_of(e.SessionReady(1))]))
    assert len(list(journal)) == 1
    assert not journal.cut


def test_lost_lines_are_told() -> None:
    remark = JournalWriter().remark(2.0, "and on")
    assert read(remark, '{"lost_lines":12}', remark) == [
        RemarkLine(2, 2.0, remark, "and on"),
        GapLine(3, 2.0, '{"lost_lines":12}', 12),
        RemarkLine(4, 2.0, remark, "and on"),
    ]


def test_what_was_being_written_when_the_disk_failed_belongs_to_the_gap() -> None:
    assert read('{"t":1.0,"event":"Spee', '{"lost_lines":12}') == [GapLine(3, 0.0, '{"lost_lines":12}', 12)]
