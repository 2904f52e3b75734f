"""What a single response does about its voice and its limits; its order is in the charts, its races in test_races.py."""

from __future__ import annotations

from typing import Any

from tests.realtime_server.wire import ONE_SENTENCE, Wire, connect
from trio_voice.realtime_server.events import StartSpeech, StopSpeech
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.switches import Switches

MS = 8
"""Bytes of the voice's audio a millisecond: it comes in the format of the session."""


def by_hand(switches: Switches | None = None) -> tuple[Wire, str]:
    """A response whose voice is played by the test; its speech's id."""
    wire = connect(switches=switches)
    asked: list[StartSpeech] = []
    wire.voice = asked.append
    wire.send("response.create")
    (speech,) = asked
    return wire, speech.speech_id


def audio_times(wire: Wire) -> list[float]:
    return [round(at, 6) for at, event in wire.seen if event["type"] == "response.output_audio.delta"]


def done(wire: Wire) -> dict[str, Any]:
    (event,) = [event for event in wire.take() if event["type"] == "response.done"]
    response: dict[str, Any] = event["response"]
    return response


def test_the_response_waits_for_its_voice() -> None:
    wire, speech = by_hand()
    wire.wait(2.0)
    assert audio_times(wire) == []
    wire.perform(wire.session.voice_piece(speech, bytes(240 * MS), wire.now))
    assert audio_times(wire) == []
    wire.perform(wire.session.voice_piece(speech, bytes(60 * MS), wire.now))
    assert audio_times(wire) == [2.0]
    wire.wait(1.0)
    wire.perform(wire.session.voice_ended(speech, wire.now))
    assert audio_times(wire) == [2.0, 3.0]
    assert done(wire)["usage"]["output_token_details"]["audio_tokens"] == 8  # 300 ms of voice and 100 ms of silence


def test_a_voice_that_never_speaks_fails_the_response() -> None:
    wire, speech = by_hand(Switches(voice_timeout_s=5.0))
    wire.wait(5.429)
    assert "response.done" not in wire.types()
    wire.wait(0.002)
    response = done(wire)
    assert (response["status"], response["status_details"]["error"]["type"]) == ("failed", "server_error")
    assert wire.others == [StopSpeech(speech)]


def test_a_voice_that_fails_fails_the_response() -> None:
    wire, speech = by_hand()
    wire.wait(1.0)
    wire.perform(wire.session.voice_failed(speech, "no such language", wire.now))
    assert "no such language" in done(wire)["status_details"]["error"]["message"]
    wire.perform(wire.session.voice_failed(speech, "again", wire.now))
    assert wire.types() == []


def test_a_cancel_stops_the_voice_and_late_audio_is_dropped() -> None:
    wire, speech = by_hand()
    wire.wait(0.5).send("response.cancel")
    assert wire.others == [StopSpeech(speech)]
    wire.wait(1.0).take()
    wire.perform(wire.session.voice_piece(speech, bytes(500 * MS), wire.now))
    wire.perform(wire.session.voice_ended(speech, wire.now))
    assert wire.types() == []


def test_a_cancel_before_anything_was_said() -> None:
    wire, _ = by_hand(Switches(cancel_ms=0))
    wire.wait(0.1).send("response.cancel")
    response = done(wire)
    assert (response["status"], response["output"]) == ("cancelled", [])


def test_the_next_message_s_voice_begins_with_its_item() -> None:
    script = parse_script('[[rule]]\nparts = [{ say = "One." }, { say = "Two." }]', "test")
    wire = connect(script)
    asked: list[StartSpeech] = []
    wire.voice = asked.append
    wire.send("response.create").wait(1.0)
    assert [speech.text for speech in asked] == ["One."]
    wire.perform(wire.session.voice_ended(asked[0].speech_id, wire.now))
    wire.wait(1.0)
    assert [speech.text for speech in asked] == ["One.", "Two."]


def test_a_failure_in_mid_reply() -> None:
    script = parse_script(
        "[[rule]]\nsay = 'A long sentence that is not finished.'\n"
        "ends = { status = 'failed', code = 'model_not_found', message = 'Gone.', after_ms = 500 }",
        "test",
    )
    wire = connect(script)
    wire.send("response.create").wait(5.0)
    assert len(audio_times(wire)) == 2
    response = done(wire)
    assert response["status_details"]["error"] == {"type": "invalid_request_error", "code": "model_not_found", "message": "Gone."}
    assert response["output"][0]["status"] == "incomplete"


def test_a_filtered_reply() -> None:
    script = parse_script("[[rule]]\nsay = 'Some words.'\nends = { status = 'incomplete', reason = 'content_filter' }", "test")
    wire = connect(script)
    wire.send("response.create").wait(5.0)
    response = done(wire)
    assert response["status_details"] == {"type": "incomplete", "reason": "content_filter"}


def test_limits_hold_for_text_and_calls_too() -> None:
    for limit in (1, 3, 50):
        wire = connect()
        wire.send("response.create", response={"output_modalities": ["text"], "max_output_tokens": limit}).wait(9.0)
        response = done(wire)
        assert response["status"] == ("completed" if limit == 50 else "incomplete")
        assert response["usage"]["output_tokens"] == (limit if limit < 50 else 8)


def test_the_transcript_is_whole_whatever_the_voice_s_length() -> None:
    for voice_ms in (50, 1000, 20_000):
        wire, speech = by_hand()
        wire.perform(wire.session.voice_piece(speech, bytes(voice_ms * MS), wire.now))
        wire.perform(wire.session.voice_ended(speech, wire.now))
        wire.wait(9.0)
        pieces = "".join(e["delta"] for _, e in wire.seen if e["type"] == "response.output_audio_transcript.delta")
        assert pieces == ONE_SENTENCE.rule[0].say
        assert len(audio_times(wire)) == -(-(voice_ms + 100) // 250)
