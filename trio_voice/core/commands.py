"""What to do: imperatives, frozen. A `Call` returns them in lists; the shell performs them, in order, and waits for nothing.

Commands to the model carry the number of the session that they are for. Those that can be refused have an `event_id`, made of
their own fields, which the peer's error names: the refusal finds its command without a table.
"""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen

from trio_voice.core.events import size_of


class Purpose(Enum):
    """Why a response is asked for; the journal and the metrics use the same words."""

    GREETING = "greeting"
    TURN = "turn"
    WATCHDOG = "watchdog"
    TOOL_RESULT = "tool_result"
    INJECTED_TEXT = "injected_text"
    IDLE_PROMPT = "idle_prompt"
    RETRY = "retry"
    DIGITS = "digits"
    FAREWELL = "farewell"
    NOTICE = "notice"
    HAND_OFF = "hand_off"
    FILLER = "filler"


class Refusal(Enum):
    """Why the guard said no, or why an event had no consequence. One enum for journal, metrics and tests."""

    CLOSING = "closing"
    HANG_UP_PENDING = "hang_up_pending"
    GREETING_LOCK = "greeting_lock"
    RESPONSE_ACTIVE = "response_active"
    NOT_CALIBRATED = "not_calibrated"
    COOLDOWN = "cooldown"
    CALLER_SPEAKING = "caller_speaking"
    NOT_SPOKEN_YET = "not_spoken_yet"
    BELOW_LEVEL = "below_level"
    ECHO = "echo"
    NO_SESSION = "no_session"
    STALE_SESSION = "stale_session"
    CANCELLED_RESPONSE = "cancelled_response"
    UNKNOWN_RESPONSE = "unknown_response"
    STALE_MARK = "stale_mark"
    PAST_RETURN = "past_return"
    DUPLICATE = "duplicate"
    TOO_SHORT = "too_short"
    NOT_COMMITTED = "not_committed"
    MODEL_DECIDES = "model_decides"
    TOO_LATE = "too_late"
    CHANGING = "changing"


@frozen
class Command:
    """The base of all commands."""


# --- to the caller -----------------------------------------------------------------------------------------------------


COMFORT = "comfort"
"""The response whose audio is the sound for a caller who waits for a model; each time it is an item of its own."""
BEEP = "beep"
"""The response, and item, whose audio is the tone with which a recorded call begins."""
SOUNDS = frozenset({COMFORT, BEEP})
"""What is played and is nobody's turn."""


@frozen
class PlayAudio(Command):
    """Queue audio for the caller."""

    response_id: str
    """The model's, or one of `SOUNDS`, or an apology."""
    item_id: str
    audio: bytes = field(repr=size_of)


@frozen
class SendMark(Command):
    """Ask the carrier to say when the audio queued so far has been heard."""

    name: str


@frozen
class ClearPlayback(Command):
    """Flush what is queued for the caller: ours first, then the carrier's. It leaves before everything else."""


@frozen
class HangUp(Command):
    """End the call: through the carrier where credentials exist, and by closing the line in any case.

    Only `Close` comes after it.
    """

    reason: str


# --- to the model ------------------------------------------------------------------------------------------------------


@frozen
class OpenSession(Command):
    """Open Realtime session number `session`, with setup number `change` (0: the call's first).

    A first one has number 1. `delay_s` is the longest pause before the attempt: the shell draws one that is at most so long.
    """

    session: int
    delay_s: float = 0.0
    change: int = 0


@frozen
class UpdateSession(Command):
    """Give the serving session the settings of setup `change`; comes back as `ChangeApplied` or `ChangeRefused`."""

    session: int
    change: int

    @property
    def event_id(self) -> str:
        """The id of the wire event."""
        return f"update-{self.change}"


@frozen
class CloseSession(Command):
    """Close session number `session`; its events are dropped from here on."""

    session: int


@frozen
class AppendAudio(Command):
    """Hand the caller's voice to the model."""

    session: int
    audio: bytes = field(repr=size_of)


@frozen
class CreateResponse(Command):
    """Ask for a reply.

    `request` counts the requests of the call and travels as metadata; `instructions` None: the session's own.
    """

    session: int
    request: int
    purpose: Purpose
    instructions: str | None = None

    @property
    def event_id(self) -> str:
        """The id of the wire event."""
        return f"create-{self.request}"


@frozen
class CancelResponse(Command):
    """Stop a response that is in progress; always by id."""

    session: int
    response_id: str

    @property
    def event_id(self) -> str:
        """The id of the wire event."""
        return f"cancel-{self.response_id}"


@frozen
class TruncateItem(Command):
    """Make the model forget what the caller did not hear of an item."""

    session: int
    item_id: str
    heard_ms: int

    @property
    def event_id(self) -> str:
        """The id of the wire event."""
        return f"truncate-{self.item_id}"


@frozen
class DeleteItem(Command):
    """Remove an item that the caller heard nothing of."""

    session: int
    item_id: str

    @property
    def event_id(self) -> str:
        """The id of the wire event."""
        return f"delete-{self.item_id}"


@frozen
class AddText(Command):
    """Add a message to the conversation. `role` is "system", "user" or "assistant"; `number` counts them within the call."""

    session: int
    number: int
    role: str
    text: str

    @property
    def event_id(self) -> str:
        """The id of the wire event."""
        return f"text-{self.number}"


@frozen
class SendToolResult(Command):
    """Answer one tool call."""

    session: int
    tool_call_id: str
    output: str

    @property
    def event_id(self) -> str:
        """The id of the wire event."""
        return f"tool-{self.tool_call_id}"


# --- to the shell ------------------------------------------------------------------------------------------------------


@frozen
class RunTool(Command):
    """Run a tool of the agent that session `session` belongs to; its end comes back as `ToolFinished`."""

    tool_call_id: str
    name: str
    arguments: str
    session: int = 1


@frozen
class ReportChange(Command):
    """Tell who asked for setup `change` that it serves now, or, with `failure`, why it does not and will not."""

    change: int
    failure: str | None = None


@frozen
class SendDigits(Command):
    """Press keys on the caller's line."""

    digits: str


@frozen
class InterruptTools(Command):
    """The caller interrupted the agent: cancel the running tools that are declared to be cancelled then."""


@frozen
class Close(Command):
    """Let go of everything: sockets, tasks, the journal. The last command of every call."""

    reason: str


@frozen
class Discard(Command):
    """Nothing is done, and why: so that every event has a visible consequence in the journal."""

    reason: Refusal


@frozen
class Refuse(Command):
    """A response was asked for and the guard said no. `waits` is True when the request is kept and made later."""

    purpose: Purpose
    reason: Refusal
    waits: bool = False


@frozen
class Note(Command):
    """A fact for the journal and the log that changes nothing outside: a transition, a fault of the peer, a decision."""

    text: str


def event_id_of(command: Command) -> str | None:
    """The id of the wire event that carries a command to the model; None for those that carry none."""
    match command:
        case CreateResponse() | CancelResponse() | TruncateItem() | DeleteItem() | AddText() | SendToolResult() | UpdateSession():
            return command.event_id
        case _:
            return None
