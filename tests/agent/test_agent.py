from __future__ import annotations

import pytest

from trio_voice.agent.agent import HANG_UP, Agent
from trio_voice.realtime.settings import SessionSettings


def test_an_agent_brings_its_instructions_voice_and_the_way_to_end_a_call() -> None:
    settings = SessionSettings(instructions="", model="gpt-realtime-2.1", voice="marin")
    session = Agent(name="billing", instructions="You know the bills.", voice="cedar").session(settings)
    assert (session.instructions, session.voice, session.tools) == ("You know the bills.", "cedar", (HANG_UP,))
    assert session.model == "gpt-realtime-2.1"


def test_an_agent_without_a_voice_speaks_with_the_sessions_own() -> None:
    assert Agent().session(SessionSettings(instructions="", model="m", voice="marin")).voice == "marin"


def test_an_agent_without_a_greeting_waits_for_the_caller() -> None:
    assert Agent().speaks_first
    assert not Agent(greeting="").speaks_first


def test_an_agent_needs_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        Agent(name="")
