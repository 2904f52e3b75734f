from __future__ import annotations

import json
from typing import Any

import pytest

from trio_voice.realtime_server.answers import (
    About,
    Answer,
    AskApproval,
    CallFunction,
    CallMcp,
    Ending,
    Heard,
    Prompt,
    Say,
)
from trio_voice.realtime_server.script import default_script, parse_script
from trio_voice.realtime_server.scripted_thinking import ScriptedThinking, spoken_in_words

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def thinking(text: str) -> ScriptedThinking:
    return ScriptedThinking(parse_script(text, "test"))


def prompt(about: About = About.SPEECH, **fields: Any) -> Prompt:
    return Prompt(**{"about": about, "turn": 1, "response": 1, **fields})


def said(answer: Answer) -> str:
    (part,) = answer.parts
    assert isinstance(part, Say)
    return part.text


@pytest.mark.parametrize(
    ("when", "fits", "fails"),
    [
        ('about = "text"', {"about": About.TEXT}, {"about": About.SPEECH}),
        ('about = ["idle", "text"]', {"about": About.IDLE}, {"about": About.NOTHING}),
        ("turn = 2", {"turn": 2}, {"turn": 3}),
        ("turn = [1, 3]", {"turn": 3}, {"turn": 2}),
        ("turn_at_least = 2", {"turn": 2}, {"turn": 1}),
        ("turn_at_most = 2", {"turn": 2}, {"turn": 3}),
        ("response = 5", {"response": 5}, {"response": 4}),
        ("spoken_at_least_ms = 1000", {"spoken_ms": 1000}, {"spoken_ms": 999}),
        ("spoken_at_most_ms = 1000", {"spoken_ms": 1000}, {"spoken_ms": 1001}),
        ("text = '\\bBYE\\b'", {"text": "good bye now"}, {"text": "goodbyes"}),
        ('function = "f"', {"function": "f"}, {"function": "g"}),
        ('output = "ok"', {"output": "all OK"}, {"output": "no"}),
        ('instructions = "greet"', {"instructions": "Greet them"}, {"instructions": None}),
        ('session = "billing"', {"session_instructions": "You do the Billing."}, {"instructions": "billing"}),
        ('note = "handed"', {"note": "The call was handed over."}, {"session_instructions": "handed"}),
        ('tool = "f"', {"functions": {"f": {}}}, {"functions": {"g": {}}}),
        ("approved = false", {"approved": False}, {"approved": True}),
    ],
)
def test_conditions(when: str, fits: dict[str, Any], fails: dict[str, Any]) -> None:
    text = f'[[rule]]\nwhen = {{ {when} }}\nsay = "yes"\n[[rule]]\nsay = "no"'
    assert said(thinking(text).answer(prompt(**fits))) == "yes"
    assert said(thinking(text).answer(prompt(**fails))) == "no"


def test_placeholders_and_named_groups() -> None:
    text = """
    [[rule]]
    when = { text = 'name is (?P<name>\\w+)(?P<more> extra)?' }
    say = "{name}{more} {turn} {spoken} {unknown} {digits}"
    """
    answer = thinking(text).answer(prompt(text="my name is Ada", turn=3, spoken_ms=2000))
    assert said(answer) == "Ada 3 two seconds {unknown} m y   n a m e   i s   A d a"


def test_texts_take_turns_and_rules_wear_out() -> None:
    rules = thinking('[[rule]]\nsay = "once"\ntimes = 1\n[[rule]]\nsay = ["a", "b"]')
    assert [said(rules.answer(prompt())) for _ in range(4)] == ["once", "a", "b", "a"]


def test_parts_endings_delays_and_switches() -> None:
    text = """
    [[rule]]
    parts = [{ say = "One moment.", phase = "commentary" }, { call = "f", arguments = { who = "{text}", deep = [{ n = 1 }] } }]
    delay_ms = 700
    ends = { status = "incomplete", after_ms = 500 }
    switches = { pace = 1 }
    """
    answer = thinking(text).answer(prompt(text="Ada", functions={"f": {}}))
    assert answer.parts == (
        Say("One moment.", "commentary"),
        CallFunction("f", '{"who": "Ada", "deep": [{"n": 1}]}'),
    )
    assert (answer.delay_ms, answer.switches) == (700, {"pace": 1})
    assert answer.ending == Ending("incomplete", "max_output_tokens", "invalid_request_error", None, "The response failed.", 500)


def test_only_declared_functions_are_called() -> None:
    text = '[[rule]]\nparts = [{ call = "f" }]\n[[rule]]\nsay = "no such function"'
    assert said(thinking(text).answer(prompt())) == "no such function"
    assert said(thinking(text).answer(prompt(functions={"f": {}}, tool_choice="none"))) == "no such function"
    assert thinking(text).answer(prompt(functions={"f": {}})).parts == (CallFunction("f", "{}"),)


def test_a_function_that_has_to_be_called_is_called() -> None:
    rules = thinking('[[rule]]\nsay = "words"')
    functions = {"f": SCHEMA, "g": {}}
    assert rules.answer(prompt(functions=functions, tool_choice="required")).parts == (CallFunction("f", '{"n": 1}'),)
    forced = prompt(functions=functions | {"g": {"type": "object"}}, tool_choice="function:g")
    assert rules.answer(forced).parts == (CallFunction("g", "{}"),)
    assert said(rules.answer(prompt(functions=functions))) == "words"
    assert said(rules.answer(prompt(tool_choice="required"))) == "words"  # there is none


MCP = """
[[rule]]
when = { about = "text" }
parts = [{ say = "Let me look." }, { mcp = "calendar", call = "slots", arguments = { day = "Tue" } }, { say = "Done." }]
[[rule]]
when = { about = "function_output", function = "slots" }
say = "I found {output}."
[[rule]]
when = { about = "approval", approved = false }
say = "Then not."
[[mcp]]
server_label = "calendar"
[[mcp.tool]]
name = "slots"
output = "ten o'clock"
"""


def test_an_mcp_call_without_approval() -> None:
    answer = thinking(MCP).answer(prompt(About.TEXT, mcp_approvals={"calendar": False}))
    assert answer.parts[1] == CallMcp("calendar", "slots", '{"day": "Tue"}', "ten o'clock")
    assert answer.parts[2] == Say("Done.")


def test_an_mcp_call_with_approval() -> None:
    rules = thinking(MCP)
    asking = rules.answer(prompt(About.TEXT, mcp_approvals={"calendar": True}))
    asked = AskApproval("calendar", "slots", '{"day": "Tue"}')
    assert asking.parts == (Say("Let me look."), asked)
    about = {"function": "slots", "asked": asked, "asked_id": "item_1"}
    assert said(rules.answer(prompt(About.APPROVAL, **about))) == "Then not."
    approved = rules.answer(prompt(About.APPROVAL, approved=True, **about))
    assert approved.parts == (
        CallMcp("calendar", "slots", '{"day": "Tue"}', "ten o'clock", None, "item_1"),
        Say("I found ten o'clock."),
    )


def test_the_tools_that_an_mcp_server_lists() -> None:
    assert thinking(MCP).mcp_tools("calendar") == [{"name": "slots", "description": None, "input_schema": {"type": "object"}}]
    assert thinking(MCP).mcp_tools("elsewhere") is None


def test_what_the_caller_is_taken_to_say() -> None:
    text = """
    [[rule]]
    say = "x"
    [[heard]]
    turn = 1
    transcript = "hello"
    [[heard]]
    turn = [2, 3]
    fails = true
    speakers = [["A", "hi"], ["B", "ho"]]
    """
    rules = thinking(text)
    assert rules.heard(1, 0) == Heard("hello")
    assert rules.heard(3, 0) == Heard("", True, speakers=(("A", "hi"), ("B", "ho")))
    assert rules.heard(4, 1000) == Heard("(The caller spoke for one second.)", words_known=False)


@pytest.mark.parametrize(
    ("spoken_ms", "words"),
    [
        (0, "less than a second"),
        (400, "half a second"),
        (1000, "one second"),
        (2400, "two and a half seconds"),
        (12_000, "twelve seconds"),
        (45_400, "45 seconds"),
    ],
)
def test_durations_as_one_says_them(spoken_ms: int, words: str) -> None:
    assert spoken_in_words(spoken_ms) == words


def test_the_receptionist() -> None:
    rules = ScriptedThinking(default_script())
    hang_up: dict[str, Any] = {"functions": {"hang_up": {}}}
    assert said(rules.answer(prompt(About.NOTHING, turn=0))).startswith("Good morning")
    assert "two seconds" in said(rules.answer(prompt(spoken_ms=2000)))
    assert "second message" in said(rules.answer(prompt(turn=2, spoken_ms=3000)))
    assert "number 4" in said(rules.answer(prompt(turn=4, spoken_ms=3000)))
    assert "anything else" not in said(rules.answer(prompt(turn=4, spoken_ms=1500)))  # as long as "Thank you. Goodbye!"
    assert said(rules.answer(prompt(turn=6))).endswith("Goodbye!")
    last = rules.answer(prompt(turn=6, **hang_up)).parts[-1]
    assert isinstance(last, CallFunction)
    assert (last.name, json.loads(last.arguments)) == ("hang_up", {"reason": "The conversation is complete."})
    assert said(rules.answer(prompt(text="that's all, bye"))).endswith("Goodbye!")
    assert said(rules.answer(prompt(About.IDLE))) == "Are you still there?"
    assert said(rules.answer(prompt(About.DIGITS, text="42"))) == "You pressed 4 2. Thank you, I have noted that."
    exact = prompt(About.NOTHING, instructions='Say exactly: "Thank you for calling."')
    assert said(rules.answer(exact)) == "Thank you for calling."
    assert said(rules.answer(prompt(About.NOTHING, instructions="Now say goodbye."))).endswith("Goodbye!")


@pytest.mark.parametrize(
    ("instructions", "begins"),
    [
        ("Greet the caller in one short sentence and ask how you can help.", "Good morning, you have reached"),
        ("Say: Good morning, Smith and Sons. How can I help?", "Good morning, Smith and Sons. How can I help?"),
        ('Greet the caller with: "Hello, this is Ada."', "Hello, this is Ada."),
        ('Say only this to the caller, and nothing else: "One moment, please."', "One moment, please."),
        ('Say exactly this to the caller, and nothing else: "Your taxi, a "Mini", is here."', 'Your taxi, a "Mini", is here.'),
        (
            "The caller has been silent for a while. Ask in one short sentence whether they are still there.",
            "Are you still there?",
        ),
        ("Say goodbye to the caller in one short sentence.", "Thank you for calling. Goodbye!"),
        ("Tell the caller in one short sentence that this call has to end in less than a minute.", "I am sorry, but this call"),
        ("Apologise to the caller for the trouble.", "I am sorry, something has gone wrong"),
        ("Ask the caller to hold on while you look it up.", "One moment, please."),
        ("Tell the caller in one sentence that the doctor is late.", "I am to tell you that the doctor is late."),
    ],
)
@pytest.mark.parametrize("about", [About.NOTHING, About.SPEECH])
def test_the_receptionist_does_what_a_reply_is_told_to(instructions: str, begins: str, about: About) -> None:
    """Also when a turn is waiting, and late in a call."""
    answer = ScriptedThinking(default_script()).answer(prompt(about, instructions=instructions, turn=7, response=9))
    assert said(answer).startswith(begins)


def test_the_receptionist_takes_over_a_call_once() -> None:
    rules = ScriptedThinking(default_script())
    note = "reception has handed this call over to you, billing. Say so to the caller in one short sentence and go on."
    assert said(rules.answer(prompt(About.SPEECH, note=note))) == "Hello, I have taken over from reception. How can I help you?"
    assert said(rules.answer(prompt(turn=4, spoken_ms=3000))).startswith("Thank you for those")


def test_a_script_in_which_nothing_fits_has_an_answer_all_the_same() -> None:
    assert "no answer" in said(thinking('[[rule]]\nwhen = { turn = 99 }\nsay = "x"').answer(prompt()))
