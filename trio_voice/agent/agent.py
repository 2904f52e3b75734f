"""An agent: who speaks on a call, and what it is told."""

from __future__ import annotations

from attrs import evolve, field, frozen, validators

from trio_voice.core.settings import Wording
from trio_voice.realtime.settings import FunctionTool, SessionSettings

HANG_UP = FunctionTool(
    name="hang_up",
    description="End the telephone call. Say goodbye to the caller first, then call this.",
    parameters={
        "type": "object",
        "properties": {"reason": {"type": "string", "description": "Why the call ends, in a few words."}},
        "required": ["reason"],
        "additionalProperties": False,
    },
)
"""Every agent can end its call."""

DEFAULT_INSTRUCTIONS = (
    "You are a friendly receptionist who answers the telephone. Speak in short, clear sentences, one question at a time. "
    "When the caller says goodbye, say goodbye and end the call."
)


@frozen(kw_only=True)
class Agent:
    """Who answers."""

    name: str = field(default="receptionist", validator=validators.min_len(1))
    """What it is called on the start page and in the logs."""
    instructions: str = DEFAULT_INSTRUCTIONS
    """What the model is told at the start of every call."""
    voice: str | None = None
    """The model's voice; left out: the model's own choice."""
    greeting: str = Wording().greeting
    """An instruction for the first reply; empty: the agent waits for the caller to speak."""

    @property
    def speaks_first(self) -> bool:
        """Whether the agent greets the caller, or waits for them to speak."""
        return bool(self.greeting)

    def session(self, settings: SessionSettings) -> SessionSettings:
        """Fill the agent's part into the settings of a Realtime session."""
        return evolve(settings, instructions=self.instructions, voice=self.voice or settings.voice, tools=(HANG_UP,))
