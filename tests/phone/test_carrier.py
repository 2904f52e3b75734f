"""The carrier as a dialogue: what the server sends at which time, and what comes back; equality to the sample."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest

from trio_voice.audio.g711 import SAMPLE_RATE_HZ, ulaw_silence
from trio_voice.errors import LocalProtocolError
from trio_voice.phone.carrier import BUFFER_LIMIT_S, Carrier, Happening, Identity

ANSWER = 1000.125
WHO = Identity("AC1", "CA2", "MZ3", {"tenant": "acme"})


def media(audio: bytes, stream: str = "MZ3") -> str:
    return json.dumps({"event": "media", "streamSid": stream, "media": {"payload": b64encode(audio).decode()}})


def mark(name: str) -> str:
    return json.dumps({"event": "mark", "streamSid": "MZ3", "mark": {"name": name}})


CLEAR = json.dumps({"event": "clear", "streamSid": "MZ3"})


def parsed(messages: list[str]) -> list[dict[str, Any]]:
    return [json.loads(message) for message in messages]


def names(messages: list[str]) -> list[str]:
    return [message["mark"]["name"] for message in parsed(messages)]


@pytest.fixture
def carrier() -> Carrier:
    carrier = Carrier(WHO)
    carrier.answer(ANSWER)
    return carrier


def test_a_stream_begins_with_connected_and_start() -> None:
    connected, start = parsed(Carrier(WHO).answer(ANSWER))
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": "MZ3",
        "start": {
            "accountSid": "AC1",
            "streamSid": "MZ3",
            "callSid": "CA2",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"tenant": "acme"},
        },
    }


def test_made_up_ids_have_the_shape_of_real_ones() -> None:
    who = Identity.made_up()
    sids = (who.account_sid, who.call_sid, who.stream_sid)
    assert [(sid[:2], len(sid)) for sid in sids] == [("AC", 34), ("CA", 34), ("MZ", 34)]
    assert Identity.made_up().call_sid != who.call_sid


def test_frames_are_numbered_per_message_and_per_chunk_and_dated_by_their_first_sample(carrier: Carrier) -> None:
    first, second = json.loads(carrier.speak(b"a" * 160)), json.loads(carrier.speak(b"b" * 160))
    assert first == {
        "event": "media",
        "sequenceNumber": "2",
        "streamSid": "MZ3",
        "media": {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": b64encode(b"a" * 160).decode()},
    }
    assert (second["sequenceNumber"], second["media"]["chunk"], second["media"]["timestamp"]) == ("3", "2", "20")
    assert carrier.said == b"a" * 160 + b"b" * 160


def test_a_key_and_the_end_have_their_messages(carrier: Carrier) -> None:
    assert json.loads(carrier.press("#", ANSWER + 0.5)) == {
        "event": "dtmf",
        "sequenceNumber": "2",
        "streamSid": "MZ3",
        "dtmf": {"track": "inbound_track", "digit": "#"},
    }
    assert parsed(carrier.stop(ANSWER + 1)) == [
        {"event": "stop", "sequenceNumber": "3", "streamSid": "MZ3", "stop": {"accountSid": "AC1", "callSid": "CA2"}}
    ]


def test_the_buffer_is_played_in_real_time_sample_by_sample(carrier: Carrier) -> None:
    carrier.receive(media(b"x" * 400), ANSWER + 0.010)
    carrier.advance(ANSWER + 0.020)
    assert carrier.heard == ulaw_silence(10) + b"x" * 80
    carrier.receive(media(b"y" * 8), ANSWER + 0.030)  # in time: it follows without a gap
    carrier.advance(ANSWER + 0.080)
    assert carrier.heard == ulaw_silence(10) + b"x" * 400 + b"y" * 8 + ulaw_silence(19)
    assert len(carrier.heard) == 640


def test_time_in_any_steps_plays_the_same(carrier: Carrier) -> None:
    other = Carrier(WHO)
    other.answer(ANSWER)
    for one in (carrier, other):
        one.receive(media(bytes(range(200)) * 5), ANSWER)
    for step in range(1, 301):
        carrier.advance(ANSWER + step / 1000)
    other.advance(ANSWER + 0.3)
    assert carrier.heard == other.heard
    assert len(other.heard) == 2400


def test_a_mark_is_echoed_when_the_audio_before_it_has_been_played(carrier: Carrier) -> None:
    assert carrier.receive(media(b"x" * 160), ANSWER + 1) == []
    assert carrier.receive(mark("m1"), ANSWER + 1) == []
    assert carrier.receive(media(b"x" * 161), ANSWER + 1.005) == []
    assert carrier.receive(mark("m2"), ANSWER + 1.005) == []
    assert carrier.next_deadline() == ANSWER + 1.020
    assert carrier.advance(ANSWER + 1.0198) == []
    assert parsed(carrier.advance(ANSWER + 1.020)) == [
        {"event": "mark", "sequenceNumber": "2", "streamSid": "MZ3", "mark": {"name": "m1"}}
    ]
    due = carrier.next_deadline()
    assert due == ANSWER + 1 + 321 / SAMPLE_RATE_HZ
    assert carrier.advance(due - 0.0001) == []
    assert names(carrier.advance(due)) == ["m2"]
    assert carrier.next_deadline() is None
    assert [(event.at_s, event.detail) for event in carrier.events if event.what is Happening.MARK_PLAYED] == [
        (1.020, "m1"),
        (1.040125, "m2"),
    ]


def test_a_mark_in_an_empty_buffer_is_echoed_at_once(carrier: Carrier) -> None:
    assert names(carrier.receive(mark("m1"), ANSWER + 0.5)) == ["m1"]
    carrier.receive(media(b"x" * 8), ANSWER + 1)
    assert names(carrier.receive(mark("m2"), ANSWER + 1.001)) == ["m2"]


def test_a_late_clock_still_dates_marks_to_their_sample(carrier: Carrier) -> None:
    carrier.receive(media(b"x" * 80), ANSWER)
    carrier.receive(mark("m1"), ANSWER)
    assert names(carrier.advance(ANSWER + 3)) == ["m1"]
    assert carrier.events[-1].at_s == 0.010


def test_clear_drops_the_buffer_and_echoes_every_pending_mark_at_once(carrier: Carrier) -> None:
    carrier.receive(media(b"x" * 800), ANSWER)
    carrier.receive(mark("m1"), ANSWER)
    carrier.receive(media(b"y" * 800), ANSWER)
    carrier.receive(mark("m2"), ANSWER)
    assert names(carrier.receive(CLEAR, ANSWER + 0.015)) == ["m1", "m2"]
    carrier.receive(media(b"z" * 8), ANSWER + 0.020)
    carrier.advance(ANSWER + 0.025)
    assert carrier.heard == b"x" * 120 + ulaw_silence(5) + b"z" * 8 + ulaw_silence(4)
    cleared = next(event for event in carrier.events if event.what is Happening.CLEARED)
    assert (cleared.at_s, cleared.detail) == (0.015, "185 ms and 2 marks flushed")
    assert [event.what for event in carrier.events[-2:]] == [Happening.MARK_FLUSHED] * 2
    assert carrier.buffered_ms == 0


def test_a_mark_that_is_due_when_clear_comes_was_played(carrier: Carrier) -> None:
    carrier.receive(media(b"x" * 80), ANSWER)
    carrier.receive(mark("m1"), ANSWER)
    assert names(carrier.receive(CLEAR, ANSWER + 0.010)) == ["m1"]
    assert [event.what for event in carrier.events[-2:]] == [Happening.MARK_PLAYED, Happening.CLEARED]


def test_clear_of_nothing_is_no_fault(carrier: Carrier) -> None:
    assert carrier.receive(CLEAR, ANSWER + 1) == []
    assert carrier.warnings == []


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        "[]",
        '"text"',
        '{"event":"media","streamSid":"MZ3"}',
        '{"event":"media","media":{"payload":"//8="}}',
        '{"event":"media","streamSid":"MZ3","media":{}}',
        '{"event":"media","streamSid":"MZ3","media":{"payload":"%%%"}}',
        '{"event":"media","streamSid":"MZ3","media":{"payload":"//8"}}',
        '{"event":"media","streamSid":"MZ3","media":{"payload":"//8=","track":"outbound"}}',
        '{"event":"media","streamSid":"MZ3","media":{"payload":"//8="},"sequenceNumber":"1"}',
        '{"event":"media","streamSid":"MZother","media":{"payload":"//8="}}',
        '{"event":"mark","streamSid":"MZ3","mark":{"name":1}}',
        '{"event":"mark","streamSid":"MZ3","mark":{"name":"m","payload":""}}',
        '{"event":"clear","streamSid":"MZ3","clear":{}}',
        '{"event":"clear"}',
        '{"event":"dtmf","streamSid":"MZ3","dtmf":{"digit":"1"}}',
        '{"streamSid":"MZ3"}',
    ],
)
def test_whatever_the_schema_does_not_allow_is_a_warning_and_nothing_else(carrier: Carrier, message: str) -> None:
    assert carrier.receive(message, ANSWER + 0.25) == []
    assert carrier.receive(message, ANSWER + 0.5) == []
    assert [(warning.at_s, warning.code) for warning in carrier.warnings] == [(0.25, 31951), (0.5, 31951)]
    assert carrier.buffered_ms == 0


def test_a_binary_message_is_a_warning_of_its_own(carrier: Carrier) -> None:
    assert carrier.receive(b"\xff" * 160, ANSWER) == []
    assert [warning.code for warning in carrier.warnings] == [31950]


def test_the_buffer_holds_ten_minutes_and_discards_the_rest(carrier: Carrier) -> None:
    minute = media(b"x" * 60 * SAMPLE_RATE_HZ)
    for _ in range(10):
        carrier.receive(minute, ANSWER)
    assert carrier.warnings == []
    carrier.receive(media(b"y" * 16), ANSWER + 0.001)  # one ms was played, so that one fits
    assert [(warning.code, warning.text) for warning in carrier.warnings] == [(31931, "play buffer full: 1 ms discarded")]
    assert carrier.buffered_ms == BUFFER_LIMIT_S * 1000
    carrier.receive(mark("end"), ANSWER + 0.001)
    assert names(carrier.advance(ANSWER + 600.001)) == ["end"]
    assert carrier.heard[-9:] == b"x" + b"y" * 8


def test_nothing_is_played_or_sent_after_the_stop(carrier: Carrier) -> None:
    carrier.receive(media(b"x" * 160), ANSWER)
    carrier.receive(mark("m1"), ANSWER)
    carrier.stop(ANSWER + 0.010)
    assert carrier.advance(ANSWER + 1) == []
    assert carrier.receive(mark("m2"), ANSWER + 1) == []
    assert carrier.heard == b"x" * 80
    assert not carrier.streaming
    assert carrier.next_deadline() is None


def test_marks_that_are_due_at_the_stop_are_echoed_before_it(carrier: Carrier) -> None:
    carrier.receive(media(b"x" * 160), ANSWER)
    carrier.receive(mark("m1"), ANSWER)
    assert [message["event"] for message in parsed(carrier.stop(ANSWER + 0.020))] == ["mark", "stop"]


def test_a_carrier_out_of_its_state_is_a_bug_of_ours(carrier: Carrier) -> None:
    with pytest.raises(LocalProtocolError):
        Carrier(WHO).speak(b"")
    with pytest.raises(LocalProtocolError):
        carrier.answer(ANSWER)
    carrier.stop(ANSWER)
    for late in (lambda: carrier.speak(b""), lambda: carrier.press("1", ANSWER), lambda: carrier.stop(ANSWER)):
        with pytest.raises(LocalProtocolError):
            late()


def test_the_payload_comes_back_as_it_was(carrier: Carrier) -> None:
    assert b64decode(json.loads(carrier.speak(bytes(range(160))))["media"]["payload"]) == bytes(range(160))
