"""Server events as OpenAI's Realtime API sends them, with all their fields: the material of the codec's tests."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

SPEECH = bytes(range(256)) * 8
SESSION = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "sess_1",
    "model": "gpt-realtime-2.1",
    "output_modalities": ["audio"],
    "instructions": "Be brief.",
    "tools": [],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "tracing": None,
    "truncation": "auto",
    "prompt": None,
    "expires_at": 1785460927,
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 350,
                "idle_timeout_ms": None,
                "create_response": False,
                "interrupt_response": False,
            },
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.0},
    },
    "include": None,
}
USAGE = {
    "total_tokens": 205,
    "input_tokens": 41,
    "output_tokens": 164,
    "input_token_details": {
        "text_tokens": 14,
        "audio_tokens": 27,
        "image_tokens": 0,
        "cached_tokens": 0,
        "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 28, "audio_tokens": 136},
}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "event_id": "event_1", **fields}


def response(status: str = "in_progress", **fields: Any) -> dict[str, Any]:
    whole = {
        "object": "realtime.response",
        "id": "resp_1",
        "status": status,
        "status_details": None,
        "output": [],
        "conversation_id": "conv_1",
        "output_modalities": ["audio"],
        "max_output_tokens": "inf",
        "audio": {"output": {"format": {"type": "audio/pcmu"}, "voice": "marin"}},
        "usage": USAGE if status == "completed" else None,
        "metadata": None,
    }
    return whole | fields


def assistant_item(status: str, transcript: str | None = None) -> dict[str, Any]:
    content = [] if transcript is None else [{"type": "output_audio", "transcript": transcript}]
    return {"id": "item_a", "type": "message", "status": status, "role": "assistant", "content": content}


def user_item() -> dict[str, Any]:
    content = [{"type": "input_audio", "transcript": None}]
    return {"id": "item_u", "type": "message", "status": "completed", "role": "user", "content": content}


def function_item(status: str, arguments: str = '{"day":"Monday"}', call_id: str = "call_1") -> dict[str, Any]:
    return {
        "id": "item_f",
        "type": "function_call",
        "status": status,
        "name": "book",
        "call_id": call_id,
        "arguments": arguments,
    }


def of_item(kind: str, **fields: Any) -> dict[str, Any]:
    return event(kind, response_id="resp_1", item_id="item_a", output_index=0, content_index=0, **fields)


def output_item(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    return event(f"response.output_item.{kind}", response_id="resp_1", output_index=0, item=item)


def error(**fields: Any) -> dict[str, Any]:
    body = {"type": "invalid_request_error", "code": None, "message": "No.", "param": None, "event_id": None}
    return event("error", error=body | fields)


TRANSCRIPTION = "conversation.item.input_audio_transcription"

VAD_TURN: list[dict[str, Any]] = [
    event("session.created", session=SESSION),
    event("session.updated", session=SESSION),
    event("input_audio_buffer.speech_started", audio_start_ms=1460, item_id="item_u"),
    event("input_audio_buffer.speech_stopped", audio_end_ms=4256, item_id="item_u"),
    event("input_audio_buffer.committed", previous_item_id=None, item_id="item_u"),
    event("conversation.item.added", previous_item_id=None, item=user_item()),
    event("conversation.item.done", previous_item_id=None, item=user_item()),
    event("response.created", response=response(metadata={"request": "7", "purpose": "turn"})),
    event(f"{TRANSCRIPTION}.delta", item_id="item_u", content_index=0, delta="I need", obfuscation="xxxxxxxxxx"),
    output_item("added", assistant_item("in_progress")),
    event("conversation.item.added", previous_item_id="item_u", item=assistant_item("in_progress")),
    of_item("response.content_part.added", part={"type": "audio", "transcript": ""}),
    of_item("response.output_audio_transcript.delta", delta="Good", obfuscation="xxxxxxxxxxxx"),
    of_item("response.output_audio.delta", delta=base64.b64encode(SPEECH).decode()),
    of_item("response.output_audio_transcript.delta", delta=" morning", obfuscation="xxxxxxxx"),
    event(
        f"{TRANSCRIPTION}.completed",
        item_id="item_u",
        content_index=0,
        transcript="I need a visit.",
        usage={"type": "duration", "seconds": 3},
    ),
    of_item("response.output_audio.done"),
    of_item("response.output_audio_transcript.done", transcript="Good morning"),
    of_item("response.content_part.done", part={"type": "audio", "transcript": "Good morning"}),
    event("conversation.item.done", previous_item_id=None, item=assistant_item("completed", "Good morning")),
    output_item("done", assistant_item("completed", "Good morning")),
    event("response.done", response=response("completed", output=[assistant_item("completed", "Good morning")])),
    event("rate_limits.updated", rate_limits=[{"name": "tokens", "limit": 40000, "remaining": 39000, "reset_seconds": 1.5}]),
]
"""A turn found by the server's voice detector, in the order of the wire."""

FUNCTION_CALL: list[dict[str, Any]] = [
    event("response.created", response=response()),
    output_item("added", function_item("in_progress", "")),
    event("conversation.item.added", previous_item_id="item_u", item=function_item("in_progress", "")),
    event(
        "response.function_call_arguments.delta",
        response_id="resp_1",
        item_id="item_f",
        output_index=0,
        call_id="call_1",
        delta='{"day":',
    ),
    event(
        "response.function_call_arguments.done",
        response_id="resp_1",
        item_id="item_f",
        output_index=0,
        call_id="call_1",
        name="book",
        arguments='{"day":"Monday"}',
    ),
    event("conversation.item.done", previous_item_id=None, item=function_item("completed")),
    output_item("done", function_item("completed")),
    event("response.done", response=response("completed", output=[function_item("completed")])),
]
"""A reply that is one function call."""


def done_with(status: str, details: dict[str, Any]) -> dict[str, Any]:
    return event("response.done", response=response(status, status_details={"type": status, **details}))


CANCELLED_BY_US = done_with("cancelled", {"reason": "client_cancelled"})
CANCELLED_BY_SPEECH = done_with("cancelled", {"reason": "turn_detected"})
CUT_SHORT = done_with("incomplete", {"reason": "max_output_tokens"})
RATE_LIMITED = done_with(
    "failed", {"error": {"type": "requests", "code": "rate_limit_exceeded", "message": "Rate limit reached."}}
)
SERVER_FAULT = done_with("failed", {"error": {"type": "server_error", "code": None, "message": "The server had an error."}})

OTHERS: list[dict[str, Any]] = [
    CANCELLED_BY_US,
    CANCELLED_BY_SPEECH,
    CUT_SHORT,
    RATE_LIMITED,
    event("conversation.item.truncated", item_id="item_a", content_index=0, audio_end_ms=1500),
    event("conversation.item.deleted", item_id="item_a"),
    event("input_audio_buffer.cleared"),
    event("input_audio_buffer.timeout_triggered", audio_start_ms=672, audio_end_ms=5792, item_id="item_u"),
    event(
        f"{TRANSCRIPTION}.failed",
        item_id="item_u",
        content_index=0,
        error={"type": "server_error", "code": "DeploymentNotFound", "message": "No such deployment.", "param": None},
    ),
    error(code="response_cancel_not_active", message="Cancellation failed: no active response found", event_id="cancel-resp_1"),
]

ALL = [*VAD_TURN, *FUNCTION_CALL, *OTHERS]


def unknown_fields(value: object) -> Iterator[str]:
    """The fields that the protocol does not have: the package accepts them, the model's server does not."""
    if isinstance(value, BaseModel):
        yield from value.model_extra or ()
        for name in type(value).model_fields:
            yield from unknown_fields(getattr(value, name))
    elif isinstance(value, list):
        for one in value:
            yield from unknown_fields(one)
