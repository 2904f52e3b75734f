"""What is shown of a call, as plain text: a line for each thing worth knowing."""

from __future__ import annotations

import json
import math
from io import StringIO
from typing import Any

from rich.console import Console

from trio_voice.phone.carrier import Happening, LineEvent
from trio_voice.phone.display import Display


def shown(*happenings: LineEvent | dict[str, Any] | str) -> list[str]:
    screen = StringIO()
    display = Display(Console(file=screen, highlight=False, markup=False, emoji=False, width=40))
    for happening in happenings:
        if isinstance(happening, LineEvent):
            display.line_event(happening)
        else:
            display.journal_line(happening if isinstance(happening, str) else json.dumps(happening))
    display.show_until(math.inf)
    return screen.getvalue().splitlines()


def test_lines_have_a_time_a_name_and_words_and_are_not_wrapped() -> None:
    assert shown(
        LineEvent(12.3456, Happening.CALLER_SPEAKS, "A sentence that is longer than the screen is wide. [b]:smile:")
    ) == ["   12.35  caller  A sentence that is longer than the screen is wide. [b]:smile:"]


def test_what_the_model_says_does_not_move_the_cursor() -> None:
    assert shown(
        {"t": 1, "event": "ModelTranscript", "item_id": "i", "text": "Hello \x1b[2J\x9b31m", "final": True},
        LineEvent(2.0, Happening.CLOSED, "by the server, code 1000: \x1b]0;title\x07"),
    ) == [
        "    1.00  agent   Hello \\x1b[2J\\x9b31m",
        "    2.00  line    closed by the server, code 1000: \\x1b]0;title\\x07",
    ]


def test_a_turn_in_the_journals_words() -> None:
    lines = shown(
        {"journal": 1, "call_id": "c"},
        {"t": 1, "event": "SpeechStarted"},
        {"t": 2, "event": "SpeechStopped"},
        {"t": 2, "event": "TurnCommitted"},
        {"t": 2.15, "timer": "turn_end"},
        {"t": 2.15, "command": "CreateResponse", "purpose": "turn"},
        {"t": 2.5, "event": "ResponseCreated"},
        {"t": 2.6, "event": "CallerTranscribed", "text": "Hello?"},
        {"t": 3, "event": "ModelTranscript", "item_id": "i", "text": "Good "},
        {"t": 3, "event": "ModelTranscript", "item_id": "i", "text": "Good morning.", "final": True},
        {"t": 3, "event": "ResponseDone", "status": "completed"},
    )
    assert [line[10:] for line in lines] == [
        "model   speech started",
        "model   speech stopped",
        "model   turn committed",
        "timer   turn end",
        "call    ask for a response: turn",
        "model   response created",
        "model   heard: Hello?",
        "agent   Good morning.",
        "model   response completed",
    ]


def test_a_barge_in_shows_what_was_said_so_far() -> None:
    lines = shown(
        {"t": 3, "event": "ModelTranscript", "item_id": "i", "text": "Good "},
        {"t": 3, "event": "ModelTranscript", "item_id": "i", "text": "mor"},
        {"t": 4, "event": "SpeechStarted"},
        {"t": 4, "command": "ClearPlayback"},
        {"t": 4, "command": "CancelResponse", "response_id": "r"},
        {"t": 4, "command": "TruncateItem", "heard_ms": 640},
        LineEvent(4.001, Happening.CLEARED, "1200 ms and 6 marks flushed"),
        {"t": 4.2, "event": "ResponseDone", "status": "cancelled", "reason": "client_cancelled"},
    )
    assert [line[10:] for line in lines] == [
        "model   speech started",
        "cut     clear what is queued for the caller",
        "cut     cancel the response",
        "cut     truncate what was not heard: 640 ms were",
        "cut     clear received: 1200 ms and 6 marks flushed",
        "model   response cancelled (client_cancelled)",
        "agent   Good mor ...",
    ]


def test_a_tool_is_shown_by_its_name_with_its_arguments_and_its_result_on_a_line_each() -> None:
    called = {"event": "ToolCalled", "name": "to_workshop", "arguments": '{"car_id":\n "b_7"}', "tool_call_id": "c1"}
    other = {"event": "ToolCalled", "name": "hang_up", "arguments": "", "tool_call_id": "c2"}
    lines = shown(
        {"t": 1} | called,
        {"t": 2} | other,
        {"t": 3, "event": "ToolFinished", "tool_call_id": "c1", "output": "free_at " + 100 * "9"},
        {"t": 4, "event": "ToolFinished", "tool_call_id": "c2", "output": ""},
    )
    assert [line[10:] for line in lines] == [
        'model   calls the tool to_workshop {"car_id": "b_7"}',
        "model   calls the tool hang_up",
        f"call    the tool to_workshop returns: free_at {89 * '9'}...",
        "call    the tool hang_up returns:",
    ]


def test_refusals_have_their_reasons() -> None:
    lines = shown(
        {"t": 1, "event": "SpeechStarted"},
        {"t": 1, "command": "Discard", "reason": "greeting_lock"},
        {"t": 2, "event": "ModelAudio"},
        {"t": 2, "command": "Discard", "reason": "cancelled_response"},
        {"t": 3, "command": "Refuse", "purpose": "tool_result", "reason": "response_active", "waits": True},
        {"t": 4, "event": "ModelErred", "code": None, "message": "hm"},
    )
    assert [line[10:] for line in lines] == [
        "model   speech started",
        "call    no barge-in: greeting lock",
        "call    no response for tool result: response active, it waits",
        "warning the model reports an error: hm",
    ]


def test_marks_are_counted_until_the_agent_is_silent() -> None:
    lines = shown(
        LineEvent(1, Happening.MARK_QUEUED, "a"),
        LineEvent(1, Happening.MARK_PLAYED, "a"),
        LineEvent(2, Happening.MARK_PLAYED, "b"),
        LineEvent(2, Happening.MARK_FLUSHED, "c"),
        LineEvent(3, Happening.AGENT_SILENT),
        LineEvent(4, Happening.AGENT_SILENT),
    )
    assert [line[10:] for line in lines] == [
        "line    the agent is silent",
        "line    marks: 2 played, 1 flushed",
        "line    the agent is silent",
    ]


def test_what_is_not_understood_is_passed_over() -> None:
    assert shown("nonsense", "[]", "{}", {"t": 1, "event": "Novelty"}, {"t": 1, "remark": "x"}, {"t": "x", "timer": "y"}) == []
    assert shown({"t": 1, "event": "CallerTranscribed", "text": ""}, LineEvent(1, Happening.STOPPED)) == []


def test_deadlines_that_pass_in_every_call_are_not_shown() -> None:
    assert shown({"t": 3, "timer": "calibration"}, {"t": 30, "timer": "media"}) == []
    assert shown({"t": 3, "timer": "watchdog"}) == ["    3.00  timer   watchdog"]


def test_lines_are_shown_in_the_order_of_their_happening_once_their_time_has_come() -> None:
    screen = StringIO()
    display = Display(Console(file=screen, highlight=False, markup=False, emoji=False))
    display.journal_line('{"t": 1.0, "event": "ResponseDone", "status": "completed"}')
    display.line_event(LineEvent(3.0, Happening.CALLER_SPEAKS, "I breathe, and then I speak."))
    display.line_event(LineEvent(0.9, Happening.AGENT_SILENT))  # known only after a while
    display.show_until(1.0)
    assert screen.getvalue().splitlines() == ["    0.90  line    the agent is silent"]
    display.show_until(2.0)
    assert screen.getvalue().splitlines()[1:] == ["    1.00  model   response completed"]
    display.say("Hanging up.")
    assert screen.getvalue().splitlines()[2:] == ["    3.00  caller  I breathe, and then I speak.", "Hanging up."]


def test_the_journals_times_are_told_on_the_phones_clock() -> None:
    screen = StringIO()
    display = Display(Console(file=screen, highlight=False, markup=False, emoji=False))
    display.align(0.02)
    display.line_event(LineEvent(5.01, Happening.CLOSED, "by the caller, code 1000"))
    display.journal_line('{"t": 5.0, "command": "Close", "reason": "the carrier sent stop"}')
    display.journal_line('{"t": 4.99, "timer": "watchdog"}')
    display.show_until(math.inf)
    assert screen.getvalue().splitlines() == [
        "    5.01  line    closed by the caller, code 1000",
        "    5.01  timer   watchdog",
        "    5.02  call    close: the carrier sent stop",
    ]
