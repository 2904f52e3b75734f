from __future__ import annotations

import pytest

from trio_voice.core.call import NEVER_RETRY
from trio_voice.realtime.policy import BENIGN, close_is_retryable, is_benign, upgrade_is_retryable


@pytest.mark.parametrize(
    ("code", "reason", "last_error_code"),
    [
        (3000, "invalid_request_error.invalid_api_key", "invalid_api_key"),
        (3000, "invalid_request_error", None),
        (4000, "invalid_request_error.invalid_model", "invalid_model"),
        (4000, "invalid_request_error.missing_model", None),
        (4000, "invalid_request_error.beta_api_shape_disabled", "beta_api_shape_disabled"),
        (1013, "insufficient_quota.insufficient_quota", "insufficient_quota"),
        (1013, "insufficient_quota.insufficient_quota", None),
        (1013, "", "credit_balance_exhausted"),
        (1011, "", "billing_hard_limit_reached"),
        (None, "", "account_deactivated"),
        (1008, "policy", None),
        (4999, "", None),
    ],
)
def test_what_no_retry_can_mend(code: int | None, reason: str, last_error_code: str | None) -> None:
    assert not close_is_retryable(code, reason, last_error_code)


@pytest.mark.parametrize(
    ("code", "reason", "last_error_code"),
    [
        (1001, "Your session hit the maximum duration of 60 minutes.", "session_expired"),
        (1001, "", None),
        (1005, "", None),
        (1006, "", None),
        (1011, "", "server_error"),
        (1012, "", None),
        (1013, "", None),
        (1013, "try again later", "rate_limit_exceeded"),
        (1015, "", None),
        (1000, "", None),
        (None, "", None),
        (2999, "", None),
    ],
)
def test_what_another_session_may_mend(code: int | None, reason: str, last_error_code: str | None) -> None:
    assert close_is_retryable(code, reason, last_error_code)


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (None, True),
        (408, True),
        (429, True),
        (500, True),
        (503, True),
        (599, True),
        (400, False),
        (401, False),
        (403, False),
        (404, False),
    ],
)
def test_refused_upgrades(status: int | None, *, retryable: bool) -> None:
    assert upgrade_is_retryable(status) is retryable


@pytest.mark.parametrize("code", sorted(BENIGN))
def test_errors_that_a_race_explains(code: str) -> None:
    assert is_benign(code, "whatever")


def test_a_cut_beyond_the_end_is_benign_whatever_its_code() -> None:
    text = "Audio content of 3700ms is already shorter than 3760ms"
    assert is_benign("invalid_value", text)
    assert is_benign(None, text)
    assert not is_benign("invalid_value", "Invalid value: 'nope'.")
    assert not is_benign(None, "")


def test_nothing_is_both_benign_and_beyond_mending() -> None:
    assert not BENIGN & NEVER_RETRY
