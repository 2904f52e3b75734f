"""What a response answers, read from its context: the newest turn or function output that no answer follows yet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from trio_voice.realtime_server.answers import About, AskApproval, Prompt
from trio_voice.realtime_server.conversation import Item
from trio_voice.realtime_server.response_request import ResponseRequest

_DIGITS = re.compile(r"(?:dtmf|digits?|keys?|press(?:ed)?)\W.*?([0-9*#A-D]+)\W*$", re.IGNORECASE | re.DOTALL)
_ASKS = ("function_call_output", "mcp_approval_response")


def read_prompt(context: Sequence[Item], request: ResponseRequest, response: int, about: About | None = None) -> Prompt:
    """Return the prompt; `about` overrides what was read (an idle timeout is no turn of the caller's)."""
    newest = _unanswered(context)
    found = about or _about(newest)
    text = (newest.words or newest.text) if newest is not None else ""
    if found is About.DIGITS:
        text = _digits(text)
    choice = request.tool_choice
    return Prompt(
        about=found,
        turn=_turns(context),
        response=response,
        text=text,
        spoken_ms=sum(item.spoken_ms for item in _waiting(context)) if newest is not None else 0,
        instructions=request.instructions,
        session_instructions=request.session_instructions,
        note=_note(context),
        functions={tool["name"]: tool.get("parameters") or {} for tool in request.tools if tool["type"] == "function"},
        mcp_approvals={tool["server_label"]: _needs_approval(tool) for tool in request.tools if tool["type"] == "mcp"},
        tool_choice=choice if isinstance(choice, str) else f"function:{choice.get('name', '')}",
        **_about_tools(newest, context),
    )


def _unanswered(context: Sequence[Item]) -> Item | None:
    """Return the newest item that asks for an answer; None when the last word was the model's (or nothing was said)."""
    for item in reversed(context):
        if item.role == "user" or item.body["type"] in _ASKS:
            return item
        if item.role == "assistant":
            return None
    return None


def _turns(context: Sequence[Item]) -> int:
    """Count the caller's turns. What they say in several items before an answer is one turn: they paused, or interrupted.

    Keys that they press are answered, but are no turn: nothing was said.
    """
    turns, before = 0, ""
    for item in context:
        if item.role == "assistant":
            before = item.role
        elif item.role == "user" and not _is_keys(item):
            turns += before != "user"
            before = item.role
    return turns


def _is_keys(item: Item) -> bool:
    is_spoken = any(part["type"] == "input_audio" for part in item.body["content"])
    return not is_spoken and _DIGITS.search(item.text) is not None


def _waiting(context: Sequence[Item]) -> Iterator[Item]:
    """Yield what the caller has said since the last answer, the newest first."""
    for item in reversed(context):
        if item.role == "assistant":
            return
        if item.role == "user":
            yield item


def _note(context: Sequence[Item]) -> str:
    """Return the system messages that no answer has followed."""
    notes: list[str] = []
    for item in reversed(context):
        if item.role == "assistant":
            break
        if item.role == "system":
            notes.insert(0, item.text)
    return "\n".join(notes)


def _about(newest: Item | None) -> About:
    if newest is None:
        return About.NOTHING
    if newest.body["type"] == "function_call_output":
        return About.FUNCTION_OUTPUT
    if newest.body["type"] == "mcp_approval_response":
        return About.APPROVAL
    if _is_keys(newest):
        return About.DIGITS
    return About.SPEECH if any(part["type"] == "input_audio" for part in newest.body["content"]) else About.TEXT


def _digits(text: str) -> str:
    match = _DIGITS.search(text)
    return match.group(1) if match else text


def _about_tools(newest: Item | None, context: Sequence[Item]) -> dict[str, Any]:
    """Return the prompt's fields about a function's output or an approval."""
    if newest is None or newest.body["type"] not in _ASKS:
        return {}
    if newest.body["type"] == "function_call_output":
        call = _find(context, "function_call", "call_id", newest.body["call_id"])
        return {"function": str(call.body["name"]) if call else "", "output": str(newest.body["output"])}
    asked = _find(context, "mcp_approval_request", "id", newest.body["approval_request_id"])
    if asked is None:
        return {"approved": False}
    body = asked.body
    return {
        "function": body["name"],
        "approved": newest.body["approve"],
        "asked": AskApproval(body["server_label"], body["name"], body["arguments"]),
        "asked_id": body["id"],
    }


def _find(context: Sequence[Item], kind: str, key: str, value: str) -> Item | None:
    return next((item for item in context if item.body["type"] == kind and item.body.get(key) == value), None)


def _needs_approval(tool: dict[str, Any]) -> bool:
    """Whether calls of this MCP server need the client's approval: unless it says never."""
    wish = tool.get("require_approval")
    return not (wish == "never" or (isinstance(wish, dict) and "never" in wish and "always" not in wish))
