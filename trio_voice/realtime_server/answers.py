"""What the model says next: the vocabulary between the thinking and the response that carries it out."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from attrs import frozen


@frozen
class Say:
    """A message, spoken or written; `phase` is commentary, final_answer or None."""

    text: str
    phase: str | None = None


@frozen
class CallFunction:
    """A function call; `arguments` is its JSON text."""

    name: str
    arguments: str


@frozen
class Ending:
    """How a response ends that does not complete: `failed` with an error, or `incomplete` with a reason."""

    status: str
    reason: str | None = None
    error_type: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    after_ms: int = 0
    """Audio that is still said before it; for `failed` usually none."""


@frozen
class Answer:
    """A whole response."""

    parts: tuple[Say | CallFunction, ...] = ()
    ending: Ending | None = None
    delay_ms: int = 0


class About(Enum):
    """What a response answers: the newest thing in the conversation that has not been answered."""

    NOTHING = "nothing"
    SPEECH = "speech"
    TEXT = "text"
    DIGITS = "digits"
    FUNCTION_OUTPUT = "function_output"
    IDLE = "idle"


@frozen
class Prompt:
    """All that the thinking may look at."""

    about: About
    turn: int
    """The caller's turns so far, spoken or written."""
    response: int
    """Counts the responses of the session, from 1."""
    text: str = ""
    """The caller's words (transcript or text), or the digits."""
    spoken_ms: int = 0
    function: str = ""
    """About a function's output: the function's name, and what it returned."""
    output: str = ""
    instructions: str | None = None
    """The response's own instructions, if it has any."""
    tools: tuple[str, ...] = ()
    tool_choice: str = "auto"
    """auto, none, required, or `function:NAME`."""


class Thinking(Protocol):
    """Decides what the model says."""

    def answer(self, prompt: Prompt) -> Answer:
        """Return the answer to a prompt."""
        ...

    def heard(self, turn: int, spoken_ms: int) -> str:
        """Return the transcript of the caller's turn (there is no recogniser behind this)."""
        ...
