"""From a journal's lines to lanes: what is shown, and when."""

from __future__ import annotations

import json
from typing import Any

from trio_voice.storage.timeline_lanes import ROUTINE_TIMERS, Lanes, Mark, Point, Response, Text, Tone, Turn, read_lanes


def lanes(*records: dict[str, Any]) -> Lanes:
    return read_lanes([json.dumps(record) for record in records])


def audio(ms: int) -> dict[str, int]:
    return {"bytes": ms * 8, "crc32": 1}


def test_the_header_names_the_call() -> None:
    assert lanes({"journal": 1, "call_id": "c7"}, {"t": 2.5, "event": "CallStarted"}).header["call_id"] == "c7"
    assert lanes({"journal": 1}, {"t": 2.5, "event": "CallStarted"}).end_s == 2.5


def test_a_turn_is_started_stopped_and_committed() -> None:
    read = lanes(
        {"t": 1.0, "event": "SpeechStarted", "session": 1, "item_id": "a"},
        {"t": 2.0, "event": "SpeechStopped", "session": 1, "item_id": "a"},
        {"t": 2.1, "event": "TurnCommitted", "session": 1, "item_id": "a"},
        {"t": 3.0, "event": "SpeechStarted", "session": 1, "item_id": "b"},
        {"t": 4.0, "event": "CallerTranscribed", "session": 1, "item_id": "a", "text": " Hello. "},
        {"t": 4.0, "event": "CallerTranscribed", "session": 1, "item_id": "b", "text": ""},
    )
    assert read.turns == [Turn("a", 1.0, 2.0, 2.1), Turn("b", 3.0)]
    assert read.caller_texts == [Text(1.0, "Hello.")]


def test_a_response_is_requested_created_and_done() -> None:
    read = lanes(
        {"t": 1.0, "command": "CreateResponse", "request": 1, "purpose": "greeting"},
        {"t": 1.2, "event": "ResponseCreated", "response_id": "r1", "request": 1},
        {"t": 2.0, "event": "ResponseDone", "response_id": "r1", "status": "completed"},
        {"t": 3.0, "command": "CreateResponse", "request": 2, "purpose": "tool_result"},
        {"t": 3.1, "event": "ResponseCreated", "response_id": "r2", "request": None},
        {"t": 3.5, "event": "ResponseDone", "response_id": "r2", "status": "failed", "error_code": "quota"},
        {"t": 4.0, "event": "ResponseCreated", "response_id": "r3"},
        {"t": 5.0, "command": "CreateResponse", "request": 3, "purpose": "turn"},
    )
    assert read.responses == [
        Response("greeting", 1, "r1", 1.0, 1.2, 2.0, "completed"),
        Response("tool result", 2, "r2", 3.0, 3.1, 3.5, "failed"),
        Response("the model's own", None, "r3", None, 4.0),
        Response("turn", 3, None, 5.0),
    ]
    assert read.moments == [Point(3.5, "failed: quota", Tone.FAULT)]


def test_a_barge_in_is_the_clear_while_the_caller_speaks() -> None:
    read = lanes(
        {"t": 1.0, "command": "PlayAudio", "item_id": "i", "audio": audio(4000)},
        {"t": 2.0, "event": "SpeechStarted", "item_id": "a"},
        {"t": 2.0, "command": "ClearPlayback"},
        {"t": 2.0, "command": "CancelResponse", "response_id": "r1"},
        {"t": 2.0, "command": "TruncateItem", "item_id": "i", "heard_ms": 960},
        {"t": 2.0, "command": "DeleteItem", "item_id": "j"},
        {"t": 2.9, "event": "SpeechStopped", "item_id": "a"},
        {"t": 3.0, "event": "ModelErred", "code": "boom"},
        {"t": 3.0, "command": "ClearPlayback"},
    )
    assert read.barge_ins_s == [2.0]
    assert [point.label for point in read.decisions] == [
        "barge-in",
        "clear",
        "cancel",
        "truncate at 960 ms",
        "delete unheard item",
        "clear",
    ]
    assert {point.tone for point in read.decisions} == {Tone.CUT}
    assert read.playing == [(1.0, 2.0)]


def test_what_was_refused_is_shown_with_its_reason() -> None:
    read = lanes(
        {"t": 1.0, "event": "SpeechStarted", "item_id": "a"},
        {"t": 1.0, "command": "Discard", "reason": "greeting_lock"},
        {"t": 3.0, "event": "ModelAudio", "item_id": "i"},
        {"t": 3.0, "command": "Discard", "reason": "cancelled_response"},
        {"t": 4.0, "command": "Refuse", "purpose": "turn", "reason": "response_active", "waits": True},
    )
    assert read.decisions == [
        Point(1.0, "no barge-in: greeting lock", Tone.REFUSED),
        Point(4.0, "no response: response active, waits", Tone.REFUSED),
    ]


def test_words_of_the_agent_begin_where_they_are_heard() -> None:
    read = lanes(
        {"t": 0.9, "event": "ModelTranscript", "item_id": "i", "text": "Good "},
        {"t": 1.0, "command": "PlayAudio", "item_id": "i", "audio": audio(1000)},
        {"t": 1.1, "command": "PlayAudio", "item_id": "i", "audio": audio(1000)},
        {"t": 1.1, "event": "ModelTranscript", "item_id": "i", "text": "morning."},
        {"t": 1.2, "command": "PlayAudio", "item_id": "j", "audio": audio(1000)},
        {"t": 1.2, "event": "ModelTranscript", "item_id": "j", "text": "Good "},
        {"t": 1.3, "event": "ModelTranscript", "item_id": "j", "text": "Good bye.", "final": True},
        {"t": 1.4, "event": "ModelTranscript", "item_id": "j", "text": "bye."},
        {"t": 9.0, "event": "ModelTranscript", "item_id": "k", "text": "Nobody heard this."},
    )
    assert read.agent_texts == [Text(1.0, "Good morning."), Text(3.0, "Good bye."), Text(9.0, "Nobody heard this.", unheard=True)]
    assert read.playing == [(1.0, 4.0)]


def test_marks_timers_and_the_rest() -> None:
    read = lanes(
        {"t": 1.0, "command": "SendMark", "name": "0.1"},
        {"t": 1.2, "event": "PlaybackMarked", "name": "0.1"},
        {"t": 2.0, "timer": "turn_end"},
        {"t": 3.0, "event": "DigitPressed", "digit": "5"},
        {"t": 3.5, "event": "ModelErred", "code": None, "message": "no code"},
        {"t": 3.6, "event": "SessionLost", "reason": "reset"},
        {"t": 4.0, "command": "HangUp", "reason": "goodbye heard"},
        {"t": 4.0, "event": "CallerHungUp", "reason": ""},
    )
    assert read.marks == [Mark(1.0, "0.1", echoed=False), Mark(1.2, "0.1", echoed=True)]
    assert read.moments == [
        Point(2.0, "turn end", Tone.TIMER),
        Point(3.0, "key: 5"),
        Point(3.5, "error: no code", Tone.FAULT),
        Point(3.6, "session lost: reset", Tone.FAULT),
        Point(4.0, "hang up: goodbye heard"),
        Point(4.0, "caller gone"),
    ]


def test_what_cannot_be_read_is_passed_over() -> None:
    read = read_lanes(['{"t": 1.0, "event": "Unheard', "[]", '{"event": "SpeechStarted"}', '{"t": 1.0, "novelty": 1}', ""])
    assert (read.turns, read.end_s) == ([], 1.0)
    assert lanes({"t": 1.0, "event": "SpeechStopped", "item_id": "x"}, {"t": 2.0, "event": "TurnCommitted"}).turns == []
    assert lanes({"t": 1.0, "event": "NeverHeardOf"}, {"t": 1.0, "command": "NeverHeardOf"}).decisions == []


def test_what_a_cut_reply_would_have_said_is_told_from_what_was_heard() -> None:
    said = {"event": "ModelTranscript", "item_id": "i", "text": "one two three four", "final": True}
    playing = {"t": 1.0, "command": "PlayAudio", "item_id": "i", "audio": audio(4000)}
    cut = {"t": 2.0, "command": "ClearPlayback"}
    read = lanes(playing, {"t": 1.1} | said, cut)
    assert read.agent_texts == [Text(1.0, "one"), Text(2.0, "two three four", unheard=True)]
    assert read.unheard == [(2.0, 5.0)]
    assert lanes(playing, {"t": 1.1} | said, {"t": 3.0, "event": "CallerHungUp"}).unheard == [(3.0, 5.0)]
    assert lanes(playing, {"t": 1.1} | said, {"t": 5.0, "event": "CallerHungUp"}).unheard == []
    other = {"t": 3.5, "command": "PlayAudio", "item_id": "j", "audio": audio(1000)}
    assert lanes(playing, {"t": 1.1} | said, cut, other).unheard == [(2.0, 3.5)]
    resumed = lanes(playing, {"t": 1.1} | said, cut, {"t": 2.2, "command": "PlayAudio", "item_id": "i", "audio": audio(3000)})
    assert (resumed.unheard, resumed.agent_texts) == ([], [Text(1.0, "one two three four")])


def test_a_reply_that_waited_behind_the_one_that_was_cut_was_not_heard_at_all() -> None:
    read = lanes(
        {"t": 1.0, "command": "PlayAudio", "item_id": "i", "audio": audio(2000)},
        {"t": 1.0, "command": "PlayAudio", "item_id": "j", "audio": audio(2000)},
        {"t": 1.1, "event": "ModelTranscript", "item_id": "j", "text": "later", "final": True},
        {"t": 2.0, "command": "ClearPlayback"},
    )
    assert read.unheard == [(2.0, 3.0), (3.0, 5.0)]
    assert read.agent_texts == [Text(3.0, "later", unheard=True)]


def test_words_whose_item_was_deleted_before_any_of_it_was_played_were_not_heard() -> None:
    read = lanes(
        {"t": 1.0, "event": "ResponseCreated", "response_id": "r1"},
        {"t": 1.1, "event": "ItemAdded", "response_id": "r1", "item_id": "i"},
        {"t": 1.2, "event": "ModelTranscript", "item_id": "i", "text": "This is billing.", "final": True},
        {"t": 1.3, "event": "ResponseDone", "response_id": "r1", "status": "completed"},
        {"t": 1.3, "command": "DeleteItem", "item_id": "i"},
    )
    assert read.agent_texts == [Text(1.2, "This is billing.", unheard=True)]
    assert read.responses == [Response("the model's own", None, "r1", None, 1.0, 1.3, "completed", unheard=True)]


def test_a_response_is_heard_if_one_of_its_items_was() -> None:
    def items(response: str, *item_ids: str) -> list[dict[str, Any]]:
        added = [{"t": 1.0, "event": "ItemAdded", "response_id": response, "item_id": item_id} for item_id in item_ids]
        return [{"t": 1.0, "event": "ResponseCreated", "response_id": response}, *added]

    read = lanes(
        *items("partly", "i", "j"),
        *items("queued", "k"),
        *items("kept", "l"),
        *({"t": 1.0, "command": "PlayAudio", "item_id": item_id, "audio": audio(1000)} for item_id in "ijk"),
        {"t": 1.5, "command": "ClearPlayback"},
        *({"t": 1.5, "command": "DeleteItem", "item_id": item_id} for item_id in "jk"),
    )
    assert [response.unheard for response in read.responses] == [False, True, False]


def test_an_apology_at_the_very_moment_of_the_cut_is_not_marked_as_unheard() -> None:
    read = lanes(
        {"t": 1.0, "command": "PlayAudio", "item_id": "i", "audio": audio(2000)},
        {"t": 1.0, "command": "PlayAudio", "item_id": "j", "audio": audio(2000)},
        {"t": 2.0, "event": "SessionLost", "reason": "gone"},
        {"t": 2.0, "command": "ClearPlayback"},
        {"t": 2.0, "command": "PlayAudio", "item_id": "apology", "audio": audio(2500)},
    )
    assert read.unheard == []
    assert read.playing == [(1.0, 4.5)]


def test_deadlines_that_pass_in_every_call_are_left_out() -> None:
    read = lanes(*({"t": 1.0, "timer": name} for name in sorted(ROUTINE_TIMERS)), {"t": 2.0, "timer": "watchdog"})
    assert [point.label for point in read.moments] == ["watchdog"]
