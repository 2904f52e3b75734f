"""MCP servers that a session declares: their tools are listed once, as an item of the conversation.

No MCP server is ever contacted: the script says which tools one has, and an unknown one "cannot be reached". In the service's
order: conversation.item.added, mcp_list_tools.in_progress, mcp_list_tools.completed (or failed), conversation.item.done.
Source: OpenAI Realtime API reference.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import define, field

from trio_voice.realtime_server.agenda import Agenda
from trio_voice.realtime_server.answers import Thinking
from trio_voice.realtime_server.conversation import Conversation, Item
from trio_voice.realtime_server.events import EventSink

LISTING_S = 0.05


@define
class McpListing:
    """Lists the tools of every server label that it has not listed before."""

    sink: EventSink
    agenda: Agenda
    conversation: Conversation
    thinking: Thinking
    _listed: set[str] = field(factory=set, init=False)

    def declare(self, tools: list[dict[str, Any]], now: float) -> None:
        """Begin to list those of the session's tools that are MCP servers and new."""
        for tool in tools:
            if tool["type"] == "mcp" and tool["server_label"] not in self._listed:
                self._listed.add(tool["server_label"])
                self._begin(tool["server_label"], now)

    def _begin(self, label: str, now: float) -> None:
        body: dict[str, Any] = {"id": self.sink.ids.new("item"), "type": "mcp_list_tools", "server_label": label, "tools": []}
        previous_id = self.conversation.add(Item(body))
        self.sink.send("conversation.item.added", previous_item_id=previous_id, item=body.copy())
        self.sink.send("mcp_list_tools.in_progress", item_id=body["id"])
        self.agenda.add(now + LISTING_S, partial(self._end, body, previous_id))

    def _end(self, body: dict[str, Any], previous_id: str | None) -> None:
        tools = self.thinking.mcp_tools(body["server_label"])
        if tools is None:
            self.sink.send("mcp_list_tools.failed", item_id=body["id"])
        else:
            body["tools"] = tools
            self.sink.send("mcp_list_tools.completed", item_id=body["id"])
        self.sink.send("conversation.item.done", previous_item_id=previous_id, item=body.copy())
