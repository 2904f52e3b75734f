import pytest

from trio_voice.core.commands import AddText, Note, RunTool, SendToolResult
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.events import ToolCalled
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing
from trio_voice.core.tools import ToolCalls


@pytest.fixture
def tools() -> ToolCalls:
    return ToolCalls(CallSettings(tool_limit_s=20.0), Standing(session=1), Deadlines())


def called(tools: ToolCalls, tool_call_id: str, now: float = 0.0) -> list[object]:
    return list(tools.called(ToolCalled(1, "r1", "i1", tool_call_id, "look", "{}"), now))


def test_a_tool_runs_once_and_is_answered_once(tools: ToolCalls) -> None:
    assert called(tools, "t1") == [RunTool("t1", "look", "{}")]
    assert called(tools, "t1") == []
    assert (tools.running, tools.reply_owed) == (True, False)
    assert tools.finished("t1", "7", 1) == [SendToolResult(1, "t1", "7")]
    assert (tools.running, tools.reply_owed) == (False, True)
    [note] = tools.finished("t1", "8", 2)
    assert isinstance(note, Note)


def test_one_reply_for_parallel_tools(tools: ToolCalls) -> None:
    called(tools, "t1")
    called(tools, "t2")
    tools.finished("t2", "2", 1)
    owed = [tools.reply_owed]
    tools.finished("t1", "1", 2)
    owed.append(tools.reply_owed)
    tools.replied()
    assert [*owed, tools.reply_owed] == [False, True, False]


def test_each_has_its_own_deadline(tools: ToolCalls) -> None:
    called(tools, "t1", 0.0)
    called(tools, "t2", 5.0)
    assert tools.deadlines.at(Timer.TOOL) == 20.0
    assert tools.overdue(19.999) == []
    assert tools.overdue(20.0) == ["t1"]
    tools.finished("t1", "", 1)
    assert tools.deadlines.at(Timer.TOOL) == 25.0
    tools.finished("t2", "", 2)
    assert tools.deadlines.at(Timer.TOOL) is None


def test_a_successor_of_the_session_is_told_in_words(tools: ToolCalls) -> None:
    called(tools, "t1")
    tools.standing.session = 2
    assert tools.finished("t1", "7", 3) == [AddText(2, 3, "system", "Result of look: 7")]
