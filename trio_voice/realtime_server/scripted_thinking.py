"""Thinking by script: the first rule whose conditions hold gives the answer. One instance per session."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field

from trio_voice.realtime_server.answers import (
    About,
    Answer,
    AskApproval,
    CallFunction,
    CallMcp,
    Ending,
    Heard,
    Prompt,
    Say,
)
from trio_voice.realtime_server.answers import Part as AnswerPart
from trio_voice.realtime_server.example_arguments import example
from trio_voice.realtime_server.script import Ends, McpTool, Part, Rule, Script, When

_FLAGS = re.IGNORECASE | re.DOTALL
_NOTHING_FITS = "I am afraid that I have no answer to that."
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@define
class ScriptedThinking:
    """Applies a script to a conversation."""

    script: Script
    _used: dict[int, int] = field(factory=dict, init=False)
    """How often each rule has answered."""

    def answer(self, prompt: Prompt) -> Answer:
        """Return what the first fitting rule says; a function that has to be called is called in any case."""
        if prompt.about is About.APPROVAL and prompt.approved and prompt.asked is not None:
            return self._approved(prompt, prompt.asked)
        answer = self._by_rule(prompt)
        forced = _forced_function(prompt, answer)
        if forced is None:
            return answer
        arguments = json.dumps(example(prompt.functions[forced], forced))
        return evolve(answer, parts=(CallFunction(forced, arguments),))

    def heard(self, turn: int, spoken_ms: int) -> Heard:
        """Return the script's transcript of that turn, or one that says no more than is known."""
        for each in self.script.heard:
            if _among(each.turn, turn):
                speakers = tuple((speaker, text) for speaker, text in each.speakers)
                return Heard(each.transcript, each.fails, speakers=speakers)
        return Heard(f"(The caller spoke for {spoken_in_words(spoken_ms)}.)", words_known=False)

    def mcp_tools(self, server_label: str) -> list[dict[str, Any]] | None:
        """Return the tools of a server that the script pretends to reach."""
        for server in self.script.mcp:
            if server.server_label == server_label:
                return [
                    {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
                    for tool in server.tool
                ]
        return None

    def _by_rule(self, prompt: Prompt) -> Answer:
        for index, rule in enumerate(self.script.rule):
            used = self._used.get(index, 0)
            if rule.times is not None and used >= rule.times:
                continue
            words = _matches(rule.when, prompt)
            if words is None or not _may_call(rule, prompt):
                continue
            self._used[index] = used + 1
            return self._answer(rule, used, words, prompt)
        return Answer((Say(_NOTHING_FITS),))

    def _approved(self, prompt: Prompt, asked: AskApproval) -> Answer:
        """Make the call that was approved of, and answer its output in the same response."""
        call = self._mcp_call(asked.server_label, asked.name, asked.arguments, prompt.asked_id)
        about_output = evolve(prompt, about=About.FUNCTION_OUTPUT, output=call.output or call.error or "")
        answer = self._by_rule(about_output)
        return evolve(answer, parts=(call, *answer.parts))

    def _answer(self, rule: Rule, used: int, words: Mapping[str, str], prompt: Prompt) -> Answer:
        parts: list[AnswerPart] = []
        if rule.say is not None:
            texts = [rule.say] if isinstance(rule.say, str) else rule.say
            parts.append(Say(_filled(texts[used % len(texts)], words)))
        for part in rule.parts:
            parts.append(self._part(part, words, prompt))
            if isinstance(parts[-1], AskApproval):
                break  # the rest waits for the approval
        ending = _ending(rule.ends) if rule.ends is not None else None
        return Answer(tuple(parts), ending, rule.delay_ms, rule.switches)

    def _part(self, part: Part, words: Mapping[str, str], prompt: Prompt) -> AnswerPart:
        if part.say is not None:
            return Say(_filled(part.say, words), part.phase)
        assert part.call is not None
        arguments = json.dumps(_filled_deeply(part.arguments, words))
        if part.mcp is None:
            return CallFunction(part.call, arguments)
        if prompt.mcp_approvals.get(part.mcp, True):
            return AskApproval(part.mcp, part.call, arguments)
        return self._mcp_call(part.mcp, part.call, arguments, None)

    def _mcp_call(self, label: str, name: str, arguments: str, approval_id: str | None) -> CallMcp:
        tool = self._mcp_tool(label, name)
        if tool is None:
            return CallMcp(label, name, arguments, None, f"no tool '{name}'", approval_id)
        return CallMcp(label, name, arguments, None if tool.error else tool.output, tool.error, approval_id)

    def _mcp_tool(self, label: str, name: str) -> McpTool | None:
        tools = (tool for server in self.script.mcp if server.server_label == label for tool in server.tool)
        return next((tool for tool in tools if tool.name == name), None)


def spoken_in_words(spoken_ms: int) -> str:
    """Say a duration as one says it: `one second`, `two and a half seconds`, `twelve seconds`."""
    numbers = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    halves = round(spoken_ms / 500)
    if halves <= 1:
        return "less than a second" if spoken_ms < 250 else "half a second"
    whole, half = divmod(halves, 2)
    word = numbers[whole] if whole < len(numbers) else str(whole)
    if half and whole < 6:
        return f"{word} and a half seconds"
    return "one second" if whole == 1 else f"{word} seconds"


def _forced_function(prompt: Prompt, answer: Answer) -> str | None:
    """Return the function that `tool_choice` demands, if the answer does not call it."""
    called = [part.name for part in answer.parts if isinstance(part, CallFunction)]
    if prompt.tool_choice == "required" and not called:
        return next(iter(prompt.functions), None)
    demanded = prompt.tool_choice.removeprefix("function:")
    if demanded == prompt.tool_choice or demanded in called or demanded not in prompt.functions:
        return None
    return demanded


def _matches(when: When, prompt: Prompt) -> dict[str, str] | None:
    """Return the placeholders' values if every condition holds."""
    plain = (
        _among(when.about, prompt.about.value)
        and _among(when.turn, prompt.turn)
        and _among(when.response, prompt.response)
        and _within(prompt.turn, when.turn_at_least, when.turn_at_most)
        and _within(prompt.spoken_ms, when.spoken_at_least_ms, when.spoken_at_most_ms)
        and (when.function is None or when.function == prompt.function)
        and (when.approved is None or when.approved == prompt.approved)
        and (when.tool is None or when.tool in prompt.functions)
    )
    if not plain:
        return None
    words = {
        "turn": str(prompt.turn),
        "response": str(prompt.response),
        "spoken": spoken_in_words(prompt.spoken_ms),
        "text": prompt.text,
        "digits": " ".join(prompt.text),
        "function": prompt.function,
        "output": prompt.output,
    }
    patterns = (
        (when.text, prompt.text),
        (when.output, prompt.output),
        (when.instructions, prompt.instructions or ""),
        (when.session, prompt.session_instructions),
        (when.note, prompt.note),
    )
    for pattern, searched in patterns:
        if pattern is None:
            continue
        found = re.search(pattern, searched, _FLAGS)
        if found is None:
            return None
        words.update({name: value or "" for name, value in found.groupdict().items()})
    return words


def _among(wanted: Any, value: int | str) -> bool:
    return wanted is None or (value in wanted if isinstance(wanted, list) else value == wanted)


def _within(value: int, lowest: int | None, highest: int | None) -> bool:
    return (lowest is None or value >= lowest) and (highest is None or value <= highest)


def _may_call(rule: Rule, prompt: Prompt) -> bool:
    """Whether the response's `tool_choice` and tools allow what the rule calls."""
    calls = [part for part in rule.parts if part.call is not None]
    if prompt.tool_choice == "none":
        return not calls
    return all(part.mcp in prompt.mcp_approvals if part.mcp else part.call in prompt.functions for part in calls)


def _ending(ends: Ends) -> Ending:
    return Ending(ends.status, ends.reason, ends.type, ends.code, ends.message, ends.after_ms)


def _filled(text: str, words: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: words.get(found.group(1), found.group(0)), text)


def _filled_deeply(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _filled(value, words)
    if isinstance(value, dict):
        return {key: _filled_deeply(each, words) for key, each in value.items()}
    return [_filled_deeply(each, words) for each in value] if isinstance(value, list) else value
