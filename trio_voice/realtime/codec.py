"""Between the Realtime wire and the core's vocabulary: server events in, client events out. No I/O, no clock.

What comes in is read strictly, because the model's server is a peer that we chose: an event that we use and cannot read is a
`RemoteProtocolError`. What we do not use is skipped, and an event type that we have never heard of is counted, as new ones
appear all the time.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from attrs import define, field, frozen

from trio_voice.core import commands as c
from trio_voice.core import events as e
from trio_voice.errors import LocalProtocolError, RemoteProtocolError
from trio_voice.realtime import messages as wire


@frozen
class SessionCreated:
    """The session exists, with the peer's own settings. For the code that connects; the core is not told."""

    session_object: dict[str, Any]


@frozen
class SessionUpdated:
    """Our settings were taken; `session_object` is the whole session as it now is. For the code that connects."""

    session_object: dict[str, Any]


Decoded = e.Event | SessionCreated | SessionUpdated

# --- from the model ----------------------------------------------------------------------------------------------------

_UNKNOWN_TYPES_LIMIT = 50
_TYPE_LIMIT = 80
_CODE_LIMIT = 100
_TEXT_LIMIT = 1000
"""What a peer says about an error is logged and kept."""
_TOOL_CALLS_REMEMBERED = 100
_OTHER_TYPES = "(other)"

_decode_event = msgspec.json.Decoder(wire.AnyServerEvent).decode
_decode_type = msgspec.json.Decoder(wire.AnyEvent).decode


@define
class RealtimeDecoder:
    """Reads the events of Realtime session number `session`.

    `unknown` counts the event types that are in no version of the protocol that we know; it stays small whatever is sent.
    """

    session: int
    unknown: Counter[str] = field(factory=Counter, init=False)
    _tool_calls: dict[str, None] = field(factory=dict, init=False)

    def decode(self, message: str | bytes) -> tuple[Decoded, ...]:
        """Read one WebSocket message; nothing comes of an event that has no consequence for a call.

        Raises RemoteProtocolError, with the event's type and what is wrong with it, for what is no event or lacks what its
        type demands.
        """
        try:
            event = _decode_event(message)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return self._unread(message, error)
        decoded = _MEANINGS[type(event)](self.session, event)
        if isinstance(event, _MAY_CALL_TOOLS):
            return tuple(one for one in decoded if not isinstance(one, e.ToolCalled) or self._is_new(one.tool_call_id))
        return decoded

    def _unread(self, message: str | bytes, error: Exception) -> tuple[Decoded, ...]:
        try:
            name = _decode_type(message).type
        except (msgspec.DecodeError, UnicodeError, RecursionError) as reason:
            raise RemoteProtocolError(f"the model sent {len(message)} bytes that are no event: {reason}") from None
        if name in _MEANINGFUL_TYPES:
            raise RemoteProtocolError(f"the model sent {name} that cannot be read: {error}") from None
        if name not in wire.UNUSED_TYPES:
            name = name[:_TYPE_LIMIT]
            self.unknown[name if name in self.unknown or len(self.unknown) < _UNKNOWN_TYPES_LIMIT else _OTHER_TYPES] += 1
        return ()

    def _is_new(self, tool_call_id: str) -> bool:
        if tool_call_id in self._tool_calls:
            return False
        self._tool_calls[tool_call_id] = None
        if len(self._tool_calls) > _TOOL_CALLS_REMEMBERED:
            del self._tool_calls[next(iter(self._tool_calls))]
        return True


# What each event means. The functions are pure: `session` is the number of the session, the result is what the core is told.


def _audio(session: int, event: wire.OutputAudioDelta) -> tuple[Decoded, ...]:
    return (e.ModelAudio(session, event.response_id, event.item_id, event.delta),)


def _audio_done(session: int, event: wire.OutputAudioDone) -> tuple[Decoded, ...]:
    return (e.ModelAudioEnded(session, event.response_id, event.item_id),)


def _transcript(session: int, event: wire.OutputTranscriptDelta) -> tuple[Decoded, ...]:
    return (e.ModelTranscript(session, event.response_id, event.item_id, event.delta),)


def _transcript_done(session: int, event: wire.OutputTranscriptDone) -> tuple[Decoded, ...]:
    return (e.ModelTranscript(session, event.response_id, event.item_id, event.transcript, final=True),)


def _response_created(session: int, event: wire.ResponseCreated) -> tuple[Decoded, ...]:
    return (e.ResponseCreated(session, event.response.id, _request_in(event.response.metadata)),)


def _response_done(session: int, event: wire.ResponseDone) -> tuple[Decoded, ...]:
    response = event.response
    try:
        status = e.ResponseStatus(response.status)
    except ValueError:  # a status of the future, or a peer's own: it is over, and not as it should be
        return (
            e.ResponseDone(session, response.id, e.ResponseStatus.FAILED, f"unknown status {response.status[:_CODE_LIMIT]!r}"),
        )
    details = response.status_details if isinstance(response.status_details, wire.StatusDetails) else wire.StatusDetails()
    error = details.error or wire.ErrorBody()
    reason = details.reason and details.reason[:_CODE_LIMIT]
    done = e.ResponseDone(session, response.id, status, reason, _code_of(error), error.message and _message_of(error))
    if status is not e.ResponseStatus.COMPLETED:
        return (done,)
    calls = [_tool_called(session, response.id, item) for item in response.output or () if _is_tool_call(item)]
    return (*calls, done)


def _item_added(session: int, event: wire.OutputItemAdded) -> tuple[Decoded, ...]:
    kind = _ITEM_KINDS.get(event.item.type, e.ItemKind.OTHER)
    return (e.ItemAdded(session, event.response_id, event.item.id, kind),)


def _item_done(session: int, event: wire.OutputItemDone) -> tuple[Decoded, ...]:
    return (_tool_called(session, event.response_id, event.item),) if _is_tool_call(event.item) else ()


def _is_tool_call(item: wire.Item) -> bool:
    """Say whether an item is a function call whose arguments are complete.

    `response.function_call_arguments.done` is no sign of that: it also comes when a response is interrupted, with half the
    arguments. The item comes complete in `response.output_item.done`, and again in `response.done`.
    """
    return item.type == "function_call" and item.status == "completed" and bool(item.call_id and item.name)


def _tool_called(session: int, response_id: str, item: wire.Item) -> e.ToolCalled:
    return e.ToolCalled(session, response_id, item.id, item.call_id or "", item.name or "", item.arguments or "{}")


def _item_truncated(session: int, event: wire.ItemTruncated) -> tuple[Decoded, ...]:
    return (e.ItemTruncated(session, event.item_id, event.audio_end_ms),)


def _speech_started(session: int, event: wire.InputSpeechStarted) -> tuple[Decoded, ...]:
    return (e.SpeechStarted(session, event.item_id, event.audio_start_ms),)


def _speech_stopped(session: int, event: wire.InputSpeechStopped) -> tuple[Decoded, ...]:
    return (e.SpeechStopped(session, event.item_id, event.audio_end_ms),)


def _committed(session: int, event: wire.InputCommitted) -> tuple[Decoded, ...]:
    return (e.TurnCommitted(session, event.item_id),)


def _transcribed(session: int, event: wire.InputTranscribed) -> tuple[Decoded, ...]:
    return (e.CallerTranscribed(session, event.item_id, event.transcript),)


def _transcription_failed(session: int, event: wire.InputTranscriptionFailed) -> tuple[Decoded, ...]:
    """A reply does not depend on it, so its code must not be taken for one that ends calls."""
    code = f"input_audio_transcription.{_code_of(event.error) or 'failed'}"
    return (e.ModelErred(session, code, f"no transcript of {event.item_id}: {_message_of(event.error)}"),)


def _session_created(session: int, event: wire.SessionCreated) -> tuple[Decoded, ...]:  # noqa: ARG001 - one signature for all
    return (SessionCreated(event.session),)


def _session_updated(session: int, event: wire.SessionUpdated) -> tuple[Decoded, ...]:  # noqa: ARG001 - one signature for all
    return (SessionUpdated(event.session),)


def _error(session: int, event: wire.Error) -> tuple[Decoded, ...]:
    return (e.ModelErred(session, _code_of(event.error), _message_of(event.error), event.error.event_id),)


_MEANINGS: Mapping[type[wire.ServerEvent], Callable[[int, Any], tuple[Decoded, ...]]] = {
    wire.OutputAudioDelta: _audio,
    wire.OutputAudioDone: _audio_done,
    wire.OutputTranscriptDelta: _transcript,
    wire.OutputTranscriptDone: _transcript_done,
    wire.ResponseCreated: _response_created,
    wire.ResponseDone: _response_done,
    wire.OutputItemAdded: _item_added,
    wire.OutputItemDone: _item_done,
    wire.ItemTruncated: _item_truncated,
    wire.InputSpeechStarted: _speech_started,
    wire.InputSpeechStopped: _speech_stopped,
    wire.InputCommitted: _committed,
    wire.InputTranscribed: _transcribed,
    wire.InputTranscriptionFailed: _transcription_failed,
    wire.SessionCreated: _session_created,
    wire.SessionUpdated: _session_updated,
    wire.Error: _error,
}
_MAY_CALL_TOOLS = (wire.OutputItemDone, wire.ResponseDone)
_MEANINGFUL_TYPES = frozenset(kind.__struct_config__.tag for kind in _MEANINGS)

_ITEM_KINDS = {"message": e.ItemKind.MESSAGE, "function_call": e.ItemKind.FUNCTION_CALL}


def _request_in(metadata: Mapping[str, Any] | None) -> int | None:
    """Return the number of our request; None for a response that was not asked for by us."""
    number = (metadata or {}).get("request")
    return int(number) if isinstance(number, str) and number.isascii() and number.isdecimal() and len(number) < 10 else None


def _code_of(error: wire.ErrorBody) -> str | None:
    """Return the error's code; a server fault often has only a type."""
    code = error.code or error.type
    return code and code[:_CODE_LIMIT]


def _message_of(error: wire.ErrorBody) -> str:
    return (error.message or "")[:_TEXT_LIMIT]


# --- to the model ------------------------------------------------------------------------------------------------------

_encoder = msgspec.json.Encoder()


def encode(command: c.Command) -> str:
    """Write the client event that carries out a command to the model: text, because a binary message is refused.

    Raises LocalProtocolError for a command that is not for the model, and for a message of a role that is none.
    """
    if isinstance(command, c.AppendAudio):
        return append_message(command.audio)
    build = _BUILDERS.get(type(command))
    if build is None:
        raise LocalProtocolError(f"{type(command).__name__} is no command to a model's session")
    return _encoder.encode(build(command)).decode()


def append_message(audio: bytes) -> str:
    """Write the client event that hands a piece of the caller's audio on."""
    return '{"type":"input_audio_buffer.append","audio":"' + b2a_base64(audio, newline=False).decode("ascii") + '"}'


def _create_response(command: c.CreateResponse) -> wire.ClientEvent:
    request = wire.ResponseRequest({"request": str(command.request), "purpose": command.purpose.value})
    if command.instructions is not None:
        request.instructions = _sendable(command.instructions)
    return wire.ResponseCreate(command.event_id, request)


def _add_text(command: c.AddText) -> wire.ClientEvent:
    text = _sendable(command.text)
    if command.role in ("system", "user"):
        return wire.ItemCreate(command.event_id, wire.MessageItem(command.role, (wire.InputText(text),)))
    if command.role == "assistant":
        return wire.ItemCreate(command.event_id, wire.MessageItem(command.role, (wire.OutputText(text),)))
    raise LocalProtocolError(f"{command.role!r} is no role in a conversation")


def _send_tool_result(command: c.SendToolResult) -> wire.ClientEvent:
    return wire.ItemCreate(command.event_id, wire.FunctionCallOutputItem(command.tool_call_id, _sendable(command.output)))


_BUILDERS: Mapping[type[c.Command], Callable[[Any], wire.ClientEvent]] = {
    c.CreateResponse: _create_response,
    c.CancelResponse: lambda command: wire.ResponseCancel(command.event_id, command.response_id),
    c.TruncateItem: lambda command: wire.ItemTruncate(command.event_id, command.item_id, command.heard_ms),
    c.DeleteItem: lambda command: wire.ItemDelete(command.event_id, command.item_id),
    c.AddText: _add_text,
    c.SendToolResult: _send_tool_result,
}


def _sendable(text: str) -> str:
    """Replace what cannot be written as UTF-8: a tool may return a lone surrogate, from a file name for instance."""
    return text.encode("utf-8", "replace").decode()
