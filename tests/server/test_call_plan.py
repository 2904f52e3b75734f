import pytest

from trio_voice.agent.agent import Agent
from trio_voice.realtime.settings import SessionSettings
from trio_voice.server.call_plan import CallPlan
from trio_voice.server.model import ModelEndpoint
from trio_voice.server.setups import Setup

SESSION = SessionSettings(instructions="Be brief.", model="test")
ENDPOINT = ModelEndpoint(url="ws://model.example")


@pytest.mark.parametrize(("drawn", "pause_s"), [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)])
def test_r26_a_pause_is_drawn_from_the_half_of_the_longest_to_the_longest(drawn: float, pause_s: float) -> None:
    assert CallPlan(endpoint=ENDPOINT, session=SESSION, jitter=lambda: drawn).pause_s(2.0) == pause_s


def test_pauses_differ_where_nothing_else_is_said() -> None:
    plan = CallPlan(endpoint=ENDPOINT, session=SESSION)
    pauses = {plan.pause_s(2.0) for _ in range(100)}
    assert len(pauses) > 90
    assert all(1.0 <= pause_s <= 2.0 for pause_s in pauses)


def test_the_first_setup_is_the_plan_s() -> None:
    toolbox = Agent().toolbox
    plan = CallPlan(endpoint=ENDPOINT, session=SESSION, toolbox=toolbox, agent_name="front")
    assert plan.first_setup == Setup(agent_name="front", session=SESSION, toolbox=toolbox)
