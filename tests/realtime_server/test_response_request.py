from __future__ import annotations

from typing import Any

import pytest

from trio_voice.realtime_server.audio_formats import PCM, PCMU
from trio_voice.realtime_server.errors_on_the_wire import ClientError
from trio_voice.realtime_server.response_request import ResponseRequest, resolve
from trio_voice.realtime_server.session_object import VOICES, new_realtime_session


def request(response: dict[str, Any] | None = None, *, seen: bool = False, model: str = "gpt-realtime") -> ResponseRequest:
    return resolve(new_realtime_session(model, "sess_1", 0), response, assistant_audio_seen=seen)


def test_the_sessions_settings_hold_unless_the_response_has_its_own() -> None:
    plain = request()
    assert (plain.format, plain.voice_name, plain.in_conversation, plain.speaks) == (PCM, "alloy", True, True)
    assert (plain.instructions, plain.metadata, plain.input) == (None, None, None)
    own = request(
        {
            "output_modalities": ["text"],
            "instructions": "brief",
            "conversation": "none",
            "metadata": {"k": "v"},
            "max_output_tokens": 7,
            "input": [],
            "tool_choice": "none",
            "audio": {"output": {"format": {"type": "audio/pcmu"}}},
        }
    )
    assert (own.format, own.in_conversation, own.speaks, own.max_output_tokens) == (PCMU, False, False, 7)
    assert (own.instructions, own.metadata, own.input, own.tool_choice) == ("brief", {"k": "v"}, [], "none")


def test_the_voice_lock_holds_for_responses_too() -> None:
    other = {"audio": {"output": {"voice": "cedar"}}}
    assert request(other).voice == "cedar"
    with pytest.raises(ClientError, match="Cannot update a conversation's voice"):
        request(other, seen=True)
    assert request({**other, "conversation": "none"}, seen=True).voice == "cedar"


def test_reasoning_belongs_to_reasoning_models() -> None:
    with pytest.raises(ClientError) as caught:
        request({"reasoning": {"effort": "low"}})
    assert caught.value.param == "response.reasoning"
    assert request({"reasoning": {"effort": "low"}}, model="gpt-realtime-2").names_phases


def test_a_custom_voice_sounds_like_one_of_the_ten_always_the_same() -> None:
    names = {request({"audio": {"output": {"voice": {"id": "voice_1"}}}}).voice_name for _ in range(3)}
    assert len(names) == 1
    assert names < set(VOICES)
