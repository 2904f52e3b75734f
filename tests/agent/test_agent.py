from __future__ import annotations

from typing import Any

import pytest

from tests.agent.test_context import Asked
from trio_voice.agent.agent import HANG_UP, Agent, hang_up
from trio_voice.agent.context import CallContext
from trio_voice.agent.mistakes import AgentError
from trio_voice.agent.tool import tool
from trio_voice.realtime.settings import SessionSettings

BARE = SessionSettings(instructions="", model="gpt-realtime-2.1", voice="marin")


@tool
def book(day: str) -> str:
    """Book a visit."""
    return day


@tool(name="book")
def other_book(day: str) -> str:
    """Book another."""
    return day


@tool(name="hang_up")
def own_hang_up() -> None:
    """Hang up."""


def test_an_agent_brings_its_instructions_voice_and_the_way_to_end_a_call() -> None:
    session = Agent(name="billing", instructions="You know the bills.", voice="cedar").session(BARE)
    assert (session.instructions, session.voice, session.tools) == ("You know the bills.", "cedar", (HANG_UP,))
    assert session.model == "gpt-realtime-2.1"


def test_an_agent_without_a_voice_speaks_with_the_sessions_own() -> None:
    assert Agent().session(BARE).voice == "marin"


def test_an_agent_without_a_greeting_waits_for_the_caller() -> None:
    assert Agent().speaks_first
    assert not Agent(greeting="").speaks_first


def test_r35_an_agents_tools_are_told_to_the_session_with_hang_up() -> None:
    agent = Agent(tools=[book])
    assert agent.session(BARE).tools == (HANG_UP, book.declaration)
    assert dict(agent.toolbox) == {"hang_up": hang_up, "book": book}
    assert dict(Agent().toolbox) == {"hang_up": hang_up}


def test_r32_an_agents_language_is_told_to_the_model_and_to_what_writes_down_the_caller() -> None:
    session = Agent(instructions="Be brief.", language="pt-BR").session(BARE)
    assert session.instructions == "Be brief.\n\nSpeak with the caller in the language with the code pt-BR."
    assert session.transcription_language == "pt"
    assert Agent(instructions="Be brief.").session(BARE).transcription_language is None
    assert Agent(instructions="", language="de").session(BARE).instructions.startswith("Speak")


async def test_hanging_up_is_a_tool_that_needs_no_reason() -> None:
    control = Asked()
    call = CallContext(call_id="c", call_sid="s", control=control)
    for arguments in ("{}", '{"reason":"all is said"}'):
        answer = await hang_up(call, **hang_up.read_arguments(arguments))
        assert answer == {"ok": "the call ends when what was said has been heard"}
    assert control.asked == [
        ("hang up", "the agent ended the call"),
        ("journal", "the agent hangs up: all is said"),
        ("hang up", "the agent ended the call"),
    ]


def plain(day: str) -> None: ...


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": ""}, "'name' must be a text that is not empty: ''"),
        ({"name": 3}, "'name' must be a text: 3"),
        ({"instructions": ["Be brief."]}, "'instructions' must be a text: ['Be brief.']"),
        ({"voice": ""}, "'voice' must be a text that is not empty: ''"),
        ({"greeting": None}, "'greeting' must be a text: None"),
        ({"language": "German"}, "'language' must be a language's code, for instance de or pt-BR: 'German'"),
        ({"tools": [plain]}, "'tools' must be made with @tool, and plain is not; write @tool above it: plain"),
        ({"tools": ["book"]}, "'tools' must be made with @tool, and 'book' is not; write @tool above it: 'book'"),
        ({"tools": book}, "'tools' must be a list of functions with @tool above them: Tool(name='book'"),
        ({"tools": [book, other_book]}, "'tools' must have different names, and two are called book; rename one: book"),
        ({"tools": [own_hang_up]}, "'tools' must be called otherwise than hang_up, which every agent has; rename yours: hang_up"),
    ],
)
def test_a_mistake_in_an_agent_is_named(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(AgentError) as error:
        Agent(**fields)
    assert str(error.value).startswith(says)


def test_a_session_takes_only_so_many_tools() -> None:
    def many(number: int) -> list[Any]:
        return [tool(name=f"t{index}")(book.function) for index in range(number)]

    assert len(Agent(tools=many(127)).toolbox) == 128
    with pytest.raises(AgentError, match="at most 128"):
        Agent(tools=many(128))
