"""What the model says next: the vocabulary between the thinking and the response that carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

from attrs import field, frozen


@frozen
class Say:
    """A message, spoken or written; `phase` is commentary, final_answer or None."""

    text: str
    phase: str | None = None


@frozen
class CallFunction:
    """A call of one of the client's functions; `arguments` is its JSON text."""

    name: str
    arguments: str


@frozen
class CallMcp:
    """A call of an MCP server's tool, which this server carries out (as if); either `output` or `error` is set."""

    server_label: str
    name: str
    arguments: str
    output: str | None = None
    error: str | None = None
    approval_request_id: str | None = None


@frozen
class AskApproval:
    """An MCP server's tool is to be called, and the client has to approve of it first."""

    server_label: str
    name: str
    arguments: str


Part = Say | CallFunction | CallMcp | AskApproval


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

    def details(self) -> dict[str, Any]:
        """Return the response's `status_details`."""
        if self.status == "failed":
            error = {"type": self.error_type, "code": self.error_code, "message": self.error_message}
            return {"type": "failed", "error": error}
        return {"type": self.status, "reason": self.reason}


@frozen
class Answer:
    """A whole response."""

    parts: tuple[Part, ...] = ()
    ending: Ending | None = None
    delay_ms: int = 0
    switches: Mapping[str, Any] = field(factory=dict)
    """Switches that are set for this response only."""


class About(Enum):
    """What a response answers: the newest thing in the conversation that has not been answered."""

    NOTHING = "nothing"
    SPEECH = "speech"
    TEXT = "text"
    DIGITS = "digits"
    FUNCTION_OUTPUT = "function_output"
    APPROVAL = "approval"
    IDLE = "idle"


@frozen
class Prompt:
    """All that the thinking may look at."""

    about: About
    turn: int
    """The caller's turns so far, spoken or written; what they say in several items before an answer is one."""
    response: int
    """Counts the responses of the session, from 1."""
    text: str = ""
    """The caller's words (transcript or text), or the digits."""
    spoken_ms: int = 0
    function: str = ""
    """About a function's output: the function's name, and what it returned. About an approval: the tool's name."""
    output: str = ""
    instructions: str | None = None
    """The response's own instructions, if it has any."""
    session_instructions: str = ""
    """Who the model is told to be."""
    note: str = ""
    """What system messages have told since the last answer."""
    functions: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    """The declared functions: name to JSON schema of the parameters."""
    mcp_approvals: Mapping[str, bool] = field(factory=dict)
    """The declared MCP servers: label, and whether a call needs the client's approval."""
    tool_choice: str = "auto"
    """auto, none, required, or `function:NAME`."""
    approved: bool = False
    asked: AskApproval | None = None
    """About an approval: what was asked for, and the id of the item that asked."""
    asked_id: str = ""


@frozen
class Heard:
    """What the caller's turn is taken to say."""

    transcript: str
    fails: bool = False
    """The transcription fails instead."""
    words_known: bool = True
    """Whether the transcript is what was said; else it says no more than that somebody spoke."""
    speakers: tuple[tuple[str, str], ...] = ()
    """For a model that tells speakers apart: (speaker, text)."""


class Thinking(Protocol):
    """Decides what the model says."""

    def answer(self, prompt: Prompt) -> Answer:
        """Return the answer to a prompt."""
        ...

    def heard(self, turn: int, spoken_ms: int) -> Heard:
        """Return the transcript of a turn that nothing has recognised."""
        ...

    def mcp_tools(self, server_label: str) -> list[dict[str, Any]] | None:
        """Return the tools that an MCP server lists; None: it cannot be reached."""
        ...
