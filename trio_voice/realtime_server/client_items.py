"""Items that a client creates: from what it sent to what the conversation holds."""

from __future__ import annotations

from binascii import a2b_base64
from typing import Any

from trio_voice.realtime_server import errors_on_the_wire as errors
from trio_voice.realtime_server.audio_formats import AudioFormat
from trio_voice.realtime_server.conversation import Item
from trio_voice.realtime_server.identifiers import Identifiers

_HANDLED = ("id", "type", "object", "status", "content")
_WITHOUT_STATUS = ("function_call_output", "mcp_approval_response")


def audio_bytes(text: str, param: str) -> bytes:
    """Decode base64. Raises ClientError."""
    try:
        return a2b_base64(text, strict_mode=True)
    except ValueError:
        message = f"Invalid '{param}'. Expected base64-encoded audio bytes, but got an invalid value."
        raise errors.ClientError(message, "invalid_value", param) from None


def new_item(item_id: str, given: dict[str, Any], input_format: AudioFormat, ids: Identifiers) -> Item:
    """Build an item; its audio leaves the body, which the wire shows without it. Raises ClientError for bad base64."""
    audio = bytearray()
    body: dict[str, Any] = {"id": item_id, "type": given["type"]}
    if given["type"] not in _WITHOUT_STATUS:
        body["status"] = given.get("status") or "completed"
    body |= {key: value for key, value in given.items() if key not in _HANDLED and value is not None}
    if given["type"] == "function_call":
        body.setdefault("call_id", ids.new("call"))
    if "content" in given:
        body["content"] = []
        for index, part in enumerate(given["content"]):
            if part["type"] == "input_audio":
                audio += audio_bytes(part["audio"], f"item.content[{index}].audio")
                body["content"].append({"type": "input_audio", "transcript": part.get("transcript")})
            elif part["type"] == "output_audio":  # a client cannot create the model's audio, only its words
                body["content"].append({"type": "output_text", "text": part["text"]})
            else:
                body["content"].append(part)
    duration_ms = len(audio) // input_format.bytes_per_ms
    return Item(body, audio, input_format.item_name, duration_ms, duration_ms)
