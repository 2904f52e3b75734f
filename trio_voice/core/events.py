"""What happened: facts in the past tense, frozen. Nothing else goes into a `Call`.

Every event of the model carries `session`, the number of the Realtime session that it came from, so that a stale session's
events are dropped by comparison (`ModelEvent`). Durations are milliseconds, levels dBFS, audio is bytes in the call's own
encoding (mu-law: 8 bytes a millisecond).
"""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen


def size_of(audio: bytes) -> str:
    """How audio is shown where an event or a command is printed."""
    return f"<{len(audio)} bytes>"


class ResponseStatus(Enum):
    """How a response ended (`response.done`, field `response.status`)."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


class ItemKind(Enum):
    """What a response's output item is."""

    MESSAGE = "message"
    FUNCTION_CALL = "function_call"
    OTHER = "other"


@frozen
class Event:
    """The base of all events."""


@frozen
class ModelEvent(Event):
    """Something that the serving session's model said or did; dropped when `session` does not serve any more."""

    session: int


# --- from the caller's leg ---------------------------------------------------------------------------------------------


@frozen
class CallStarted(Event):
    """The carrier's stream has started: the caller hears and is heard."""

    call_sid: str


@frozen
class CallerAudio(Event):
    """A frame of the caller's voice; `level_dbfs` is None for a frame whose level was not measured."""

    audio: bytes = field(repr=size_of)
    level_dbfs: float | None = None


@frozen
class PlaybackMarked(Event):
    """The carrier echoed a mark: the audio before it was played, or flushed by a clear. The message does not say which."""

    name: str


@frozen
class DigitPressed(Event):
    """The caller pressed a key: one of 0-9, *, #, A-D."""

    digit: str


@frozen
class CallerHungUp(Event):
    """The caller's leg is gone (stop, closed socket, dead line). Nothing can be played any more."""

    reason: str


# --- from the model's session ------------------------------------------------------------------------------------------


@frozen
class SessionReady(Event):
    """Session number `session` accepted our settings and may be talked to; `transcribes`: it writes down the caller's words."""

    session: int
    transcribes: bool = False


@frozen
class SessionLost(Event):
    """The session's connection ended or could not be opened. `retryable` is False for errors that no retry can mend."""

    session: int
    reason: str
    retryable: bool = True


@frozen
class SpeechStarted(ModelEvent):
    """The model's voice detector heard the caller begin to speak; `at_ms` is on the clock of appended audio."""

    item_id: str
    at_ms: int = 0


@frozen
class SpeechStopped(ModelEvent):
    """The model's voice detector heard the caller fall silent; `at_ms` is on the clock of appended audio."""

    item_id: str
    at_ms: int = 0


@frozen
class TurnCommitted(ModelEvent):
    """The caller's utterance became the conversation item `item_id`."""

    item_id: str


@frozen
class CallerTranscribed(ModelEvent):
    """What the caller said in item `item_id`, as text. It comes at any time, and not in the order of the turns."""

    item_id: str
    text: str


@frozen
class ResponseCreated(ModelEvent):
    """A response began.

    `request` is the number that we sent in the request's metadata; None if the peer does not echo it, or made the response by
    itself.
    """

    response_id: str
    request: int | None = None


@frozen
class ItemAdded(ModelEvent):
    """A response opened an output item."""

    response_id: str
    item_id: str
    kind: ItemKind = ItemKind.MESSAGE


@frozen
class ModelAudio(ModelEvent):
    """A piece of a response's speech, of any length; `level_dbfs` is its level, for the echo guard."""

    response_id: str
    item_id: str
    audio: bytes = field(repr=size_of)
    level_dbfs: float | None = None


@frozen
class ModelAudioEnded(ModelEvent):
    """The item's speech is complete (as generated; the caller may still be hearing it)."""

    response_id: str
    item_id: str


@frozen
class ModelTranscript(ModelEvent):
    """Text of a response's speech: a piece of it, or, with `final`, the whole."""

    response_id: str
    item_id: str
    text: str
    final: bool = False


@frozen
class ToolCalled(ModelEvent):
    """A response asks for a tool, with complete arguments (JSON text)."""

    response_id: str
    item_id: str
    tool_call_id: str
    name: str
    arguments: str


@frozen
class ResponseDone(ModelEvent):
    """A response is over. `error_code` and `error_message` come with status failed, `reason` with cancelled and incomplete."""

    response_id: str
    status: ResponseStatus
    reason: str | None = None
    error_code: str | None = None
    error_message: str | None = None


@frozen
class ItemTruncated(ModelEvent):
    """The model confirms that an item now ends at `audio_end_ms`."""

    item_id: str
    audio_end_ms: int


@frozen
class ModelErred(ModelEvent):
    """An `error` event. `event_id` is the id of the command of ours that caused it, where the peer says so."""

    code: str | None
    message: str
    event_id: str | None = None


@frozen
class ChangeApplied(ModelEvent):
    """The serving session has taken the settings of setup `change`."""

    change: int


@frozen
class ChangeRefused(ModelEvent):
    """The serving session has not taken the settings of setup `change`; it goes on with those that it had."""

    change: int
    reason: str


@frozen
class SendFailed(ModelEvent):
    """A command could not be sent to session `session`; `event_id` is the command's `event_id`."""

    event_id: str


# --- from the agent, the operator and the shell ------------------------------------------------------------------------


@frozen
class HangUpAsked(Event):
    """The agent, a tool or an operator wants the call to end, politely: after what is being said was heard.

    With `farewell` the agent is cut off, if it speaks, to say goodbye now, and a caller who speaks cannot keep the call: the
    server is ending.
    """

    reason: str
    farewell: bool = False


@frozen
class ToolStarted(Event):
    """A tool runs; it answers within `limit_s` seconds from now, or is reported as failed."""

    tool_call_id: str
    limit_s: float


@frozen
class ToolFinished(Event):
    """A tool returned; `output` is the text for the model (errors are told to the model too)."""

    tool_call_id: str
    output: str


@frozen
class JobStarted(Event):
    """A background job runs beside the conversation, for at most `limit_s` seconds. `job` counts the call's jobs from 1."""

    job: int
    limit_s: float


@frozen
class JobEnded(Event):
    """A background job is over, whatever came of it."""

    job: int


@frozen
class ChangeAsked(Event):
    """The session shall have another voice, or belong to another agent: the setup number `change`, which the shell knows.

    `voice_changes`: it has another voice than the setup before. `note` is told to the model when the change has been made, as a
    system message; "" is nothing. With `reply` the model is then asked to speak.
    """

    change: int
    voice_changes: bool = True
    note: str = ""
    reply: bool = False


@frozen
class FillerAsked(Event):
    """A few words that the agent may say if nobody speaks now: they are worth nothing later."""

    text: str


@frozen
class DigitsAsked(Event):
    """Keys to press for the caller's line, each one of 0-9, *, #, A-D; only where the carrier can."""

    digits: str


@frozen
class TextInjected(Event):
    """A text that the agent shall speak soon (an announcement, a summary)."""

    text: str


@frozen
class OutboxOverran(Event):
    """A socket's queue reached its bound: the peer does not read. `leg` is "caller" or "model".

    `session` is the model's; without it, as in older journals, it is the one that serves.
    """

    leg: str
    session: int | None = None


@frozen
class FatalErrorRaised(Event):
    """An unexpected error in one of the call's tasks: the call must end cleanly."""

    reason: str
