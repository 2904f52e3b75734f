from __future__ import annotations

from typing import Any

import pytest

from trio_voice.realtime_server.answers import About, AskApproval, Prompt
from trio_voice.realtime_server.conversation import Item
from trio_voice.realtime_server.prompts import read_prompt
from trio_voice.realtime_server.response_request import resolve
from trio_voice.realtime_server.session_object import new_realtime_session


def message(role: str, text: str = "", **more: Any) -> Item:
    kind = "output_text" if role == "assistant" else "input_text"
    return Item({"id": "m", "type": "message", "role": role, "content": [{"type": kind, "text": text}]}, **more)


def heard(transcript: str | None, spoken_ms: int) -> Item:
    part = {"type": "input_audio", "transcript": transcript}
    return Item({"id": "m", "type": "message", "role": "user", "content": [part]}, spoken_ms=spoken_ms)


def prompt(*context: Item, about: About | None = None, **response: Any) -> Prompt:
    session = new_realtime_session("gpt-realtime", "sess_1", 0)
    return read_prompt(context, resolve(session, response, assistant_audio_seen=False), 3, about)


def test_nothing_asks_for_an_answer() -> None:
    assert prompt().about is About.NOTHING
    assert prompt(message("system", "be kind")).about is About.NOTHING
    assert prompt(message("user", "hi"), message("assistant", "hello")).about is About.NOTHING


def test_a_spoken_turn() -> None:
    found = prompt(message("user", "hi"), message("assistant", "hello"), heard("book a table", 2100))
    assert (found.about, found.turn, found.text, found.spoken_ms, found.response) == (About.SPEECH, 2, "book a table", 2100, 3)


def test_a_note_is_one_until_an_answer_follows_it() -> None:
    note = message("system", "You have taken over.")
    assert prompt(message("assistant", "hello"), note, heard(None, 500)).note == "You have taken over."
    assert prompt(note, message("assistant", "hello"), heard(None, 500)).note == ""
    assert prompt().note == ""
    assert prompt(note, heard(None, 500), message("system", "Be brief.")).note == "You have taken over.\nBe brief."


def test_what_the_session_is_told_is_not_what_the_response_is_told() -> None:
    session = new_realtime_session("gpt-realtime", "sess_1", 0)
    session["instructions"] = "Be kind."
    found = read_prompt([], resolve(session, {"instructions": "Greet."}, assistant_audio_seen=False), 1)
    assert (found.session_instructions, found.instructions) == ("Be kind.", "Greet.")


def test_what_is_said_in_pieces_before_an_answer_is_one_turn() -> None:
    pieces = prompt(heard(None, 500), message("assistant", "hello"), heard(None, 1000), message("system", "x"), heard(None, 1500))
    assert (pieces.turn, pieces.spoken_ms) == (2, 2500)
    assert prompt(message("system", "x")).turn == 0


def test_keys_are_no_turn() -> None:
    keys = message("user", "The caller pressed these keys: 12")
    answered = (message("assistant", "hello"), keys, message("assistant", "You pressed 1 2."))
    assert prompt(*answered[:2]).turn == 0
    assert prompt(*answered, heard(None, 500)).turn == 1
    assert prompt(message("user", "hi"), keys, heard(None, 500)).turn == 1


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("The caller pressed 5", "5"),
        ("The caller pressed the keys: 12#.", "12#"),
        ("DTMF: *9", "*9"),
        ("[DTMF digits 1234]", "1234"),
    ],
)
def test_digits_in_a_text(text: str, digits: str) -> None:
    found = prompt(message("user", text))
    assert (found.about, found.text) == (About.DIGITS, digits)


def test_a_text_is_not_taken_for_digits() -> None:
    assert prompt(message("user", "I need 2 rooms")).about is About.TEXT
    assert prompt(message("user", "hello"), about=About.IDLE).about is About.IDLE


def test_a_functions_output() -> None:
    call = Item({"id": "f", "type": "function_call", "name": "book", "call_id": "c"})
    output = Item({"id": "o", "type": "function_call_output", "call_id": "c", "output": "done"})
    found = prompt(message("user", "hi"), call, output)
    assert (found.about, found.function, found.output) == (About.FUNCTION_OUTPUT, "book", "done")


def test_an_approval() -> None:
    request = Item({"id": "r", "type": "mcp_approval_request", "server_label": "cal", "name": "slots", "arguments": "{}"})
    answer = Item({"id": "a", "type": "mcp_approval_response", "approval_request_id": "r", "approve": True})
    found = prompt(request, answer)
    assert (found.about, found.approved, found.asked_id) == (About.APPROVAL, True, "r")
    assert found.asked == AskApproval("cal", "slots", "{}")
    assert prompt(answer).asked is None


def test_tools_and_choice() -> None:
    tools = [
        {"type": "function", "name": "f", "parameters": {"type": "object"}},
        {"type": "mcp", "server_label": "a", "server_url": "https://a"},
        {"type": "mcp", "server_label": "b", "server_url": "https://b", "require_approval": "never"},
        {"type": "mcp", "server_label": "c", "require_approval": {"never": {"tool_names": ["x"]}}},
    ]
    found = prompt(tools=tools, tool_choice={"type": "function", "name": "f"}, instructions="be brief")
    assert found.functions == {"f": {"type": "object"}}
    assert found.mcp_approvals == {"a": True, "b": False, "c": False}
    assert (found.tool_choice, found.instructions) == ("function:f", "be brief")
