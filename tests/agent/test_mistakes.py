from __future__ import annotations

from trio_voice.agent.mistakes import AgentError
from trio_voice.errors import UserError


def test_a_mistake_in_an_agent_is_the_users_and_counts_as_a_wrong_value() -> None:
    assert issubclass(AgentError, UserError)
    assert issubclass(AgentError, ValueError)
