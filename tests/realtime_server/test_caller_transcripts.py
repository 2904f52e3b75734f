from __future__ import annotations

from typing import Any

import pytest

from tests.realtime_server.wire import caller_ulaw, connect
from trio_voice.realtime_server.script import parse_script

HEARD = parse_script(
    """
    [[rule]]
    say = "Yes."
    [[heard]]
    transcript = "I need an appointment"
    speakers = [["A", "I need"], ["B", "an appointment"]]
    """,
    "test",
)


def turn(transcription: dict[str, Any], include: list[str] | None = None) -> list[tuple[float, dict[str, Any]]]:
    """Transcription events of one turn, with their time since the commit."""
    wire = connect(HEARD, transcription=transcription, turn_detection=None)
    if include:
        wire.send("session.update", session={"type": "realtime", "include": include}).take()
    wire.hear(caller_ulaw()).send("input_audio_buffer.commit").wait(2.0)
    committed_at = next(at for at, event in wire.seen if event["type"] == "input_audio_buffer.committed")
    return [(at - committed_at, event) for at, event in wire.seen if "transcription" in event["type"]]


def names(events: list[tuple[float, dict[str, Any]]]) -> list[str]:
    return [event["type"].rpartition(".")[2] for _, event in events]


def test_whisper_gives_the_text_in_one_delta_and_bills_seconds() -> None:
    events = turn({"model": "whisper-1"})
    assert names(events) == ["delta", "completed"]
    assert 0.08 <= events[-1][0] <= 0.9
    completed = events[-1][1]
    assert completed["transcript"] == events[0][1]["delta"] == "I need an appointment"
    assert completed["usage"] == {"type": "duration", "seconds": -(-len(caller_ulaw()) // 8000)}


@pytest.mark.parametrize(("model", "begins"), [("gpt-4o-transcribe", 0.5), ("gpt-realtime-whisper", 0.0)])
def test_other_models_give_many_deltas(model: str, begins: float) -> None:
    events = turn({"model": model})
    assert names(events) == ["delta"] * 5 + ["completed"]
    assert "".join(event["delta"] for _, event in events[:-1]) == "I need an appointment"
    assert round(events[0][0] / events[-1][0], 6) == begins
    assert events[-1][1]["usage"]["type"] == ("duration" if "whisper" in model else "tokens")


def test_speakers_are_told_apart() -> None:
    events = [event for _, event in turn({"model": "gpt-4o-transcribe-diarize"}) if event["type"].endswith("segment")]
    assert [(event["speaker"], event["text"]) for event in events] == [("A", "I need"), ("B", "an appointment")]
    assert events[0]["start"] == 0.0
    assert events[0]["end"] == events[1]["start"]


def test_logprobs_and_languages_on_request() -> None:
    events = turn({"model": "gpt-transcribe"}, ["item.input_audio_transcription.logprobs"])
    completed = events[-1][1]
    assert completed["languages"] == []
    assert [each["token"] for each in completed["logprobs"]] == ["I", " need", " an", " appoin", "tment"]
    assert "logprobs" in events[0][1]
    assert "logprobs" not in turn({"model": "gpt-transcribe"})[-1][1]


def test_the_item_keeps_the_transcript() -> None:
    wire = connect(HEARD, transcription={"model": "whisper-1"}, turn_detection=None)
    wire.hear(caller_ulaw()).send("input_audio_buffer.commit").wait(2.0)
    wire.send("conversation.item.retrieve", item_id=wire.last_item_id)
    assert wire.one("conversation.item.retrieved")["item"]["content"][0]["transcript"] == "I need an appointment"
