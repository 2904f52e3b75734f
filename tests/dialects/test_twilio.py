from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dialects.twilio_samples import (
    CONNECTED,
    DTMF,
    MARK,
    MEDIA,
    OTHER_SID,
    SAMPLES,
    SID,
    START,
    STOP,
    VOICE,
    changed,
    feed,
    started,
)
from trio_voice.dialects.base import (
    MALFORMED,
    DigitReceived,
    MarkEchoed,
    Oddity,
    OddityKind,
    StreamAudio,
    StreamEvent,
    StreamFault,
    StreamStarted,
    StreamStopped,
)
from trio_voice.dialects.twilio import TwilioDialect


def only_oddity(events: list[StreamEvent]) -> Oddity:
    (event,) = events
    assert isinstance(event, Oddity)
    return event


def test_a_whole_stream_in_the_documented_order() -> None:
    assert feed(TwilioDialect(), CONNECTED, START, MEDIA, DTMF, MARK, STOP) == [
        StreamStarted(
            stream_id=SID,
            call_sid="CA22",
            account_sid="AC11",
            parameters={"tenant": "acme", "From": "+15551230001", "to": "+15551230002"},
            caller="+15551230001",
            called="+15551230002",
        ),
        StreamAudio(VOICE, timestamp_ms=20, chunk=2),
        DigitReceived("1"),
        MarkEchoed("1:12"),
        StreamStopped("the carrier sent stop"),
    ]


# --- start -------------------------------------------------------------------------------------------------------------


def test_connected_is_not_required() -> None:
    assert isinstance(feed(TwilioDialect(), START)[0], StreamStarted)


@pytest.mark.parametrize(
    "path", ["start.customParameters", "start.mediaFormat", "start.accountSid", "start.tracks", "sequenceNumber"]
)
def test_what_may_be_missing_from_start(path: str) -> None:
    (event,) = feed(TwilioDialect(), changed(START, path, ...))
    assert isinstance(event, StreamStarted)
    assert (event.stream_id, event.call_sid) == (SID, "CA22")


def test_without_custom_parameters_nobody_is_known() -> None:
    (event,) = feed(TwilioDialect(), changed(START, "start.customParameters", ...))
    assert isinstance(event, StreamStarted)
    assert (event.parameters, event.caller, event.called) == ({}, None, None)


def test_an_empty_number_is_no_number() -> None:
    (event,) = feed(TwilioDialect(), changed(START, "start.customParameters", {"From": ""}))
    assert isinstance(event, StreamStarted)
    assert (event.parameters, event.caller) == ({"From": ""}, None)


def test_parameters_that_are_no_strings_become_text() -> None:
    given = {"count": 3, "ratio": 0.5, "vip": True, "none": None, "digits": "0049"}
    (event,) = feed(TwilioDialect(), changed(START, "start.customParameters", given))
    assert isinstance(event, StreamStarted)
    assert event.parameters == {"count": "3", "ratio": "0.5", "vip": "true", "digits": "0049"}


@pytest.mark.parametrize("path", ["streamSid", "start.streamSid"])
def test_either_stream_sid_will_do(path: str) -> None:
    (event,) = feed(TwilioDialect(), changed(START, path, ...))
    assert isinstance(event, StreamStarted)
    assert event.stream_id == SID


@pytest.mark.parametrize(
    "bad",
    [
        changed(START, "start.callSid", ...),
        changed(START, "start.callSid", ""),
        changed(START, "start", ...),
        changed(START, "start", []),
        changed(START, "streamSid", "M" * 257),
        changed(START, "start.customParameters", {"nested": {}}),
        changed(changed(START, "streamSid", ...), "start.streamSid", ""),
    ],
)
def test_a_start_without_its_ids_starts_nothing(bad: dict[str, Any]) -> None:
    dialect = TwilioDialect()
    assert only_oddity(feed(dialect, bad)).kind is OddityKind.WRONG_SHAPE
    assert isinstance(feed(dialect, START)[0], StreamStarted), "a later, right one still does"


@pytest.mark.parametrize(
    ("field", "value"), [("encoding", "audio/x-alaw"), ("sampleRate", 16000), ("sampleRate", "16000"), ("channels", 2)]
)
def test_audio_that_would_be_noise_is_a_fault(field: str, value: object) -> None:
    (fault,) = feed(TwilioDialect(), changed(START, f"start.mediaFormat.{field}", value))
    assert isinstance(fault, StreamFault)
    assert str(value) in fault.text
    assert "audio/x-mulaw at 8000 Hz with 1 channel(s)" in fault.text


def test_the_media_format_may_come_as_strings() -> None:
    text = {"encoding": "audio/x-mulaw", "sampleRate": "8000", "channels": "1"}
    assert isinstance(feed(TwilioDialect(), changed(START, "start.mediaFormat", text))[0], StreamStarted)


def test_the_same_start_again_is_odd_and_changes_nothing() -> None:
    dialect = started()
    assert only_oddity(feed(dialect, START)).kind is OddityKind.REPEATED
    assert feed(dialect, MARK) == [MarkEchoed("1:12")]


def test_a_start_of_another_stream_is_a_fault_and_the_end() -> None:
    dialect = started()
    other = changed(changed(START, "streamSid", OTHER_SID), "start.streamSid", OTHER_SID)
    (fault,) = feed(dialect, other)
    assert isinstance(fault, StreamFault)
    assert OTHER_SID in fault.text
    assert feed(dialect, MEDIA, MARK, STOP, other) == []
    assert dialect.decode("{") == ()


@pytest.mark.parametrize("message", [MEDIA, DTMF, MARK, STOP])
def test_before_start_everything_else_is_odd(message: dict[str, Any]) -> None:
    dialect = TwilioDialect()
    assert only_oddity(feed(dialect, message)).kind is OddityKind.BEFORE_START
    assert isinstance(feed(dialect, START)[0], StreamStarted)


# --- media -------------------------------------------------------------------------------------------------------------


def test_numbers_come_as_strings_or_as_numbers() -> None:
    numbers = changed(changed(MEDIA, "media.chunk", 2), "media.timestamp", 20)
    assert feed(started(), MEDIA) == feed(started(), numbers) == [StreamAudio(VOICE, 20, 2)]


def test_numbers_may_be_missing() -> None:
    bare = {"event": "media", "streamSid": SID, "media": {"payload": "/w=="}}
    assert feed(started(), bare) == [StreamAudio(b"\xff", None, None)]
    assert feed(started(), changed(bare, "streamSid", ...)) == [StreamAudio(b"\xff", None, None)]


@pytest.mark.parametrize("length", [0, 1, 159, 160, 743, 8000])
def test_audio_of_any_length(length: int) -> None:
    audio = bytes(i % 251 for i in range(length))
    payload = base64.b64encode(audio).decode()
    assert feed(started(), changed(MEDIA, "media.payload", payload)) == [StreamAudio(audio, 20, 2)]


@pytest.mark.parametrize("payload", ["****", "abc", "AA=A", "QQ==QQ==", "/w==\n", "é"])
def test_a_payload_that_is_no_base64(payload: str) -> None:
    oddity = only_oddity(feed(started(), changed(MEDIA, "media.payload", payload)))
    assert oddity.kind is OddityKind.NOT_BASE64
    assert payload not in oddity.text


def test_our_own_voice_is_not_the_callers() -> None:
    assert only_oddity(feed(started(), changed(MEDIA, "media.track", "outbound"))).kind is OddityKind.WRONG_TRACK


@pytest.mark.parametrize("message", [MEDIA, DTMF, MARK, STOP])
def test_a_message_of_another_stream_is_ignored(message: dict[str, Any]) -> None:
    dialect = started()
    oddity = only_oddity(feed(dialect, changed(message, "streamSid", OTHER_SID)))
    assert oddity.kind is OddityKind.FOREIGN_STREAM
    assert feed(dialect, MARK) == [MarkEchoed("1:12")]


# --- keys, marks, stop -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digit", list("0123456789*#ABCDabcd"))
def test_keys(digit: str) -> None:
    assert feed(started(), changed(DTMF, "dtmf.digit", digit)) == [DigitReceived(digit.upper())]


@pytest.mark.parametrize("digit", ["", "12", "E", "w", " ", "ß"])
def test_what_is_no_key(digit: str) -> None:
    assert only_oddity(feed(started(), changed(DTMF, "dtmf.digit", digit))).kind is OddityKind.WRONG_SHAPE


def test_nothing_counts_after_stop() -> None:
    dialect = started()
    assert feed(dialect, STOP) == [StreamStopped("the carrier sent stop")]
    kinds = [event.kind for event in feed(dialect, MEDIA, MARK, STOP, START, CONNECTED) if isinstance(event, Oddity)]
    assert kinds == [OddityKind.AFTER_STOP] * 5


def test_a_second_connected_is_odd() -> None:
    assert only_oddity(feed(started(), CONNECTED)).kind is OddityKind.REPEATED


# --- what is not understood --------------------------------------------------------------------------------------------


def test_an_unknown_event_is_counted_and_never_ends_the_stream() -> None:
    dialect = started()
    for _ in range(100):
        assert only_oddity(feed(dialect, {"event": "weather", "streamSid": SID})) == Oddity(OddityKind.UNKNOWN_EVENT, "'weather'")
    assert feed(dialect, MARK) == [MarkEchoed("1:12")]


def test_unknown_fields_are_ignored() -> None:
    more = changed(changed(MEDIA, "media.colour", {"a": [1]}), "extra", None)
    assert feed(started(), more) == [StreamAudio(VOICE, 20, 2)]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("", OddityKind.NOT_JSON),
        ("{", OddityKind.NOT_JSON),
        ("hello", OddityKind.NOT_JSON),
        ('{"event":"mark","mark":{"name":"\\ud800"}}', OddityKind.NOT_JSON),
        ('{"event":"mark","mark":{"name":"\ud800"}}', OddityKind.NOT_JSON),
        ('{"event":"media","x":' + "[" * 65_000, OddityKind.NOT_JSON),
        ("[]", OddityKind.WRONG_SHAPE),
        ('{"event":"weather","x":' + "[" * 65_000, OddityKind.WRONG_SHAPE),
        ("null", OddityKind.WRONG_SHAPE),
        ('"media"', OddityKind.WRONG_SHAPE),
        ("{}", OddityKind.WRONG_SHAPE),
        ('{"event":7}', OddityKind.WRONG_SHAPE),
        ('{"event":"media"}', OddityKind.WRONG_SHAPE),
        ('{"event":"media","media":{"payload":""},"streamSid":5}', OddityKind.WRONG_SHAPE),
        ('{"event":"media","media":{"payload":"","timestamp":"soon"}}', OddityKind.WRONG_SHAPE),
        ('{"event":"mark","mark":{}}', OddityKind.WRONG_SHAPE),
        (b'{"event":"connected"}', OddityKind.BINARY),
        (b"", OddityKind.BINARY),
    ],
)
def test_every_way_to_be_malformed(message: str | bytes, kind: OddityKind) -> None:
    dialect = started()
    oddity = only_oddity(list(dialect.decode(message)))
    assert oddity.kind is kind
    assert oddity.kind in MALFORMED
    assert feed(dialect, MARK) == [MarkEchoed("1:12")]


def test_the_twentieth_malformed_message_is_a_fault() -> None:
    dialect = started()
    for _ in range(19):
        only_oddity(list(dialect.decode("?")))
        assert feed(dialect, MARK) == [MarkEchoed("1:12")]
    oddity, fault = dialect.decode("?")
    assert isinstance(oddity, Oddity)
    assert isinstance(fault, StreamFault)
    assert fault.text.startswith("20 malformed messages")
    assert feed(dialect, MARK) == []


def test_the_limit_of_malformed_messages_can_be_chosen() -> None:
    assert isinstance(TwilioDialect(malformed_limit=1).decode(b"")[-1], StreamFault)


def test_what_is_said_about_a_message_is_short() -> None:
    long = "x" * 60_000
    dialect = started()
    for message in ({"event": long}, changed(MARK, "streamSid", long), changed(DTMF, "dtmf.digit", long)):
        assert len(only_oddity(feed(dialect, message)).text) == 160


# --- whatever comes ----------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from([SID, "5", "inbound", "/w=="]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["payload", "name", "digit", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(message: dict[str, Any]) -> list[str]:
    inner = [f"{key}.{below}" for key, value in message.items() if isinstance(value, dict) for below in paths(value)]
    return [*message, *inner]


@st.composite
def nearly_right(draw: Callable[[Any], Any]) -> str:
    """A documented message with one field replaced or removed, and perhaps cut short."""
    message = draw(st.sampled_from(SAMPLES))
    path = draw(st.sampled_from(paths(message)))
    text = json.dumps(changed(message, path, draw(json_values | st.just(...))))
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


messages = st.lists(nearly_right() | st.sampled_from([json.dumps(m) for m in SAMPLES]) | st.text() | st.binary(), max_size=30)


@settings(max_examples=300, deadline=None)
@given(messages)
def test_decode_never_raises_and_its_ends_are_final(stream: list[str | bytes]) -> None:
    dialect = TwilioDialect()
    events = [event for message in stream for event in dialect.decode(message)]
    kinds = [type(event) for event in events]
    assert kinds.count(StreamStarted) <= 1
    assert kinds.count(StreamStopped) <= 1
    assert StreamFault not in kinds[:-1]
    first_media = next(
        (i for i, kind in enumerate(kinds) if kind in (StreamAudio, MarkEchoed, DigitReceived, StreamStopped)), None
    )
    assert first_media is None or StreamStarted in kinds[:first_media]
    if StreamStopped in kinds:
        assert set(kinds[kinds.index(StreamStopped) + 1 :]) <= {Oddity, StreamFault}
    assert all(len(event.text) <= 160 for event in events if isinstance(event, Oddity | StreamFault))
