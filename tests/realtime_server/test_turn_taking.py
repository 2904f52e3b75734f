from __future__ import annotations

import base64
from typing import Any

from tests.realtime_server.wire import Wire, caller_ulaw, connect, opened
from trio_voice.audio import g711
from trio_voice.audio.resample import Upsampler8To24
from trio_voice.realtime_server.hearing import HearingSettings
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.turn_taking import hearing_settings

TELLS_LENGTH = parse_script('[[rule]]\nsay = "{turn}: {spoken}"', "test")
VAD = {"type": "server_vad", "create_response": False}


def speech_events(wire: Wire) -> list[tuple[str, int]]:
    events = [event for event in wire.take() if event["type"].startswith("input_audio_buffer.speech_")]
    return [
        (event["type"].rpartition("_")[2], int(event["audio_start_ms" if "audio_start_ms" in event else "audio_end_ms"]))
        for event in events
    ]


def test_the_same_turn_in_all_three_formats() -> None:
    ulaw = g711.ulaw_silence(1000) + caller_ulaw() + g711.ulaw_silence(1000)
    pcm8 = g711.ulaw_to_pcm16(ulaw)
    found = []
    for format_, audio in (
        ({"type": "audio/pcmu"}, ulaw),
        ({"type": "audio/pcma"}, g711.pcm16_to_alaw(pcm8)),
        ({"type": "audio/pcm", "rate": 24000}, Upsampler8To24().convert(pcm8)),
    ):
        wire = connect(pcmu=False, format=format_, turn_detection=VAD)
        for start in range(0, len(audio), 997):
            wire.append(audio[start : start + 997])
        found.append(speech_events(wire))
    assert found[0] == found[1]
    assert [name for name, _ in found[2]] == ["started", "stopped"]
    for (_, one), (_, other) in zip(found[0], found[2], strict=True):
        assert abs(one - other) <= 32


def test_silence_duration_and_prefix_padding_are_obeyed() -> None:
    audio = g711.ulaw_silence(1000) + caller_ulaw() + g711.ulaw_silence(2000)
    ends = {}
    for silence_ms in (200, 800):
        wire = connect(turn_detection={**VAD, "silence_duration_ms": silence_ms, "prefix_padding_ms": 0})
        wire.append(audio)
        ends[silence_ms] = speech_events(wire)
    assert ends[200][0] == ends[800][0]
    assert ends[200][0][1] % 32 == 0
    assert 568 <= ends[800][-1][1] - ends[200][-1][1] <= 632


def test_semantic_vad_waits_longer_the_less_eager_it_is() -> None:
    waits = [
        hearing_settings({"type": "semantic_vad", "eagerness": each}).silence_duration_ms
        for each in ("high", "auto", "medium", "low")
    ]
    assert waits == sorted(waits)
    assert waits[1] == waits[2]
    vad: dict[str, Any] = {"type": "server_vad", "threshold": 1, "prefix_padding_ms": 10, "silence_duration_ms": 20}
    assert hearing_settings(vad) == HearingSettings(1.0, 10, 20)


def test_the_model_hears_how_long_the_caller_spoke() -> None:
    wire = connect(TELLS_LENGTH).silence(1.0).hear(caller_ulaw()).silence(3.0)
    (transcript,) = [event["transcript"] for event in wire.take() if event["type"].endswith("audio_transcript.done")]
    assert len(caller_ulaw()) // 8 > 2400
    assert transcript == "1: two and a half seconds"


def test_a_committed_turn_holds_its_audio() -> None:
    wire = connect(turn_detection=VAD).silence(1.0).hear(caller_ulaw()).silence(1.0)
    events = {event["type"]: event for event in wire.take()}
    item_id = events["input_audio_buffer.committed"]["item_id"]
    wire.send("conversation.item.retrieve", item_id=item_id)
    (part,) = wire.one("conversation.item.retrieved")["item"]["content"]
    start_ms = events["input_audio_buffer.speech_started"]["audio_start_ms"]
    end_ms = events["input_audio_buffer.speech_stopped"]["audio_end_ms"]
    audio = base64.b64decode(part["audio"])
    assert len(audio) // 8 == end_ms - start_ms
    assert caller_ulaw()[800:1600] in audio
    assert part["format"] == "g711_ulaw"


def test_a_manual_commit_cuts_the_turn_that_runs() -> None:
    wire = connect(turn_detection=VAD).silence(1.0).hear(caller_ulaw()[:8000])
    started = wire.one("input_audio_buffer.speech_started")
    wire.send("input_audio_buffer.commit")
    assert wire.take()[0]["item_id"] == started["item_id"]
    wire.hear(caller_ulaw()[8000:]).silence(1.0)
    again = wire.take()
    assert [event["type"] for event in again][:2] == ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"]
    assert again[0]["item_id"] != started["item_id"]


def test_a_manual_commit_in_silence_finds_the_padding_at_most() -> None:
    wire = connect(turn_detection={**VAD, "prefix_padding_ms": 50}).silence(2.0)
    wire.send("input_audio_buffer.commit")
    assert "only has 50.00ms" in wire.error()["message"]


def test_turning_detection_off_and_on_again_keeps_the_clock() -> None:
    wire = connect(turn_detection=None).silence(5.0)
    wire.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": VAD}}})
    wire.take()
    wire.hear(caller_ulaw()).silence(1.0)
    (_, start_ms), (_, end_ms) = speech_events(wire)
    assert end_ms % 32 == 0  # the frames are those of the session's clock
    assert 5000 - 300 <= start_ms < 5300
    assert end_ms > 7000


def test_a_change_of_format_in_mid_session() -> None:
    wire = connect(turn_detection=VAD).silence(1.0)
    wire.send("session.update", session={"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcma"}}}})
    wire.take()
    wire.append(g711.pcm16_to_alaw(g711.ulaw_to_pcm16(caller_ulaw() + g711.ulaw_silence(1000))))
    (_, start_ms), _ = speech_events(wire)
    assert 992 - 300 <= start_ms < 1300


def test_odd_and_empty_appends_are_harmless() -> None:
    wire = opened()
    wire.take()
    for audio in (b"", b"\0", b"\0" * 3, b"\0" * 4801):
        wire.append(audio)
    assert wire.types() == []
    wire.send_raw('{"type":"input_audio_buffer.append","audio":"!"}')
    error = wire.error()
    assert (error["code"], error["param"]) == ("invalid_value", "audio")
