"""From a journal to a record: on calls that were recorded, on small ones made for a point, and on anything at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.records.samples import facts, journal, recorded
from trio_voice.storage import digest
from trio_voice.storage.call_record import CallRecord, Latency, LatencyKind, Outcome, Speaker, ToolUse, Turn
from trio_voice.storage.digest import LARGEST, MOST_CHARACTERS, read_record

Line = dict[str, Any]


def read(*lines: Line, end: str | None = None) -> CallRecord:
    found = read_record(journal(1, *lines, end=end).splitlines())
    assert found is not None
    return found


def appended(t: float, size: int = 160, session: int = 1) -> Line:
    return {"t": t, "command": "AppendAudio", "session": session, "audio": {"bytes": size}}


def played(t: float, item_id: str = "i1", response_id: str = "r1") -> Line:
    return {"t": t, "command": "PlayAudio", "response_id": response_id, "item_id": item_id, "audio": {"bytes": 160}}


def began(t: float, at_ms: int = 0, item_id: str = "u1") -> Line:
    return {"t": t, "event": "SpeechStarted", "session": 1, "item_id": item_id, "at_ms": at_ms}


def stopped(t: float, item_id: str = "u1") -> Line:
    return {"t": t, "event": "SpeechStopped", "session": 1, "item_id": item_id, "at_ms": 0}


# --- calls that were recorded


def test_a_call_of_two_turns_and_a_tool() -> None:
    found = read_record(recorded("two_turns_and_a_goodbye"))
    assert found is not None
    assert (found.outcome, found.end_reason) == (Outcome.COMPLETED, "the agent ended the call")
    assert [(turn.speaker.value, turn.purpose, turn.status, turn.first_audio_ms is not None) for turn in found.turns] == [
        ("agent", "greeting", "completed", False),
        ("caller", None, None, False),
        ("agent", "turn", "completed", True),
        ("caller", None, None, False),
        ("agent", "turn", "completed", True),
    ]
    assert found.turns[0].text == "Good morning. How can I help you?"
    assert [(tool.name, tool.arguments) for tool in found.tools] == [("hang_up", '{"reason": "everything is said"}')]
    replies = [turn.first_audio_ms for turn in found.turns if turn.first_audio_ms is not None]
    assert found.latencies_of(LatencyKind.FIRST_AUDIO) == replies
    assert all(0 < ms < 5000 for ms in (*replies, *found.latencies_of(LatencyKind.GREETING)))


def test_a_barge_in_is_counted_and_timed_and_the_reply_is_kept_as_it_was_heard() -> None:
    lines = list(recorded("barge_in_while_the_model_speaks"))
    (cut,) = [line for line in map(json.loads, lines) if line.get("command") == "TruncateItem"]
    found = read_record(lines)
    assert found is not None
    (took_ms,) = found.latencies_of(LatencyKind.BARGE_IN)
    assert (found.barge_ins, 0 < took_ms < 2000) == (1, True)
    assert [(turn.status, turn.heard_ms) for turn in found.turns if turn.heard_ms is not None] == [("cancelled", cut["heard_ms"])]


@pytest.mark.parametrize(
    ("name", "outcome", "faults"),
    [
        ("caller_hangs_up_in_mid_reply", Outcome.CALLER_HUNG_UP, 0),
        ("barge_in_that_is_confirmed", Outcome.COMPLETED, 0),
        ("silent_caller", Outcome.COMPLETED, 0),
    ],
)
def test_how_recorded_calls_ended(name: str, outcome: Outcome, faults: int) -> None:
    found = read_record(recorded(name))
    assert found is not None
    assert (found.outcome, found.faults) == (outcome, faults)


# --- how a call ends


@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        ([], Outcome.CUT_OFF),
        ([{"t": 1.0, "command": "HangUp", "reason": "x"}, {"t": 1.0, "command": "Close", "reason": "x"}], Outcome.COMPLETED),
        (
            [{"t": 1.0, "event": "CallerHungUp", "reason": "stop"}, {"t": 1.0, "command": "Close", "reason": "x"}],
            Outcome.CALLER_HUNG_UP,
        ),
        (
            [
                {"t": 1.0, "event": "CallerHungUp", "reason": "the server is ending"},
                {"t": 1.0, "command": "Close", "reason": "x"},
            ],
            Outcome.SERVER_ENDED,
        ),
        (
            [
                {"t": 1.0, "remark": "the caller's line broke (code: 1006, reason: )"},
                {"t": 1.0, "event": "CallerHungUp", "reason": "x"},
                {"t": 1.0, "command": "Close", "reason": "x"},
            ],
            Outcome.LINE_LOST,
        ),
        (
            [
                {"t": 1.0, "timer": "media"},
                {"t": 1.0, "command": "HangUp", "reason": "x"},
                {"t": 1.0, "command": "Close", "reason": "x"},
            ],
            Outcome.LINE_LOST,
        ),
        (
            [{"t": 1.0, "event": "FatalErrorRaised", "reason": "x"}, {"t": 2.0, "command": "Close", "reason": "x"}],
            Outcome.FAILED,
        ),
        ([played(1.0, "apology", "apology"), {"t": 2.0, "command": "Close", "reason": "x"}], Outcome.FAILED),
    ],
)
def test_how_a_call_ended(lines: list[Line], outcome: Outcome) -> None:
    assert read(*lines).outcome is outcome


def test_the_reasons_that_the_server_writes_are_those_that_are_read() -> None:
    from inspect import getsource

    from trio_voice.core import ending
    from trio_voice.core.deadlines import Timer
    from trio_voice.server import caller_leg

    for text in (*digest._BROKEN_LINE, digest._SERVER_ENDS):
        assert f'"{text}"' in getsource(caller_leg)
    assert (ending.APOLOGY, Timer.MEDIA.value) == (digest._APOLOGY, digest._LAST_OF_A_DEAD_LINE)


# --- latencies


def test_a_barge_in_is_timed_from_the_audio_in_which_the_detector_heard_it() -> None:
    frames = [appended(round(1.0 + 0.02 * number, 2)) for number in range(50)]  # the session's clock is 1 s behind the call's
    found = read(*frames, began(2.0, at_ms=600), {"t": 2.1, "command": "ClearPlayback"}, end="x")
    assert found.latencies == (Latency(kind=LatencyKind.BARGE_IN, at_s=2.1, ms=500),)
    assert found.turns == (Turn(speaker=Speaker.CALLER, item_id="u1", started_s=1.6),)


@pytest.mark.parametrize("at_ms", [1000, 60_000])
def test_speech_that_the_detector_dates_where_no_audio_was_begins_when_it_is_reported(at_ms: int) -> None:
    frames = [appended(round(0.02 * number, 2)) for number in range(50)]
    assert read(*frames, began(2.0, at_ms=at_ms)).turns[0].started_s == 2.0


def test_a_new_session_has_a_clock_of_its_own() -> None:
    frames = [appended(0.02 * number) for number in range(50)] + [
        appended(5.0 + 0.02 * number, session=2) for number in range(50)
    ]
    speech = {"t": 6.0, "event": "SpeechStarted", "session": 2, "item_id": "u1", "at_ms": 100}
    assert read(*frames, speech).turns[0].started_s == 5.1


def test_one_speech_is_one_barge_in_however_often_something_is_cleared() -> None:
    found = read(
        began(1.0),
        *({"t": t, "command": "ClearPlayback"} for t in (1.2, 1.5)),
        began(3.0),
        {"t": 3.1, "command": "ClearPlayback"},
    )
    assert (found.barge_ins, found.latencies_of(LatencyKind.BARGE_IN)) == (2, [200, 100])


def test_a_clear_while_the_caller_is_silent_is_no_barge_in() -> None:
    found = read(began(1.0), stopped(2.0), {"t": 3.0, "command": "ClearPlayback"}, end="x")
    assert (found.barge_ins, found.latencies) == (0, ())


def test_the_first_audio_after_the_last_of_two_utterances_is_what_counts() -> None:
    found = read(
        played(0.5), began(1.0), stopped(2.0), began(2.5, item_id="u2"), stopped(3.0, "u2"), played(3.4, "i2"), played(3.6, "i2")
    )
    assert [(each.kind, each.ms) for each in found.latencies] == [(LatencyKind.GREETING, 500), (LatencyKind.FIRST_AUDIO, 400)]
    assert [turn.first_audio_ms for turn in found.turns if turn.item_id == "i2"] == [400]


# --- words and tools


def test_what_the_caller_said_is_found_whenever_it_comes() -> None:
    words = {"t": 9.0, "event": "CallerTranscribed", "session": 1, "item_id": "u1", "text": "yes"}
    assert read(began(1.0), stopped(2.0), words).turns == (
        Turn(speaker=Speaker.CALLER, item_id="u1", started_s=1.0, ended_s=2.0, text="yes"),
    )
    assert read(words).turns == (Turn(speaker=Speaker.CALLER, item_id="u1", started_s=9.0, text="yes"),)


def test_a_tool_that_did_not_return_has_no_output() -> None:
    run = {"t": 1.0, "command": "RunTool", "tool_call_id": "c1", "name": "book", "arguments": "{}"}
    assert read(run).tools == (ToolUse(tool_call_id="c1", name="book", arguments="{}", called_s=1.0),)
    finished = [{"t": 1.25, "event": "ToolFinished", "tool_call_id": "c1", "output": each} for each in ("first", "again")]
    assert read(run, *finished).tools == (
        ToolUse(tool_call_id="c1", name="book", arguments="{}", called_s=1.0, output="first", took_ms=250),
    )


def test_texts_are_bounded_and_without_zero_bytes() -> None:
    words = {"t": 1.0, "event": "CallerTranscribed", "session": 1, "item_id": "u1", "text": "a\0b" + "x" * MOST_CHARACTERS}
    (turn,) = read(words).turns
    assert turn.text is not None
    assert (turn.text[:3], len(turn.text)) == ("a\ufffdb", MOST_CHARACTERS)


def test_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "MOST_ROWS", 2)
    words = [
        {"t": 1.0, "event": "CallerTranscribed", "session": 1, "item_id": f"u{number}", "text": "yes"} for number in range(5)
    ]
    tools = [{"t": 1.0, "command": "RunTool", "tool_call_id": f"c{number}", "name": "n", "arguments": ""} for number in range(5)]
    clears = [line for _ in range(5) for line in (began(1.0), {"t": 1.0, "command": "ClearPlayback"})]
    found = read(*words, *tools, *clears)
    assert (len(found.turns), len(found.tools), len(found.latencies), found.barge_ins) == (2, 2, 2, 5)


# --- journals that are not whole


def test_lost_lines_are_counted() -> None:
    assert read({"lost_lines": 3}, {"lost_lines": 4}).lost_lines == 7
    assert read({"lost_lines": 2**64}, {"lost_lines": -1}, {"lost_lines": "x"}, {"lost_lines": 4}).lost_lines == 4
    assert read(*[{"lost_lines": LARGEST - 1}] * 3).lost_lines == LARGEST


def test_a_journal_that_was_cut_off_in_a_line_gives_what_it_has() -> None:
    text = journal(1, began(1.0), end="x")
    found = read_record(text[: text.rindex("Close")].splitlines())
    assert found is not None
    assert (found.outcome, found.duration_s, len(found.turns)) == (Outcome.CUT_OFF, 9.5, 1)


def test_without_a_header_there_is_a_record_only_of_what_is_known_otherwise() -> None:
    lines = journal(1, began(1.0)).splitlines()[1:]
    assert read_record(lines) is None
    known = facts(caller="…5310")
    found = read_record(lines, known)
    assert found is not None
    assert (found.facts, found.duration_s) == (known, 10.0)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANY = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)
NAMES = sorted(digest._TAKERS)
KEYS = [
    "session",
    "item_id",
    "at_ms",
    "response_id",
    "request",
    "purpose",
    "status",
    "text",
    "final",
    "heard_ms",
    "reason",
    "audio",
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["event", "command", "timer", "remark", "lost_lines"]),
            st.sampled_from(NAMES) | ANY,
            ANY | st.floats(0, 100),
            st.dictionaries(st.sampled_from(KEYS), ANY, max_size=6),
        ),
        max_size=8,
    )
)
def test_nothing_that_stands_in_a_journal_breaks_the_reader(parts: list[tuple[str, Any, Any, Line]]) -> None:
    lines = [json.dumps({"t": t, kind: name, **more}, separators=(",", ":")) for kind, name, t, more in parts]
    found = read_record(lines, facts())
    assert found is not None
    assert found.outcome in Outcome


def test_a_long_call_that_we_end_is_completed_though_the_carriers_audio_was_looked_for_on_the_way() -> None:
    found = read(
        {"t": 30.0, "timer": "media"},
        {"t": 30.7, "event": "HangUpAsked", "reason": "bye", "farewell": False},
        {"t": 32.7, "command": "HangUp", "reason": "bye"},
        end="bye",
    )
    assert found.outcome is Outcome.COMPLETED


def test_what_the_guards_refused_is_counted_and_what_answers_a_frame_is_not() -> None:
    found = read(
        began(1.0),
        {"t": 1.0, "command": "Discard", "reason": "greeting_lock"},
        {"t": 1.5, "command": "Discard", "reason": "cancelled_response"},  # late audio: the line of its frame is passed over
        {"t": 2.0, "command": "Refuse", "purpose": "filler", "reason": "response_active", "waits": False},
    )
    assert found.refusals == {"greeting_lock": 1, "response_active": 1}


def test_the_sound_for_a_caller_who_waits_is_nobodys_turn() -> None:
    found = read(played(1.5, "comfort-1500", "comfort"), played(2.0))
    assert [turn.item_id for turn in found.turns] == ["i1"]
    assert [(each.kind, each.ms) for each in found.latencies] == [(LatencyKind.GREETING, 2000)]
