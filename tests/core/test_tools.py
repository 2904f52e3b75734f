import pytest

from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.events import ToolCalled
from trio_voice.core.settings import CallSettings
from trio_voice.core.tools import MOST_AT_ONCE, REMEMBERED, ToolCall, ToolCalls


@pytest.fixture
def tools() -> ToolCalls:
    return ToolCalls(CallSettings(tool_limit_s=20.0), Deadlines())


def called(tools: ToolCalls, tool_call_id: str, now: float = 0.0) -> bool:
    return tools.called(ToolCalled(1, "r1", "i1", tool_call_id, "look", "{}"), now)


def test_a_tool_runs_once_and_is_answered_once(tools: ToolCalls) -> None:
    assert called(tools, "t1")
    assert (tools.running, tools.reply_owed, tools.busy) == (True, False, True)
    assert not called(tools, "t1")
    assert tools.finished("t1") == ToolCall(1, "look", 20.0)
    assert (tools.running, tools.reply_owed, tools.busy) == (False, True, True)
    assert tools.finished("t1") is None
    assert not called(tools, "t1")
    tools.reply_owed = False
    assert not tools.busy


def test_what_was_never_called_owes_nothing(tools: ToolCalls) -> None:
    assert tools.finished("t1") is None
    assert not tools.busy


def test_each_has_its_own_deadline(tools: ToolCalls) -> None:
    called(tools, "t1", 0.0)
    called(tools, "t2", 5.0)
    assert tools.deadlines.at(Timer.TOOL) == 20.0
    assert tools.overdue(19.999) == []
    assert tools.overdue(20.0) == ["t1"]
    tools.finished("t1")
    assert tools.deadlines.at(Timer.TOOL) == 25.0
    tools.finished("t2")
    assert tools.deadlines.at(Timer.TOOL) is None


def test_so_many_at_once_and_so_many_remembered(tools: ToolCalls) -> None:
    for number in range(MOST_AT_ONCE - 1):
        called(tools, f"t{number}")
    assert not tools.full
    called(tools, "last")
    assert [tools.full] == [True]
    for number in range(REMEMBERED):
        called(tools, f"later{number}")
        tools.finished(f"later{number}")
    assert not called(tools, "later0")
    tools.finished("t0")
    assert called(tools, "t0")  # so long ago that nobody knows
