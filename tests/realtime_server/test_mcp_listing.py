from __future__ import annotations

from typing import Any

from tests.realtime_server.test_scripted_thinking import MCP
from tests.realtime_server.wire import Wire, connect
from trio_voice.realtime_server.script import parse_script

USER_TEXT = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "When?"}]}


def declared(script: str = MCP, **tool: Any) -> Wire:
    wire = connect(parse_script(script, "test"))
    tools = [{"type": "mcp", "server_label": "calendar", "server_url": "https://calendar.example", **tool}]
    wire.send("session.update", session={"type": "realtime", "tools": tools}).wait(0.1)
    return wire


def test_a_servers_tools_are_listed_once() -> None:
    wire = declared()
    events = wire.take()
    assert [event["type"] for event in events] == [
        "session.updated",
        "conversation.item.added",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "conversation.item.done",
    ]
    assert (events[1]["item"]["tools"], events[4]["item"]["tools"][0]["name"]) == ([], "slots")
    wire.send("session.update", session={"type": "realtime", "instructions": "x"}).wait(1.0)
    assert wire.types() == ["session.updated"]


def test_a_server_that_no_script_knows_cannot_be_reached() -> None:
    assert declared(server_label="elsewhere").types()[3] == "mcp_list_tools.failed"


def test_a_call_without_approval_is_made_by_the_server() -> None:
    wire = declared(require_approval="never")
    wire.send("conversation.item.create", item=USER_TEXT).take()
    wire.send("response.create").wait(9.0)
    events = [event for event in wire.take() if "mcp" in event["type"] or event.get("item", {}).get("type") == "mcp_call"]
    kinds = [event["type"] for event in events]
    assert [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]] == [
        "response.output_item.added",
        "conversation.item.added",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "conversation.item.done",
        "response.output_item.done",
    ]
    assert events[-1]["item"]["output"] == "ten o'clock"
    assert "response_id" not in events[kinds.index("response.mcp_call.completed")]


def test_a_call_that_fails_says_how() -> None:
    script = MCP.replace('output = "ten o\'clock"', 'error = "the calendar is closed"')
    wire = declared(script, require_approval="never")
    wire.send("conversation.item.create", item=USER_TEXT).take()
    wire.send("response.create").wait(9.0)
    events = wire.take()
    kinds = [event["type"] for event in events]
    assert "response.mcp_call.failed" in kinds
    assert "response.mcp_call.completed" not in kinds
    (call,) = [
        event["item"] for event in events if event["type"] == "response.output_item.done" and "server_label" in event["item"]
    ]
    assert call["output"] is None
    assert call["error"] == {"type": "protocol_error", "code": -32000, "message": "the calendar is closed"}


def test_a_call_with_approval_waits_for_it() -> None:
    wire = declared()
    wire.send("conversation.item.create", item=USER_TEXT).take()
    wire.send("response.create").wait(9.0)
    (done,) = [event["response"] for event in wire.take() if event["type"] == "response.done"]
    assert [item["type"] for item in done["output"]] == ["message", "mcp_approval_request"]
    approval = {"id": "ok", "type": "mcp_approval_response", "approval_request_id": done["output"][1]["id"], "approve": True}
    wire.send("conversation.item.create", item=approval).send("response.create").wait(9.0)
    (done,) = [event["response"] for event in wire.take() if event["type"] == "response.done"]
    assert [item["type"] for item in done["output"]] == ["mcp_call", "message"]
    assert done["output"][0]["approval_request_id"] == approval["approval_request_id"]
    assert done["output"][1]["content"][0]["transcript"] == "I found ten o'clock."
