from __future__ import annotations

import pytest

from trio_voice.errors import RemoteProtocolError
from trio_voice.realtime_server import errors_on_the_wire as errors
from trio_voice.realtime_server.errors_on_the_wire import Refusal


def test_an_error_is_the_peers_fault_and_has_the_wires_five_fields() -> None:
    error = errors.unknown_parameter("session.bogus_field")
    assert isinstance(error, RemoteProtocolError)
    assert list(error.wire("e1").items()) == [
        ("type", "invalid_request_error"),
        ("code", "unknown_parameter"),
        ("message", "Unknown parameter: 'session.bogus_field'."),
        ("param", "session.bogus_field"),
        ("event_id", "e1"),
    ]


@pytest.mark.parametrize(
    ("refusal", "code", "reason"),
    [
        (errors.no_authorization(), 3000, "invalid_request_error"),
        (errors.invalid_api_key("sk-1"), 3000, "invalid_request_error.invalid_api_key"),
        (errors.invalid_model("x"), 4000, "invalid_request_error.invalid_model"),
        (errors.missing_model(), 4000, "invalid_request_error.missing_model"),
        (errors.beta_disabled(), 4000, "invalid_request_error.beta_api_shape_disabled"),
        (errors.insufficient_quota(), 1013, "insufficient_quota.insufficient_quota"),
        (errors.session_expired(60), 1001, "Your session hit the maximum duration of 60 minutes."),
    ],
)
def test_refusals_close_with_their_code_and_reason(refusal: Refusal, code: int, reason: str) -> None:
    assert (refusal.close_code, refusal.close_reason) == (code, reason)


def test_a_wrong_key_is_not_repeated_in_full() -> None:
    key = "sk-proj-0123456789abcdef"
    message = errors.invalid_api_key(key).error.message
    assert key not in message
    assert "sk-proj-********cdef" in message
    assert "*****." in errors.invalid_api_key("short").error.message


def test_texts_with_numbers() -> None:
    too_long = errors.truncate_too_long(3700, 3760, "invalid_value")
    assert (too_long.message, too_long.code) == ("Audio content of 3700ms is already shorter than 3760ms", "invalid_value")
    assert errors.commit_empty(12.5).message.endswith("buffer only has 12.50ms of audio.")
    assert "resp_X. Wait until" in errors.already_active("resp_X").message
