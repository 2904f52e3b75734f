"""What a user writes: an agent, its tools."""

from trio_voice.agent.agent import Agent
from trio_voice.agent.context import CallContext
from trio_voice.agent.mistakes import AgentError
from trio_voice.agent.tool import Tool, ToolError, tool

__all__ = ["Agent", "AgentError", "CallContext", "Tool", "ToolError", "tool"]
