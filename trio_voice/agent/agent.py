"""An agent: who speaks on a call, what it is told, and what it can do."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import attrs
from attrs import evolve, field, frozen

from trio_voice.agent.context import CallContext
from trio_voice.agent.mistakes import AgentError
from trio_voice.agent.tool import Tool, tool
from trio_voice.core.settings import Wording
from trio_voice.realtime.settings import SessionSettings

DEFAULT_INSTRUCTIONS = (
    "You are a friendly receptionist who answers the telephone. Speak in short, clear sentences, one question at a time. "
    "When the caller says goodbye, say goodbye and end the call."
)
MOST_TOOLS = 128
"""Of one session. Source: OpenAI API reference, function tools."""
LANGUAGE_PATTERN = r"[a-z]{2,3}(-[A-Z]{2})?"


@tool
async def hang_up(call: CallContext, reason: str = "") -> dict[str, str]:
    """End the telephone call. Say goodbye to the caller first, then call this.

    Args:
        reason: Why the call ends, in a few words.
    """
    if reason:
        call.journal(f"the agent hangs up: {reason}")
    call.hang_up("the agent ended the call")
    return {"ok": "the call ends when what was said has been heard"}


HANG_UP = hang_up.declaration
"""Every agent can end its call."""


def _is_text(_agent: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str):
        raise AgentError(f"{attribute.name!r} must be a text: {value!r}")


def _is_not_empty(agent: object, attribute: attrs.Attribute[Any], value: object) -> None:
    _is_text(agent, attribute, value)
    if not str(value).strip():
        raise AgentError(f"{attribute.name!r} must be a text that is not empty: {value!r}")


def _is_language(_agent: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not re.fullmatch(LANGUAGE_PATTERN, str(value)):
        raise AgentError(f"{attribute.name!r} must be a language's code, for instance de or pt-BR: {value!r}")


def _as_tuple(value: Iterable[Tool]) -> tuple[Tool, ...]:
    try:
        return tuple(value)
    except TypeError:
        raise AgentError(f"'tools' must be a list of functions with @tool above them: {value!r}") from None


def _are_tools(_agent: object, _attribute: object, tools: tuple[object, ...]) -> None:
    names: set[str] = {hang_up.name}
    for each in tools:
        if not isinstance(each, Tool):
            shown = each.__name__ if inspect.isfunction(each) else repr(each)
            raise AgentError(f"'tools' must be made with @tool, and {shown} is not; write @tool above it: {shown}")
        if each.name == hang_up.name:
            raise AgentError(
                f"'tools' must be called otherwise than {each.name}, which every agent has; rename yours: {each.name}"
            )
        if each.name in names:
            raise AgentError(f"'tools' must have different names, and two are called {each.name}; rename one: {each.name}")
        names.add(each.name)
    if len(names) > MOST_TOOLS:
        raise AgentError(f"'tools' must be at most {MOST_TOOLS}, with hang_up: {len(names)}")


@frozen(kw_only=True)
class Agent:
    """Who answers."""

    name: str = field(default="receptionist", validator=_is_not_empty)
    """What it is called on the start page and in the logs."""
    instructions: str = field(default=DEFAULT_INSTRUCTIONS, validator=_is_text)
    """What the model is told at the start of every call."""
    voice: str | None = field(default=None, validator=attrs.validators.optional(_is_not_empty))
    """The model's voice; left out: the model's own choice."""
    greeting: str = field(default=Wording().greeting, validator=_is_text)
    """An instruction for the first reply; empty: the agent waits for the caller to speak."""
    language: str | None = field(default=None, validator=attrs.validators.optional(_is_language))
    """The code of the language to speak, for instance de or pt-BR; left out: as the instructions and the caller have it. The
    model is told so, and what writes down the caller's words expects it."""
    tools: tuple[Tool, ...] = field(default=(), converter=_as_tuple, validator=_are_tools)
    """Functions that the model may call, made with `@tool`; in Python only."""

    @property
    def speaks_first(self) -> bool:
        """Whether the agent greets the caller, or waits for them to speak."""
        return bool(self.greeting)

    @property
    def toolbox(self) -> Mapping[str, Tool]:
        """All its tools by their names, with `hang_up`, which every agent has."""
        return MappingProxyType({each.name: each for each in (hang_up, *self.tools)})

    def session(self, settings: SessionSettings) -> SessionSettings:
        """Fill the agent's part into the settings of a Realtime session."""
        instructions = self.instructions
        if self.language is not None:
            instructions = f"{instructions}\n\nSpeak with the caller in the language with the code {self.language}.".lstrip()
        return evolve(
            settings,
            instructions=instructions,
            voice=self.voice or settings.voice,
            transcription_language=self.language and self.language.partition("-")[0],
            tools=tuple(each.declaration for each in self.toolbox.values()),
        )
