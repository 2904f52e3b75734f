"""What a response answers, read from its context: the newest turn or function output that no answer follows yet."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trio_voice.realtime_server.answers import About, Prompt
from trio_voice.realtime_server.conversation import Item
from trio_voice.realtime_server.response_request import ResponseRequest

_DIGITS = re.compile(r"(?:dtmf|digits?|keys?|press(?:ed)?)\W.*?([0-9*#A-D]+)\W*$", re.IGNORECASE | re.DOTALL)


def read_prompt(context: Sequence[Item], request: ResponseRequest, response: int, about: About | None = None) -> Prompt:
    """Return the prompt; `about` overrides what was read (an idle timeout is no turn of the caller's)."""
    turn = sum(1 for item in context if item.role == "user")
    newest = _unanswered(context)
    text = newest.text if newest is not None else ""
    function = ""
    output = ""
    if newest is not None and newest.body["type"] == "function_call_output":
        output = str(newest.body["output"])
        function = _function_name(context, str(newest.body["call_id"]))
    found = about or _about(newest)
    if found is About.DIGITS:
        match = _DIGITS.search(text)
        text = match.group(1) if match else text
    choice = request.tool_choice
    return Prompt(
        about=found,
        turn=turn,
        response=response,
        text=text,
        spoken_ms=newest.spoken_ms if newest is not None else 0,
        function=function,
        output=output,
        instructions=request.instructions,
        tools=tuple(tool["name"] for tool in request.tools if tool["type"] == "function"),
        tool_choice=choice if isinstance(choice, str) else f"function:{choice.get('name', '')}",
    )


def _unanswered(context: Sequence[Item]) -> Item | None:
    """Return the newest item that asks for an answer; None when the last word was the model's (or nothing was said)."""
    for item in reversed(context):
        if item.role == "user" or item.body["type"] == "function_call_output":
            return item
        if item.role == "assistant":
            return None
    return None


def _about(newest: Item | None) -> About:
    if newest is None:
        return About.NOTHING
    if newest.body["type"] == "function_call_output":
        return About.FUNCTION_OUTPUT
    if any(part["type"] == "input_audio" for part in newest.body["content"]):
        return About.SPEECH
    return About.DIGITS if _DIGITS.search(newest.text) else About.TEXT


def _function_name(context: Sequence[Item], call_id: str) -> str:
    for item in context:
        if item.body["type"] == "function_call" and item.body.get("call_id") == call_id:
            return str(item.body["name"])
    return ""
