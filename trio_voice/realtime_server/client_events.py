"""What a client may send: the shape of every client event of a WebSocket session, and its decoding.

Source: OpenAI Realtime API reference. `output_audio_buffer.clear` belongs to WebRTC and SIP and is refused here, as there.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from attrs import frozen

from trio_voice.realtime_server import errors_on_the_wire as errors
from trio_voice.realtime_server.session_object import AUDIO_FORMAT, METADATA, OUTPUT_VOICE, RESPONSE_FIELDS
from trio_voice.realtime_server.shapes import (
    Check,
    any_object,
    anything,
    array,
    boolean,
    describe,
    integer,
    nullable,
    one_of,
    record,
    tagged,
    text,
)

LONGEST_EVENT_ID = 512
LONGEST_ITEM_ID = 32
_ITEM_ID = text(LONGEST_ITEM_ID, "[a-zA-Z0-9_-]+")
_EVENT_ID = text(LONGEST_EVENT_ID)
_DATA_URI = re.compile(r"data:image/(png|jpeg|jpg);base64,[A-Za-z0-9+/]+=*")


def _image_url(value: Any, path: str) -> None:
    text()(value, path)
    if not _DATA_URI.fullmatch(value):
        raise errors.ClientError(
            f"Invalid '{path}'. Expected a base64-encoded data URL with an image MIME type "
            "(e.g. 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU='), but got an invalid value.",
            "invalid_value",
            path,
        )


# --- items -------------------------------------------------------------------------------------------------------------

_INPUT_TEXT = record({"type": anything, "text": text()}, ("text",))
_USER_CONTENT = tagged(
    "type",
    {
        "input_text": _INPUT_TEXT,
        "input_audio": record({"type": anything, "audio": text(), "transcript": nullable(text())}, ("audio",)),
        "input_image": record(
            {"type": anything, "image_url": _image_url, "detail": nullable(one_of("auto", "low", "high"))}, ("image_url",)
        ),
    },
)
_SYSTEM_CONTENT = tagged("type", {"input_text": _INPUT_TEXT})
_ASSISTANT_CONTENT = tagged(
    "type",
    {
        "output_text": record({"type": anything, "text": text()}, ("text",)),
        "output_audio": record(
            {"type": anything, "text": text(), "audio": nullable(text()), "transcript": nullable(text())}, ("text",)
        ),
    },
)
_COMMON: dict[str, Check] = {
    "id": nullable(_ITEM_ID),
    "type": anything,
    "object": nullable(one_of("realtime.item")),
    "status": nullable(one_of("completed", "incomplete", "in_progress")),
}


def _message(content: Check) -> Check:
    phase = nullable(one_of("commentary", "final_answer"))
    return record({**_COMMON, "role": anything, "content": array(content), "phase": phase}, ("content",))


_MESSAGE = tagged(
    "role",
    {"user": _message(_USER_CONTENT), "system": _message(_SYSTEM_CONTENT), "assistant": _message(_ASSISTANT_CONTENT)},
)
_CREATABLE: dict[str, Check] = {
    "message": _MESSAGE,
    "function_call": record({**_COMMON, "name": text(), "call_id": nullable(text()), "arguments": text()}, ("name", "arguments")),
    "function_call_output": record({**_COMMON, "call_id": text(), "output": text()}, ("call_id", "output")),
    "mcp_approval_response": record(
        {**_COMMON, "approval_request_id": text(), "approve": boolean, "reason": nullable(text())},
        ("approval_request_id", "approve"),
    ),
}
ITEM = tagged("type", _CREATABLE)
_CONTEXT_ITEM = tagged("type", {**_CREATABLE, "item_reference": record({"type": anything, "id": text()}, ("id",))})


# --- events ------------------------------------------------------------------------------------------------------------

_RESPONSE = record(
    {
        **RESPONSE_FIELDS,
        "audio": record({"output": record({"format": AUDIO_FORMAT, "voice": OUTPUT_VOICE})}),
        "metadata": METADATA,
        "conversation": nullable(one_of("auto", "none")),
        "input": nullable(array(_CONTEXT_ITEM)),
    }
)


def _event(fields: dict[str, Check] | None = None, required: tuple[str, ...] = ()) -> Check:
    return record({"type": anything, "event_id": nullable(_EVENT_ID), **(fields or {})}, required)


EVENTS: dict[str, Check] = {
    "session.update": _event({"session": any_object}, ("session",)),  # its own shape is checked against the session
    "input_audio_buffer.append": _event({"audio": text()}, ("audio",)),
    "input_audio_buffer.commit": _event(),
    "input_audio_buffer.clear": _event(),
    "conversation.item.create": _event({"item": ITEM, "previous_item_id": nullable(text())}, ("item",)),
    "conversation.item.truncate": _event(
        {"item_id": text(), "content_index": integer(0), "audio_end_ms": integer(0)},
        ("item_id", "content_index", "audio_end_ms"),
    ),
    "conversation.item.delete": _event({"item_id": text()}, ("item_id",)),
    "conversation.item.retrieve": _event({"item_id": text()}, ("item_id",)),
    "response.create": _event({"response": nullable(_RESPONSE)}),
    "response.cancel": _event({"response_id": nullable(text())}),
}
TRANSLATION_ONLY = ("session.close", "session.input_audio_buffer.append")
"""Named by the service among the supported types, but for translation sessions, which this server does not hold."""
SUPPORTED_TYPES = (*EVENTS, *TRANSLATION_ONLY)


class ClientEvent(msgspec.Struct, frozen=True):
    """A client event whose shape is right; `fields` is the whole JSON object."""

    type: str
    event_id: str | None
    fields: dict[str, Any]


@frozen
class Unusable:
    """A message that is no client event: the mistake, and the event's id if one could be read."""

    mistake: errors.ClientError
    event_id: str | None = None


_decoder = msgspec.json.Decoder()
_PLAIN_APPEND = re.compile(r'\{"type": ?"input_audio_buffer\.append", ?"audio": ?"([A-Za-z0-9+/=]*)"\}')


def decode(message: str | bytes) -> ClientEvent | Unusable:
    """Read one WebSocket message (`bytes`: it was binary). Never raises for what a client sends."""
    if isinstance(message, bytes):
        return Unusable(errors.binary_frame())
    append = _PLAIN_APPEND.fullmatch(message)  # fifty of these a second and session: four times as fast as the general way
    if append is not None:
        return ClientEvent("input_audio_buffer.append", None, {"audio": append.group(1)})
    try:
        value = _decoder.decode(message)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        return Unusable(errors.invalid_json(str(error)))
    if not isinstance(value, dict):
        return Unusable(errors.invalid_json(f"Expected an object, but got {describe(value)} instead."))
    return _checked(value)


def _refuse_type(kind: Any, _path: str) -> None:
    one_of(*SUPPORTED_TYPES)(kind, "type")
    raise errors.ClientError(f"'{kind}' is only accepted in a translation session.", "invalid_event", "type")


def _checked(value: dict[str, Any]) -> ClientEvent | Unusable:
    event_id = value.get("event_id")
    known_id = event_id if isinstance(event_id, str) and len(event_id) <= LONGEST_EVENT_ID else None
    if "type" not in value:
        return Unusable(errors.type_missing(), known_id)
    kind = value["type"]
    check = EVENTS.get(kind) if isinstance(kind, str) else None
    try:
        (check or _refuse_type)(kind if check is None else value, "")
    except errors.ClientError as mistake:
        return Unusable(mistake, known_id)
    return ClientEvent(kind, known_id, value)
