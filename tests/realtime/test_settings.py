from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from openai.types.realtime import RealtimeClientEvent
from pydantic import TypeAdapter

from tests.realtime.samples import SESSION, unknown_fields
from trio_voice.realtime.settings import (
    AudioFormat,
    FunctionTool,
    NoiseReduction,
    SessionSettings,
    echo_differences,
    session_update,
)

BOOK = FunctionTool("book", "Books a visit.", {"type": "object", "properties": {"day": {"type": "string"}}})
SETTINGS = SessionSettings(instructions="Be brief.", model="gpt-realtime-2.1", voice="marin")
FULL = SessionSettings(
    instructions="Be brief.",
    model="gpt-realtime-2.1",
    voice="cedar",
    input_format=AudioFormat.PCMA,
    output_format=AudioFormat.PCM,
    vad_threshold=0.7,
    vad_prefix_ms=200,
    vad_silence_ms=500,
    create_response=True,
    interrupt_response=True,
    transcription_model="gpt-transcribe",
    transcription_language="de",
    noise_reduction=NoiseReduction.FAR_FIELD,
    speed=1.2,
    tools=(BOOK,),
)
referee: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)


def asked_session(settings: SessionSettings) -> dict[str, Any]:
    session = json.loads(session_update(settings, "settings-1"))["session"]
    assert isinstance(session, dict)
    return session


def with_field(path: str, value: object) -> dict[str, Any]:
    session = copy.deepcopy(SESSION)
    *parents, last = path.split(".")
    inner: Any = session
    for key in parents:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return session


def test_the_exact_update_of_a_telephone_session() -> None:
    assert session_update(SETTINGS, "settings-1") == (
        '{"type":"session.update","event_id":"settings-1","session":{"type":"realtime","output_modalities":["audio"],'
        '"instructions":"Be brief.","audio":{"input":{"format":{"type":"audio/pcmu"},"transcription":null,'
        '"noise_reduction":null,"turn_detection":{"type":"server_vad","threshold":0.5,"prefix_padding_ms":300,'
        '"silence_duration_ms":350,"create_response":false,"interrupt_response":false}},'
        '"output":{"format":{"type":"audio/pcmu"},"voice":"marin"}},"tools":[]}}'
    )


@pytest.mark.parametrize("settings", [SETTINGS, FULL], ids=["telephone", "everything"])
def test_the_protocol_accepts_the_update_and_knows_every_field_of_it(settings: SessionSettings) -> None:
    accepted = referee.validate_json(session_update(settings, "settings-1"))
    assert accepted.to_dict(mode="json", exclude_unset=True) == json.loads(session_update(settings, "settings-1"))
    assert type(accepted.session).__name__ == "RealtimeSessionCreateRequest"
    assert list(unknown_fields(accepted)) == []


def test_every_setting_is_asked_for() -> None:
    assert asked_session(FULL) == {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": "Be brief.",
        "audio": {
            "input": {
                "format": {"type": "audio/pcma"},
                "transcription": {"model": "gpt-transcribe", "language": "de"},
                "noise_reduction": {"type": "far_field"},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.7,
                    "prefix_padding_ms": 200,
                    "silence_duration_ms": 500,
                    "create_response": True,
                    "interrupt_response": True,
                },
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "cedar", "speed": 1.2},
        },
        "tools": [
            {
                "type": "function",
                "name": "book",
                "description": "Books a visit.",
                "parameters": {"type": "object", "properties": {"day": {"type": "string"}}},
            }
        ],
    }


def test_what_is_left_to_the_peer_is_not_sent() -> None:
    output = asked_session(SessionSettings(instructions="", model="m"))["audio"]["output"]
    assert output == {"format": {"type": "audio/pcmu"}}


@pytest.mark.parametrize(
    "wrong", [{"vad_threshold": 1.1}, {"vad_threshold": -0.1}, {"vad_prefix_ms": -1}, {"vad_silence_ms": -1}, {"speed": 2.0}]
)
def test_settings_have_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SessionSettings(instructions="", model="m", **wrong)


# --- the echo ----------------------------------------------------------------------------------------------------------


def test_a_session_that_is_as_asked_has_no_differences() -> None:
    assert echo_differences(SETTINGS, SESSION) == []
    assert echo_differences(FULL, asked_session(FULL)) == []


@pytest.mark.parametrize(
    ("path", "applied", "sentence"),
    [
        (
            "audio.input.format",
            {"type": "audio/pcm", "rate": 24000},
            "session.audio.input.format.type: asked for 'audio/pcmu', the peer applied 'audio/pcm'",
        ),
        (
            "audio.output.format.type",
            "audio/pcma",
            "session.audio.output.format.type: asked for 'audio/pcmu', the peer applied 'audio/pcma'",
        ),
        ("audio.output.voice", "alloy", "session.audio.output.voice: asked for 'marin', the peer applied 'alloy'"),
        (
            "audio.input.turn_detection.create_response",
            True,
            "session.audio.input.turn_detection.create_response: asked for False, the peer applied True",
        ),
        (
            "audio.input.turn_detection.interrupt_response",
            ...,
            "session.audio.input.turn_detection.interrupt_response: asked for False, the peer applied None",
        ),
        (
            "audio.input.turn_detection.silence_duration_ms",
            500,
            "session.audio.input.turn_detection.silence_duration_ms: asked for 350, the peer applied 500",
        ),
        (
            "audio.input.transcription",
            {"model": "whisper-1"},
            "session.audio.input.transcription: asked for None, the peer applied {'model': 'whisper-1'}",
        ),
        (
            "instructions",
            "You are a helpful assistant.",
            "session.instructions: asked for 'Be brief.', the peer applied 'You are a",
        ),
        ("tools", [{"type": "function", "name": "spy"}], "session.tools: asked for [], the peer applied ['spy']"),
    ],
)
def test_a_difference_says_what_was_asked_and_what_was_applied(path: str, applied: object, sentence: str) -> None:
    (said,) = echo_differences(SETTINGS, with_field(path, applied))
    assert said.startswith(sentence)


def test_turn_detection_that_is_off_differs_in_each_of_its_settings() -> None:
    differences = echo_differences(SETTINGS, with_field("audio.input.turn_detection", None))
    assert differences[0] == "session.audio.input.turn_detection.type: asked for 'server_vad', the peer applied None"
    assert len(differences) == 6


def test_a_format_of_another_shape_is_told_as_it_is() -> None:
    (said,) = echo_differences(SETTINGS, with_field("audio.output.format", "g711_ulaw"))
    assert said == "session.audio.output.format.type: asked for 'audio/pcmu', the peer applied 'g711_ulaw'"


@pytest.mark.parametrize("session", [{}, {"audio": None}, {"audio": "no"}])
def test_what_the_peer_does_not_report_differs_under_its_whole_path(session: dict[str, Any]) -> None:
    paths = [said.split(":")[0] for said in echo_differences(SETTINGS, session)]
    assert {
        "session.type",
        "session.instructions",
        "session.audio.input.format.type",
        "session.audio.input.turn_detection.create_response",
        "session.audio.input.turn_detection.interrupt_response",
        "session.audio.output.format.type",
        "session.audio.output.voice",
    } <= set(paths)


def test_numbers_may_be_rounded() -> None:
    threshold = "audio.input.turn_detection.threshold"
    settings = SessionSettings(instructions="Be brief.", model="m", voice="marin", vad_threshold=0.8)
    assert echo_differences(settings, with_field(threshold, 0.800000011920929)) == []
    assert len(echo_differences(settings, with_field(threshold, 0.81))) == 1


def test_long_texts_are_shortened() -> None:
    settings = SessionSettings(instructions="x" * 5000, model="m", voice="marin")
    (said,) = echo_differences(settings, SESSION)
    assert "(5002 characters)" in said
    assert len(said) < 200


def test_a_tool_may_come_back_with_more_than_was_asked() -> None:
    settings = SessionSettings(instructions="Be brief.", model="m", voice="marin", tools=(BOOK,))
    assert echo_differences(settings, with_field("tools", [{"type": "function", "name": "book", "strict": False}])) == []
    assert len(echo_differences(settings, with_field("tools", []))) == 1
    assert len(echo_differences(settings, with_field("tools", "none"))) == 1
