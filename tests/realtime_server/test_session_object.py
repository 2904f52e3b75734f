from __future__ import annotations

from typing import Any

import pytest

from trio_voice.realtime_server.errors_on_the_wire import ClientError
from trio_voice.realtime_server.session_object import new_realtime_session, new_transcription_session, updated


def session(model: str = "gpt-realtime-2.1") -> dict[str, Any]:
    return new_realtime_session(model, "sess_1", 1_700_003_600)


def update(given: dict[str, Any], model: str = "gpt-realtime-2.1", **state: bool) -> dict[str, Any]:
    flags = {"assistant_audio_seen": False, "responding": False} | state
    return updated(session(model), {"type": "realtime", **given}, **flags)


def code_of(given: dict[str, Any], model: str = "gpt-realtime-2.1", **state: bool) -> tuple[str | None, str | None]:
    with pytest.raises(ClientError) as caught:
        update(given, model, **state)
    return caught.value.code, caught.value.param


def audio_input(**fields: Any) -> dict[str, Any]:
    return {"audio": {"input": fields}}


def audio_output(**fields: Any) -> dict[str, Any]:
    return {"audio": {"output": fields}}


def test_the_first_session_object_has_the_services_fields_in_its_order() -> None:
    first = session()
    assert list(first) == [
        "type",
        "object",
        "id",
        "model",
        "output_modalities",
        "instructions",
        "tools",
        "tool_choice",
        "max_output_tokens",
        "tracing",
        "truncation",
        "prompt",
        "expires_at",
        "audio",
        "include",
    ]
    assert first["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}


@pytest.mark.parametrize(
    ("model", "silence_ms", "voice"),
    [("gpt-realtime", 200, "alloy"), ("gpt-realtime-mini", 200, "alloy"), ("gpt-realtime-2.1-mini", 500, "marin")],
)
def test_defaults_depend_on_the_model(model: str, silence_ms: int, voice: str) -> None:
    audio = session(model)["audio"]
    assert audio["input"]["turn_detection"]["silence_duration_ms"] == silence_ms
    assert audio["output"]["voice"] == voice


def test_an_update_merges_deeply_and_leaves_the_old_object_alone() -> None:
    old = session()
    vad = {"type": "server_vad", "create_response": False}
    given = {"type": "realtime", "audio": {"input": {"turn_detection": vad, "format": {"type": "audio/pcmu"}}}}
    new = updated(old, given, assistant_audio_seen=False, responding=False)
    expected = session()
    expected["audio"]["input"]["turn_detection"]["create_response"] = False
    expected["audio"]["input"]["format"] = {"type": "audio/pcmu"}
    assert new == expected
    assert old == session()


def test_null_is_off_and_absent_is_unchanged() -> None:
    off = update(audio_input(turn_detection=None))
    assert off["audio"]["input"]["turn_detection"] is None
    on_again = updated(
        off,
        {"type": "realtime", **audio_input(turn_detection={"type": "server_vad"})},
        assistant_audio_seen=False,
        responding=False,
    )
    assert on_again == session()
    assert update({"instructions": "", "tools": []})["instructions"] == ""


def test_another_kind_of_turn_detection_begins_with_its_own_defaults() -> None:
    semantic = update(audio_input(turn_detection={"type": "semantic_vad", "interrupt_response": False}))
    assert semantic["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": False,
    }


def test_transcription_echoes_what_was_not_given_as_null() -> None:
    heard = update(audio_input(transcription={"model": "whisper-1"}))["audio"]["input"]
    assert heard["transcription"] == {"model": "whisper-1", "language": None, "prompt": None}


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ({"bogus_field": 1}, "unknown_parameter", "session.bogus_field"),
        ({"modalities": ["audio", "text"]}, "unknown_parameter", "session.modalities"),
        ({"temperature": 0.8}, "unknown_parameter", "session.temperature"),
        ({"voice": "alloy"}, "unknown_parameter", "session.voice"),
        ({"input_audio_format": "g711_ulaw"}, "unknown_parameter", "session.input_audio_format"),
        ({"id": "sess_2"}, "unknown_parameter", "session.id"),
        ({"model": "gpt-realtime"}, "invalid_value", "session.model"),
        ({"output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
        ({"max_output_tokens": 4097}, "integer_above_max_value", "session.max_output_tokens"),
        ({"max_output_tokens": "many"}, "invalid_value", "session.max_output_tokens"),
        ({"tool_choice": {"type": "function"}}, "missing_required_parameter", "session.tool_choice.name"),
        (
            {"truncation": {"type": "retention_ratio", "retention_ratio": 2}},
            "decimal_above_max_value",
            "session.truncation.retention_ratio",
        ),
        ({"tools": [{"type": "function", "name": "f", "strict": True}]}, "unknown_parameter", "session.tools[0].strict"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
        (
            {"tools": [{"type": "function", "name": "f", "description": "x" * 1025}]},
            "string_above_max_length",
            "session.tools[0].description",
        ),
        (audio_output(format={"type": "audio/pcm"}), "missing_required_parameter", "session.audio.output.format.rate"),
        (
            audio_output(format={"type": "audio/pcm", "rate": 16000}),
            "integer_below_min_value",
            "session.audio.output.format.rate",
        ),
        (audio_output(format={"type": "audio/opus"}), "invalid_value", "session.audio.output.format.type"),
        (audio_output(format={"type": "audio/pcmu", "rate": 8000}), "unknown_parameter", "session.audio.output.format.rate"),
        (audio_output(voice="nobody"), "invalid_value", "session.audio.output.voice"),
        (audio_output(speed=1.6), "decimal_above_max_value", "session.audio.output.speed"),
        (
            audio_input(turn_detection={"type": "server_vad", "threshold": 1.1}),
            "decimal_above_max_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            audio_input(turn_detection={"type": "server_vad", "idle_timeout_ms": 4999}),
            "integer_below_min_value",
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        (
            audio_input(turn_detection={"threshold": 0.4}),
            "missing_required_parameter",
            "session.audio.input.turn_detection.type",
        ),
        (
            audio_input(turn_detection={"type": "semantic_vad", "threshold": 0.5}),
            "unknown_parameter",
            "session.audio.input.turn_detection.threshold",
        ),
    ],
)
def test_what_cannot_be_obeyed_is_named(given: dict[str, Any], code: str, param: str) -> None:
    assert code_of(given) == (code, param)


def test_the_type_is_required_and_cannot_change() -> None:
    with pytest.raises(ClientError) as caught:
        updated(session(), {"instructions": "x"}, assistant_audio_seen=False, responding=False)
    assert (caught.value.code, caught.value.message) == (
        "missing_required_parameter",
        "Missing required parameter: 'session.type'.",
    )
    with pytest.raises(ClientError) as caught:
        updated(session(), {"type": "transcription"}, assistant_audio_seen=False, responding=False)
    assert caught.value.message == "Passing a transcription session update event to a realtime session is not allowed."


def test_some_fields_belong_to_reasoning_models() -> None:
    given = {"parallel_tool_calls": False, "reasoning": {"effort": "low"}}
    assert update(given, "gpt-realtime-2")["reasoning"] == {"effort": "low"}
    assert code_of({"reasoning": {"effort": "low"}}, "gpt-realtime") == ("unsupported_parameter", "session.reasoning")
    assert code_of({"parallel_tool_calls": True}, "gpt-realtime-1.5")[0] == "unsupported_parameter"


def test_voice_speed_and_tracing_are_locked_at_times() -> None:
    assert code_of(audio_output(voice="cedar"), assistant_audio_seen=True) == ("cannot_update_voice", None)
    assert update(audio_output(voice="marin"), assistant_audio_seen=True) == session()
    assert code_of(audio_output(speed=1.2), responding=True) == ("invalid_value", "session.audio.output.speed")
    assert update(audio_output(speed=1.2))["audio"]["output"]["speed"] == 1.2
    traced = update({"tracing": "auto"})
    with pytest.raises(ClientError):
        updated(traced, {"type": "realtime", "tracing": None}, assistant_audio_seen=False, responding=False)


def test_a_custom_voice_is_an_id() -> None:
    assert update(audio_output(voice={"id": "voice_1"}))["audio"]["output"]["voice"] == {"id": "voice_1"}
    assert code_of(audio_output(voice={"name": "x"})) == ("unknown_parameter", "session.audio.output.voice.name")
    assert code_of(audio_output(voice=7)) == ("invalid_type", "session.audio.output.voice")


def test_a_transcription_session_has_its_own_fields() -> None:
    first = new_transcription_session("sess_1", 0)

    def change(**given: Any) -> dict[str, Any]:
        return updated(first, {"type": "transcription", **given}, assistant_audio_seen=False, responding=False)

    heard = change(**audio_input(transcription={"model": "gpt-4o-transcribe"}))
    assert heard["audio"]["input"]["transcription"]["model"] == "gpt-4o-transcribe"
    with pytest.raises(ClientError, match=r"session\.instructions"):
        change(instructions="x")
    with pytest.raises(ClientError, match="turn_detection"):
        change(**audio_input(transcription={"model": "gpt-realtime-whisper"}))
    change(**audio_input(transcription={"model": "gpt-realtime-whisper"}, turn_detection=None))
