from trio_voice.agent.agent import Agent
from trio_voice.agent.change import Change
from trio_voice.agent.tool import tool
from trio_voice.core.commands import ReportChange
from trio_voice.core.events import ChangeAsked
from trio_voice.core.settings import Wording
from trio_voice.realtime.settings import SessionSettings
from trio_voice.server.setups import CallSetups, Setup


@tool
def bill() -> str:
    """Write a bill."""
    return "billed"


FRONT = Agent(name="front", instructions="Be brief.", voice="marin", language="de")
BILLING = Agent(name="billing", instructions="Bill.", voice="cedar", tools=[bill])


def setups() -> CallSetups:
    session = FRONT.session(SessionSettings(instructions="", model="test"))
    first = Setup(agent_name="front", session=session, toolbox=FRONT.toolbox)
    return CallSetups(first, Wording(hand_off="{before} to {after}"))


def test_another_voice_changes_nothing_else() -> None:
    cast = setups()
    assert cast.switch_voice("cedar", Change()) == ChangeAsked(1, True)
    old, new = cast.opened(1, 0), cast.opened(2, 1)
    assert (new.session.voice, new.session.instructions, new.toolbox) == ("cedar", old.session.instructions, old.toolbox)
    assert cast.switch_voice("marin", Change()) == ChangeAsked(2, False)


def test_another_agent_brings_its_instructions_voice_language_and_tools() -> None:
    cast = setups()
    assert cast.hand_off(BILLING, Change()) == ChangeAsked(1, True, "front to billing", reply=True)
    new = cast.opened(2, 1)
    assert (new.session.voice, new.session.instructions, new.session.transcription_language) == ("cedar", "Bill.", None)
    assert list(new.toolbox) == ["hang_up", "bill"]
    assert [each.name for each in new.session.tools] == ["hang_up", "bill"]


def test_an_agent_without_a_voice_keeps_that_of_the_call() -> None:
    cast = setups()
    assert cast.hand_off(Agent(name="other"), Change()).voice_changes is False
    assert cast.opened(2, 1).session.voice == "marin"


def test_the_tools_are_those_of_the_session_that_calls_them() -> None:
    cast, change = setups(), Change()
    cast.opened(1, 0)
    cast.hand_off(BILLING, change)
    cast.opened(2, 1)
    assert ("bill" in cast.toolbox(1), "bill" in cast.toolbox(2)) == (False, True)
    assert cast.agent_name == "front"
    cast.report(ReportChange(1))
    assert (cast.agent_name, change.is_made) == ("billing", True)
    assert cast.hand_off(FRONT, Change()).note == "billing to front"


def test_an_update_holds_once_it_is_reported() -> None:
    cast, change = setups(), Change()
    cast.opened(1, 0)
    cast.hand_off(BILLING, change)
    assert cast.updated(1, 1).agent_name == "billing"
    assert "bill" not in cast.toolbox(1)
    cast.report(ReportChange(1, "refused"))
    assert ("bill" in cast.toolbox(1), change.failure, cast.agent_name) == (False, "refused", "front")
    cast.report(ReportChange(1))  # it came late
    assert ("bill" in cast.toolbox(1), change.is_made, cast.agent_name) == (True, False, "billing")
