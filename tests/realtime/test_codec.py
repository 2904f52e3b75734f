from __future__ import annotations

import copy
import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.realtime import samples
from tests.realtime.samples import error, event, function_item, output_item, response
from trio_voice.core.events import (
    CallerTranscribed,
    Event,
    ItemAdded,
    ItemKind,
    ItemTruncated,
    ModelAudio,
    ModelAudioEnded,
    ModelErred,
    ModelTranscript,
    ResponseCreated,
    ResponseDone,
    ResponseStatus,
    SpeechStarted,
    SpeechStopped,
    ToolCalled,
    TurnCommitted,
)
from trio_voice.errors import RemoteProtocolError
from trio_voice.realtime.codec import Decoded, RealtimeDecoder, SessionCreated, SessionUpdated
from trio_voice.realtime.messages import DELTA_BYTES, ID_CHARACTERS, OUTPUT_ITEMS

BOOKING = ToolCalled(2, "resp_1", "item_f", "call_1", "book", '{"day":"Monday"}')


def decoded(*messages: dict[str, Any], decoder: RealtimeDecoder | None = None) -> list[Decoded]:
    decoder = decoder or RealtimeDecoder(2)
    return [one for message in messages for one in decoder.decode(json.dumps(message))]


# --- from the model ----------------------------------------------------------------------------------------------------


def test_a_whole_turn_in_the_order_of_the_wire() -> None:
    decoder = RealtimeDecoder(2)
    assert decoded(*samples.VAD_TURN, decoder=decoder) == [
        SessionCreated(samples.SESSION),
        SessionUpdated(samples.SESSION),
        SpeechStarted(2, "item_u", 1460),
        SpeechStopped(2, "item_u", 4256),
        TurnCommitted(2, "item_u"),
        ResponseCreated(2, "resp_1", request=7),
        ItemAdded(2, "resp_1", "item_a", ItemKind.MESSAGE),
        ModelTranscript(2, "resp_1", "item_a", "Good"),
        ModelAudio(2, "resp_1", "item_a", samples.SPEECH),
        ModelTranscript(2, "resp_1", "item_a", " morning"),
        CallerTranscribed(2, "item_u", "I need a visit."),
        ModelAudioEnded(2, "resp_1", "item_a"),
        ModelTranscript(2, "resp_1", "item_a", "Good morning", final=True),
        ResponseDone(2, "resp_1", ResponseStatus.COMPLETED),
    ]
    assert not decoder.unknown


def test_a_function_call_is_told_once_when_its_item_is_complete() -> None:
    assert decoded(*samples.FUNCTION_CALL) == [
        ResponseCreated(2, "resp_1"),
        ItemAdded(2, "resp_1", "item_f", ItemKind.FUNCTION_CALL),
        BOOKING,
        ResponseDone(2, "resp_1", ResponseStatus.COMPLETED),
    ]


def test_a_function_call_is_told_whichever_event_brings_it() -> None:
    item_done, response_done = samples.FUNCTION_CALL[-2:]
    done = ResponseDone(2, "resp_1", ResponseStatus.COMPLETED)
    assert decoded(item_done, response_done) == [BOOKING, done]
    assert decoded(response_done) == [BOOKING, done]
    assert decoded(item_done, item_done, response_done, response_done) == [BOOKING, done, done]


def test_parallel_calls_are_told_each_and_in_order() -> None:
    items = [function_item("completed", call_id=f"call_{n}") for n in range(3)]
    calls = decoded(*(output_item("done", item) for item in items))
    assert [call.tool_call_id for call in calls if isinstance(call, ToolCalled)] == ["call_0", "call_1", "call_2"]


@pytest.mark.parametrize("status", ["incomplete", "in_progress", None])
def test_a_call_with_half_its_arguments_is_never_told(status: str | None) -> None:
    half = {**function_item("incomplete", '{"day":"Mon'), "status": status}
    arguments_done = samples.FUNCTION_CALL[4] | {"arguments": '{"day":"Mon'}
    cancelled = event("response.done", response=response("cancelled", output=[half]))
    completed = event("response.done", response=response("completed", output=[half]))
    assert decoded(arguments_done, output_item("done", half), cancelled) == [ResponseDone(2, "resp_1", ResponseStatus.CANCELLED)]
    assert decoded(completed) == [ResponseDone(2, "resp_1", ResponseStatus.COMPLETED)]


def test_a_call_in_a_response_that_did_not_complete_is_told_only_by_its_item() -> None:
    cancelled = event("response.done", response=response("cancelled", output=[function_item("completed")]))
    assert decoded(cancelled) == [ResponseDone(2, "resp_1", ResponseStatus.CANCELLED)]


@pytest.mark.parametrize("field", ["call_id", "name"])
def test_a_call_that_cannot_be_answered_is_no_call(field: str) -> None:
    assert decoded(output_item("done", {**function_item("completed"), field: None})) == []


def test_a_call_without_arguments_has_empty_ones() -> None:
    (call,) = decoded(output_item("done", function_item("completed", "")))
    assert isinstance(call, ToolCalled)
    assert call.arguments == "{}"


def test_the_memory_of_calls_is_bounded() -> None:
    decoder = RealtimeDecoder(2)
    for n in range(101):
        assert len(decoded(output_item("done", function_item("completed", call_id=f"call_{n}")), decoder=decoder)) == 1
    assert decoded(output_item("done", function_item("completed", call_id="call_100")), decoder=decoder) == []
    assert len(decoded(output_item("done", function_item("completed", call_id="call_0")), decoder=decoder)) == 1


@pytest.mark.parametrize(
    ("metadata", "request_number"),
    [
        (None, None),
        ({}, None),
        ({"request": "7"}, 7),
        ({"request": "-7"}, None),
        ({"request": "seven"}, None),
        ({"request": "²"}, None),
        ({"request": "\u0667"}, None),
        ({"request": ""}, None),
        ({"request": 7}, None),
        ({"request": "9" * 5000}, None),
    ],
)
def test_our_number_comes_back_in_the_metadata(metadata: dict[str, Any] | None, request_number: int | None) -> None:
    assert decoded(event("response.created", response=response(metadata=metadata))) == [
        ResponseCreated(2, "resp_1", request_number)
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (samples.CANCELLED_BY_US, ResponseDone(2, "resp_1", ResponseStatus.CANCELLED, "client_cancelled")),
        (samples.CANCELLED_BY_SPEECH, ResponseDone(2, "resp_1", ResponseStatus.CANCELLED, "turn_detected")),
        (samples.CUT_SHORT, ResponseDone(2, "resp_1", ResponseStatus.INCOMPLETE, "max_output_tokens")),
        (
            samples.RATE_LIMITED,
            ResponseDone(2, "resp_1", ResponseStatus.FAILED, None, "rate_limit_exceeded", "Rate limit reached."),
        ),
        (
            samples.SERVER_FAULT,
            ResponseDone(2, "resp_1", ResponseStatus.FAILED, None, "server_error", "The server had an error."),
        ),
        (
            event("response.done", response=response("completed", status_details="unimplemented")),
            ResponseDone(2, "resp_1", ResponseStatus.COMPLETED),
        ),
        (
            event("response.done", response=response("evaporated")),
            ResponseDone(2, "resp_1", ResponseStatus.FAILED, "unknown status 'evaporated'"),
        ),
    ],
)
def test_how_a_response_can_end(message: dict[str, Any], expected: ResponseDone) -> None:
    assert decoded(message) == [expected]


def test_an_item_of_another_kind_is_named_so() -> None:
    item = {"id": "item_m", "type": "mcp_call", "name": "x", "arguments": "{}", "server_label": "s", "approval_request_id": None}
    assert decoded(output_item("added", item)) == [ItemAdded(2, "resp_1", "item_m", ItemKind.OTHER)]


def test_truncation_is_confirmed() -> None:
    truncated = event("conversation.item.truncated", item_id="item_a", content_index=0, audio_end_ms=1500)
    assert decoded(truncated) == [ItemTruncated(2, "item_a", 1500)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"code": "response_cancel_not_active", "message": "Cancellation failed", "event_id": "cancel-resp_1"},
            ModelErred(2, "response_cancel_not_active", "Cancellation failed", "cancel-resp_1"),
        ),
        ({"type": "server_error", "message": "Oops"}, ModelErred(2, "server_error", "Oops")),
        ({"type": None, "message": None}, ModelErred(2, None, "")),
    ],
)
def test_errors(body: dict[str, Any], expected: ModelErred) -> None:
    assert decoded(error(**body)) == [expected]


def test_a_transcript_that_failed_is_told_under_a_code_of_its_own() -> None:
    body = {"type": "invalid_request_error", "code": "insufficient_quota", "message": "No money.", "param": None}
    failed = event(f"{samples.TRANSCRIPTION}.failed", item_id="item_u", content_index=0, error=body)
    assert decoded(failed) == [
        ModelErred(2, "input_audio_transcription.insufficient_quota", "no transcript of item_u: No money.")
    ]


def test_what_is_said_about_an_error_is_cut_to_what_people_read() -> None:
    long = "x" * 1001
    assert decoded(error(type="t", code=long, message=long)) == [ModelErred(2, long[:100], long[:1000])]
    failed = response("failed", status_details={"reason": long, "error": {"code": long, "message": long}})
    (done,) = decoded(event("response.done", response=failed))
    assert done == ResponseDone(2, "resp_1", ResponseStatus.FAILED, long[:100], long[:100], long[:1000])
    (done,) = decoded(event("response.done", response=response(long)))
    assert done == ResponseDone(2, "resp_1", ResponseStatus.FAILED, f"unknown status {long[:100]!r}")


def test_what_is_remembered_has_a_bound_and_a_peer_that_goes_beyond_it_is_not_read() -> None:
    def delta(item_id: str, audio: bytes) -> dict[str, Any]:
        return event("response.output_audio.delta", response_id="resp_1", item_id=item_id, delta=b64encode(audio).decode("ascii"))

    longest = delta("i" * ID_CHARACTERS, bytes(DELTA_BYTES))
    assert decoded(longest) == [ModelAudio(2, "resp_1", "i" * ID_CHARACTERS, bytes(DELTA_BYTES))]
    items = [function_item("completed", call_id=f"call_{number}") for number in range(OUTPUT_ITEMS + 1)]
    whole = response("completed", output=items[:-1])
    assert len(decoded(event("response.done", response=whole))) == OUTPUT_ITEMS + 1
    for message, said in [
        (delta("i" * (ID_CHARACTERS + 1), b""), "Expected `str` of length <= 512"),
        (delta("i", bytes(DELTA_BYTES + 1)), "Expected `bytes` of length <= 480000"),
        (event("response.done", response=response(id="r" * (ID_CHARACTERS + 1))), "Expected `str` of length <= 512"),
        (event("response.done", response=response("completed", output=items)), "Expected `array` of length <= 128"),
    ]:
        with pytest.raises(RemoteProtocolError, match=f"that cannot be read: {said}"):
            decoded(message)


def test_unknown_types_are_counted_and_nothing_else() -> None:
    decoder = RealtimeDecoder(2)
    assert decoded(event("ping"), event("ping"), event("response.audio.delta", delta="AA=="), decoder=decoder) == []
    assert decoder.unknown == {"ping": 2, "response.audio.delta": 1}


def test_the_count_of_unknown_types_stays_small() -> None:
    decoder = RealtimeDecoder(2)
    decoded(*(event(f"new.{n}") for n in range(1000)), event("x" * 5000), decoder=decoder)
    assert len(decoder.unknown) == 51
    assert decoder.unknown["(other)"] == 951
    assert decoder.unknown.total() == 1001
    fresh = RealtimeDecoder(2)
    decoded(event("x" * 5000), decoder=fresh)
    assert list(fresh.unknown) == ["x" * 80]


def test_the_order_of_keys_does_not_matter() -> None:
    message = samples.of_item("response.output_audio.done")
    assert decoded(dict(reversed(message.items()))) == decoded(message) != []


def test_unknown_fields_do_not_matter() -> None:
    assert decoded(samples.of_item("response.output_audio.done", phase="commentary", extra=[{}])) == [
        ModelAudioEnded(2, "resp_1", "item_a")
    ]


def test_bytes_are_read_like_text() -> None:
    assert RealtimeDecoder(2).decode(json.dumps(samples.of_item("response.output_audio.done")).encode()) == (
        ModelAudioEnded(2, "resp_1", "item_a"),
    )


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("", "0 bytes that are no event"),
        ("hello", "no event"),
        ("[]", "no event"),
        ('{"event":"response.done"}', "missing required field `type`"),
        (b"\xff\xfe", "no event"),
        ('{"type":"\ud800"}', "no event"),
        ('{"type":"error","x":' + "[" * 100_000, "no event"),
        ('{"type":"response.done"}', "response.done that cannot be read: Object missing required field `response`"),
        ('{"type":"response.done","response":{"id":7}}', "response.done that cannot be read: Expected `str`, got `int`"),
        ('{"type":"response.created","response":{"id":"r","metadata":[]}}', "response.created that cannot be read"),
        (
            '{"type":"response.output_audio.delta","response_id":"r","item_id":"i","delta":"*"}',
            "response.output_audio.delta that cannot be read: Invalid base64 encoded string - at `$.delta`",
        ),
        ('{"type":"error","error":"no"}', "error that cannot be read"),
    ],
)
def test_what_cannot_be_read_is_the_peers_mistake(message: str | bytes, said: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        RealtimeDecoder(2).decode(message)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


# --- whatever comes ----------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["completed", "function_call"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "code", "x"]), inner, max_size=3),
    max_leaves=6,
)


def paths(value: object, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [path for key, below in value.items() for path in [(*above, key), *paths(below, (*above, key))]]
    if isinstance(value, list):
        return [path for index, below in enumerate(value) for path in paths(below, (*above, index))]
    return []


@st.composite
def nearly_right(draw: Callable[[Any], Any]) -> str:
    """An event of the protocol with one field replaced or removed, and perhaps cut short."""
    message = copy.deepcopy(draw(st.sampled_from(samples.ALL)))
    *parents, last = draw(st.sampled_from(paths(message)))
    inner: Any = message
    for key in parents:
        inner = inner[key]
    value = draw(json_values | st.just(...))
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    text = json.dumps(message)
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


@settings(max_examples=300, deadline=None)
@given(st.lists(nearly_right() | st.text() | st.binary(), max_size=8))
def test_decode_raises_nothing_but_remote_protocol_error(messages: list[str | bytes]) -> None:
    decoder = RealtimeDecoder(2)
    told: list[str] = []
    for message in messages:
        try:
            one = decoder.decode(message)
        except RemoteProtocolError:
            continue
        for item in one:
            assert isinstance(item, Event | SessionCreated | SessionUpdated)
            if isinstance(item, ToolCalled):
                told.append(item.tool_call_id)
    assert len(told) == len(set(told))
