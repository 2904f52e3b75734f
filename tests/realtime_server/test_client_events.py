from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from trio_voice.realtime_server.client_events import EVENTS, ClientEvent, Unusable, decode

PIXEL = "data:image/png;base64," + base64.b64encode(b"png").decode()


def read(event: dict[str, Any]) -> ClientEvent | Unusable:
    return decode(json.dumps(event))


def mistake(message: str | bytes | dict[str, Any]) -> Unusable:
    found = read(message) if isinstance(message, dict) else decode(message)
    assert isinstance(found, Unusable)
    return found


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ("{", "invalid_json", "Invalid event: failed to parse JSON value. "),
        ("[1]", "invalid_json", "Invalid event: failed to parse JSON value. Expected an object, but got an array instead."),
        ('"\\ud800"', "invalid_json", "Invalid event: failed to parse JSON value. "),
        ("[" * 100_000, "invalid_json", "Invalid event: failed to parse JSON value. "),
        (b"{}", "invalid_event", "Expected a text WebSocket message; binary frames are not supported."),
        ("{}", "invalid_event", "The 'type' field is missing."),
    ],
)
def test_what_is_no_event(message: str | bytes, code: str, text: str) -> None:
    found = mistake(message)
    assert found.mistake.code == code
    assert found.mistake.message.startswith(text)


def test_an_unknown_type_is_told_what_is_supported() -> None:
    found = mistake({"type": "nope", "event_id": "e1"})
    assert (found.mistake.code, found.mistake.param, found.event_id) == ("invalid_value", "type", "e1")
    assert found.mistake.message.startswith("Invalid value: 'nope'. Supported values are: 'session.update', ")
    assert mistake({"type": "output_audio_buffer.clear"}).mistake.code == "invalid_value"  # WebRTC and SIP only
    assert mistake({"type": "session.close"}).mistake.message == "'session.close' is only accepted in a translation session."
    assert mistake({"type": 3}).mistake.code == "invalid_type"


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "session.update"}, "missing_required_parameter", "session"),
        ({"type": "session.update", "session": 1}, "invalid_type", "session"),
        ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
        ({"type": "input_audio_buffer.commit", "now": True}, "unknown_parameter", "now"),
        ({"type": "input_audio_buffer.clear", "event_id": "x" * 513}, "string_above_max_length", "event_id"),
        (
            {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0},
            "missing_required_parameter",
            "audio_end_ms",
        ),
        (
            {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": -1},
            "integer_below_min_value",
            "audio_end_ms",
        ),
        (
            {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 1.5},
            "invalid_type",
            "audio_end_ms",
        ),
        ({"type": "response.create", "response": {"conversation": "other"}}, "invalid_value", "response.conversation"),
        ({"type": "response.create", "response": {"voice": "alloy"}}, "unknown_parameter", "response.voice"),
        (
            {"type": "response.create", "response": {"input": [{"type": "item_reference"}]}},
            "missing_required_parameter",
            "response.input[0].id",
        ),
        (
            {"type": "response.create", "response": {"metadata": {"k": "v" * 513}}},
            "string_above_max_length",
            "response.metadata.k",
        ),
    ],
)
def test_shapes_of_events(event: dict[str, Any], code: str, param: str) -> None:
    found = mistake(event)
    assert (found.mistake.code, found.mistake.param) == (code, param)


def item(**fields: Any) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": fields}


def message(role: str, **part: Any) -> dict[str, Any]:
    return item(type="message", role=role, content=[part])


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        (item(), "missing_required_parameter", "item.type"),
        (item(type="letter"), "invalid_value", "item.type"),
        (item(type="message", role="user"), "missing_required_parameter", "item.content"),
        (item(type="message", role="robot", content=[]), "invalid_value", "item.role"),
        (item(type="message", role="user", content=[], id="x" * 33), "string_above_max_length", "item.id"),
        (item(type="message", role="user", content=[], id="a b"), "invalid_value", "item.id"),
        (message("user", type="output_text", text="x"), "invalid_value", "item.content[0].type"),
        (message("system", type="input_audio", audio=""), "invalid_value", "item.content[0].type"),
        (message("user", type="input_image", image_url="https://x"), "invalid_value", "item.content[0].image_url"),
        (message("assistant", type="output_audio", audio="AAAA"), "missing_required_parameter", "item.content[0].text"),
        (item(type="function_call_output", call_id="c"), "missing_required_parameter", "item.output"),
        (item(type="function_call_output", call_id="c", output={}), "invalid_type", "item.output"),
        (item(type="function_call", name="f"), "missing_required_parameter", "item.arguments"),
    ],
)
def test_shapes_of_items(event: dict[str, Any], code: str, param: str) -> None:
    found = mistake(event)
    assert (found.mistake.code, found.mistake.param) == (code, param)


@pytest.mark.parametrize(
    "event",
    [
        message("user", type="input_text", text="x"),
        message("user", type="input_audio", audio="AAAA", transcript="x"),
        message("user", type="input_image", image_url=PIXEL, detail="low"),
        message("system", type="input_text", text="x"),
        message("assistant", type="output_text", text="x"),
        item(type="function_call", name="f", call_id="c", arguments="{}"),
        item(type="function_call_output", call_id="c", output=""),
        item(type="mcp_approval_response", id="a", approval_request_id="b", approve=True),
        {"type": "response.create"},
        {"type": "response.create", "response": {"input": [{"type": "item_reference", "id": "x"}], "conversation": "none"}},
        {"type": "response.cancel", "response_id": "r", "event_id": "e"},
    ],
)
def test_what_is_right_is_read(event: dict[str, Any]) -> None:
    found = read(event)
    assert isinstance(found, ClientEvent)
    assert found.fields == event
    assert found.type in EVENTS


def test_the_quick_way_of_an_append_reads_the_same() -> None:
    event = {"type": "input_audio_buffer.append", "audio": "AAAA//+/"}
    compact = json.dumps(event, separators=(",", ":"))
    other_order = json.dumps({"audio": "AAAA//+/", "type": "input_audio_buffer.append"})
    found = [decode(text) for text in (json.dumps(event), compact, other_order)]
    assert [each.fields["audio"] for each in found if isinstance(each, ClientEvent)] == ["AAAA//+/"] * 3
    with_id = decode(json.dumps({**event, "event_id": "e"}))
    assert isinstance(with_id, ClientEvent)
    assert with_id.event_id == "e"
    assert mistake('{"type":"input_audio_buffer.append","audio":"AAAA","audio2":""}').mistake.code == "unknown_parameter"
