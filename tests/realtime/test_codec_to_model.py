"""The commands on the wire. The `openai` package is the referee: its types are the protocol's reference in code."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import TypeAdapter, ValidationError

from tests.realtime.samples import unknown_fields
from trio_voice.core.commands import (
    AddText,
    AppendAudio,
    CancelResponse,
    ClearPlayback,
    Command,
    CreateResponse,
    DeleteItem,
    OpenSession,
    PlayAudio,
    Purpose,
    SendToolResult,
    TruncateItem,
)
from trio_voice.errors import LocalProtocolError
from trio_voice.realtime.codec import encode

referee: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)

GOLDEN: list[tuple[Command, str]] = [
    (AppendAudio(2, b"\xff\x7f\x00"), '{"type":"input_audio_buffer.append","audio":"/38A"}'),
    (
        CreateResponse(2, 7, Purpose.TURN),
        '{"type":"response.create","event_id":"create-7","response":{"metadata":{"request":"7","purpose":"turn"}}}',
    ),
    (
        CreateResponse(2, 8, Purpose.GREETING, "Greet \u201cthem\u201d."),
        (
            '{"type":"response.create","event_id":"create-8","response":'
            '{"metadata":{"request":"8","purpose":"greeting"},"instructions":"Greet \u201cthem\u201d."}}'
        ),
    ),
    (CancelResponse(2, "resp_1"), '{"type":"response.cancel","event_id":"cancel-resp_1","response_id":"resp_1"}'),
    (
        TruncateItem(2, "item_a", 1500),
        (
            '{"type":"conversation.item.truncate","event_id":"truncate-item_a","item_id":"item_a","audio_end_ms":1500,'
            '"content_index":0}'
        ),
    ),
    (DeleteItem(2, "item_b"), '{"type":"conversation.item.delete","event_id":"delete-item_b","item_id":"item_b"}'),
    (
        AddText(2, 3, "system", "The caller pressed 1."),
        (
            '{"type":"conversation.item.create","event_id":"text-3","item":'
            '{"type":"message","role":"system","content":[{"type":"input_text","text":"The caller pressed 1."}]}}'
        ),
    ),
    (
        AddText(2, 4, "user", "Hello"),
        (
            '{"type":"conversation.item.create","event_id":"text-4","item":'
            '{"type":"message","role":"user","content":[{"type":"input_text","text":"Hello"}]}}'
        ),
    ),
    (
        AddText(2, 5, "assistant", "Good morning"),
        (
            '{"type":"conversation.item.create","event_id":"text-5","item":'
            '{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Good morning"}]}}'
        ),
    ),
    (
        SendToolResult(2, "call_1", '{"ok":true}'),
        (
            '{"type":"conversation.item.create","event_id":"tool-call_1","item":'
            '{"type":"function_call_output","call_id":"call_1","output":"{\\"ok\\":true}"}}'
        ),
    ),
]


@pytest.mark.parametrize(("command", "text"), GOLDEN, ids=lambda value: type(value).__name__)
def test_the_exact_messages_to_the_model(command: Command, text: str) -> None:
    assert encode(command) == text


@pytest.mark.parametrize(("command", "text"), GOLDEN, ids=lambda value: type(value).__name__)
def test_the_protocol_accepts_them(command: Command, text: str) -> None:
    accepted = referee.validate_json(encode(command))
    assert accepted.to_dict(mode="json") == json.loads(text)
    assert list(unknown_fields(accepted)) == []


def test_the_referee_of_client_events_can_say_no() -> None:
    with pytest.raises(ValidationError):
        referee.validate_json('{"type":"conversation.item.truncate","item_id":"item_a","content_index":0}')
    more = '{"type":"response.create","response":{"metadata":{},"temperature":1}}'
    assert list(unknown_fields(referee.validate_json(more))) == ["temperature"]


@given(st.binary(max_size=400), st.text(max_size=60))
def test_whatever_is_said_arrives(audio: bytes, text: str) -> None:
    assert base64.b64decode(json.loads(encode(AppendAudio(1, audio)))["audio"]) == audio
    assert json.loads(encode(AddText(1, 1, "user", text)))["item"]["content"][0]["text"] == text
    assert json.loads(encode(SendToolResult(1, "call_1", text)))["item"]["output"] == text
    assert json.loads(encode(CreateResponse(1, 1, Purpose.TURN, text)))["response"]["instructions"] == text


def test_what_cannot_be_written_is_replaced() -> None:
    assert json.loads(encode(SendToolResult(1, "call_1", "file \udcff")))["item"]["output"] == "file ?"


@pytest.mark.parametrize("command", [ClearPlayback(), PlayAudio("r", "i", b""), OpenSession(1), Command()])
def test_a_command_that_is_not_for_the_model_is_our_mistake(command: Command) -> None:
    with pytest.raises(LocalProtocolError, match=type(command).__name__):
        encode(command)


def test_a_role_that_is_none_is_our_mistake() -> None:
    with pytest.raises(LocalProtocolError, match="'tool' is no role"):
        encode(AddText(1, 1, "tool", "x"))
