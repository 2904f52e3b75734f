"""Thinking by script: the first rule whose conditions hold gives the answer. One instance per session."""

from __future__ import annotations

import json
import re
from typing import Any

from attrs import define, field

from trio_voice.realtime_server.answers import Answer, CallFunction, Ending, Prompt, Say
from trio_voice.realtime_server.script import Ends, Part, Rule, Script, When

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
        """Return what the first fitting rule says."""
        for index, rule in enumerate(self.script.rule):
            used = self._used.get(index, 0)
            if rule.times is not None and used >= rule.times:
                continue
            words = _matches(rule.when, prompt)
            if words is None or not _may_call(rule, prompt):
                continue
            self._used[index] = used + 1
            return _answer(rule, used, words)
        return Answer((Say(_NOTHING_FITS),))

    def heard(self, turn: int, spoken_ms: int) -> str:
        """Return the script's transcript of that turn, or one that says no more than is known."""
        for heard in self.script.heard:
            if heard.turn is None or heard.turn == turn or (isinstance(heard.turn, list) and turn in heard.turn):
                return heard.transcript
        return f"(The caller spoke for {spoken_in_words(spoken_ms)}.)"


def spoken_in_words(spoken_ms: int) -> str:
    """Say a duration as one says it: `one second`, `about two and a half seconds`, `twelve seconds`."""
    numbers = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    halves = round(spoken_ms / 500)
    if halves <= 1:
        return "less than a second" if spoken_ms < 250 else "half a second"
    whole, half = divmod(halves, 2)
    word = numbers[whole] if whole < len(numbers) else str(whole)
    if half and whole < 6:
        return f"{word} and a half seconds"
    return "one second" if whole == 1 else f"{word} seconds"


def _matches(when: When, prompt: Prompt) -> dict[str, str] | None:
    """Return the placeholders' values if every condition holds."""
    words = {
        "turn": str(prompt.turn),
        "response": str(prompt.response),
        "spoken": spoken_in_words(prompt.spoken_ms),
        "text": prompt.text,
        "digits": " ".join(prompt.text),
        "function": prompt.function,
        "output": prompt.output,
    }
    plain = (
        _among(when.about, prompt.about.value)
        and _among(when.turn, prompt.turn)
        and _among(when.response, prompt.response)
        and _within(prompt.turn, when.turn_at_least, when.turn_at_most)
        and _within(prompt.spoken_ms, when.spoken_at_least_ms, when.spoken_at_most_ms)
        and (when.function is None or when.function == prompt.function)
        and (when.tool is None or when.tool in prompt.tools)
    )
    if not plain:
        return None
    patterns = ((when.text, prompt.text), (when.output, prompt.output), (when.instructions, prompt.instructions or ""))
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
    called = [part.call for part in rule.parts if part.call is not None]
    if prompt.tool_choice == "none":
        return not called
    return all(name in prompt.tools for name in called)


def _answer(rule: Rule, used: int, words: dict[str, str]) -> Answer:
    if rule.say is not None:
        texts = [rule.say] if isinstance(rule.say, str) else rule.say
        parts: tuple[Say | CallFunction, ...] = (Say(_filled(texts[used % len(texts)], words)),)
    else:
        parts = tuple(_part(part, words) for part in rule.parts)
    return Answer(parts, _ending(rule.ends) if rule.ends is not None else None, rule.delay_ms)


def _part(part: Part, words: dict[str, str]) -> Say | CallFunction:
    if part.say is not None:
        return Say(_filled(part.say, words), part.phase)
    assert part.call is not None
    return CallFunction(part.call, json.dumps(_filled_deeply(part.arguments, words)))


def _ending(ends: Ends) -> Ending:
    return Ending(ends.status, ends.reason, ends.type, ends.code, ends.message, ends.after_ms)


def _filled(text: str, words: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: words.get(found.group(1), found.group(0)), text)


def _filled_deeply(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, str):
        return _filled(value, words)
    if isinstance(value, dict):
        return {key: _filled_deeply(each, words) for key, each in value.items()}
    return [_filled_deeply(each, words) for each in value] if isinstance(value, list) else value
