"""The Realtime messages that we read and write, as msgspec structs. Source: OpenAI Realtime API reference (GA).

The names are the wire's own types in camel case; `codec` gives them their meaning. Fields that are not used are left out: msgspec
skips them without building them, and a field of the future does no harm. What a peer may leave out has a default.

A message may have 16 MiB, but ids are remembered, audio is queued and calls are run: each of these has a bound of its own.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

ID_CHARACTERS = 512
"""The longest id that we read (OpenAI's have about 30 characters, those that clients choose at most 32)."""
DELTA_BYTES = 60 * 8000
"""The most audio that we read in one delta: a minute of G.711 (OpenAI sends up to half a second)."""
OUTPUT_ITEMS = 128
"""The most items of one response that we read."""

Id = Annotated[str, msgspec.Meta(max_length=ID_CHARACTERS)]
# --- from the model ----------------------------------------------------------------------------------------------------


class ServerEvent(msgspec.Struct, tag_field="type"):
    """The base of what the model sends."""


class SessionCreated(ServerEvent, tag="session.created"):
    """The first event of a session."""

    session: dict[str, Any]


class SessionUpdated(ServerEvent, tag="session.updated"):
    """The answer to `session.update`: the whole session as it now is."""

    session: dict[str, Any]


class InputSpeechStarted(ServerEvent, tag="input_audio_buffer.speech_started"):
    """The voice detector heard speech begin."""

    item_id: Id
    audio_start_ms: int = 0


class InputSpeechStopped(ServerEvent, tag="input_audio_buffer.speech_stopped"):
    """The voice detector heard speech end."""

    item_id: Id
    audio_end_ms: int = 0


class InputCommitted(ServerEvent, tag="input_audio_buffer.committed"):
    """The caller's audio became an item."""

    item_id: Id


class InputTranscribed(ServerEvent, tag="conversation.item.input_audio_transcription.completed"):
    """The transcript of a caller's item."""

    item_id: Id
    transcript: str


class ErrorBody(msgspec.Struct):
    """What went wrong: in `error` events, failed responses and failed transcriptions."""

    type: str | None = None
    code: str | None = None
    message: str | None = None
    event_id: Id | None = None


class InputTranscriptionFailed(ServerEvent, tag="conversation.item.input_audio_transcription.failed"):
    """There will be no transcript of a caller's item."""

    item_id: Id
    error: ErrorBody


class Item(msgspec.Struct):
    """An output item of a response: a message, a function call, or something else."""

    id: Id = ""
    type: str = ""
    status: str | None = None
    call_id: Id | None = None
    name: Id | None = None
    arguments: str | None = None


class StatusDetails(msgspec.Struct):
    """Why a response ended as it did."""

    reason: str | None = None
    error: ErrorBody | None = None


class Response(msgspec.Struct):
    """A response. Some peers that clone the protocol send `status_details` as a text."""

    id: Id
    status: str = ""
    status_details: StatusDetails | str | None = None
    output: Annotated[list[Item], msgspec.Meta(max_length=OUTPUT_ITEMS)] | None = None
    metadata: dict[str, Any] | None = None


class ResponseCreated(ServerEvent, tag="response.created"):
    """A response began."""

    response: Response


class ResponseDone(ServerEvent, tag="response.done"):
    """A response is over."""

    response: Response


class OutputItemAdded(ServerEvent, tag="response.output_item.added"):
    """A response opened an item."""

    response_id: Id
    item: Item


class OutputItemDone(ServerEvent, tag="response.output_item.done"):
    """A response closed an item."""

    response_id: Id
    item: Item


class OutputAudioDelta(ServerEvent, tag="response.output_audio.delta"):
    """A piece of speech; `delta` is base64 on the wire."""

    response_id: Id
    item_id: Id
    delta: Annotated[bytes, msgspec.Meta(max_length=DELTA_BYTES)]


class OutputAudioDone(ServerEvent, tag="response.output_audio.done"):
    """The item's speech is complete."""

    response_id: Id
    item_id: Id


class OutputTranscriptDelta(ServerEvent, tag="response.output_audio_transcript.delta"):
    """A piece of the text of the speech."""

    response_id: Id
    item_id: Id
    delta: str


class OutputTranscriptDone(ServerEvent, tag="response.output_audio_transcript.done"):
    """The whole text of the speech."""

    response_id: Id
    item_id: Id
    transcript: str


class ItemTruncated(ServerEvent, tag="conversation.item.truncated"):
    """An item was cut as asked."""

    item_id: Id
    audio_end_ms: int


class Error(ServerEvent, tag="error"):
    """An error; what follows on the wire says whether it was fatal."""

    error: ErrorBody


AnyServerEvent = (
    OutputAudioDelta
    | OutputAudioDone
    | OutputTranscriptDelta
    | OutputTranscriptDone
    | OutputItemAdded
    | OutputItemDone
    | ResponseCreated
    | ResponseDone
    | InputSpeechStarted
    | InputSpeechStopped
    | InputCommitted
    | InputTranscribed
    | InputTranscriptionFailed
    | ItemTruncated
    | SessionCreated
    | SessionUpdated
    | Error
)


class AnyEvent(msgspec.Struct):
    """Just the type of an event."""

    type: str


UNUSED_TYPES = frozenset(
    {
        "conversation.created",
        "conversation.item.added",
        "conversation.item.created",
        "conversation.item.deleted",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.segment",
        "conversation.item.retrieved",
        "input_audio_buffer.cleared",
        "input_audio_buffer.dtmf_event_received",
        "input_audio_buffer.timeout_triggered",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "mcp_list_tools.in_progress",
        "output_audio_buffer.cleared",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "rate_limits.updated",
        "response.content_part.added",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.output_text.delta",
        "response.output_text.done",
    }
)
"""The rest of the protocol's event types: known, and of no consequence for a telephone call."""


# --- to the model ------------------------------------------------------------------------------------------------------


class ClientEvent(msgspec.Struct, tag_field="type"):
    """The base of what we send and the model can refuse: its error names the `event_id`."""


class SessionUpdate(ClientEvent, tag="session.update"):
    """Change the session."""

    event_id: str
    session: dict[str, Any]


class ResponseRequest(msgspec.Struct):
    """What we ask of one response; `instructions` replace the session's for it."""

    metadata: dict[str, str]
    instructions: str | UnsetType = UNSET


class ResponseCreate(ClientEvent, tag="response.create"):
    """Ask for a response."""

    event_id: str
    response: ResponseRequest


class ResponseCancel(ClientEvent, tag="response.cancel"):
    """Stop a response."""

    event_id: str
    response_id: str


class ItemTruncate(ClientEvent, tag="conversation.item.truncate"):
    """Cut an item's audio. Speech is always the item's content number 0."""

    event_id: str
    item_id: str
    audio_end_ms: int
    content_index: int = 0


class ItemDelete(ClientEvent, tag="conversation.item.delete"):
    """Remove an item."""

    event_id: str
    item_id: str


class InputText(msgspec.Struct, tag_field="type", tag="input_text"):
    """Text of a user's or the system's message."""

    text: str


class OutputText(msgspec.Struct, tag_field="type", tag="output_text"):
    """Text of an assistant's message."""

    text: str


class MessageItem(msgspec.Struct, tag_field="type", tag="message"):
    """A text message in the conversation."""

    role: str
    content: tuple[InputText | OutputText, ...]


class FunctionCallOutputItem(msgspec.Struct, tag_field="type", tag="function_call_output"):
    """The answer to a function call."""

    call_id: str
    output: str


class ItemCreate(ClientEvent, tag="conversation.item.create"):
    """Add an item at the end of the conversation."""

    event_id: str
    item: MessageItem | FunctionCallOutputItem
