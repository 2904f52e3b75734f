"""Which errors matter, and after which a new session is worth trying. Source: OpenAI Realtime API reference, errors and closing.

The upgrade succeeds even with a wrong key or an unknown model: the refusal comes as one `error` event and a Close, whose reason
is the error's type, or type and code joined by a dot. Gateways in front of a peer refuse with an HTTP status instead.
"""

from __future__ import annotations

from trio_voice.core.call import ALREADY_ACTIVE, CANCEL_NOT_ACTIVE, NEVER_RETRY

BENIGN = frozenset(
    {
        CANCEL_NOT_ACTIVE,
        ALREADY_ACTIVE,
        "input_audio_buffer_commit_empty",
        "item_truncate_invalid_item_id",
        "item_delete_invalid_item_id",
        "unsupported_content_type",
    }
)
"""Codes of errors that a race explains: the session and the call go on, and nobody has to look."""

_TOO_LONG_A_CUT = "already shorter than"
_POLICY_VIOLATION = 1008
_OWN_REFUSALS = range(3000, 5000)
_TOO_MANY_REQUESTS, _REQUEST_TIMEOUT, _SERVER_ERRORS = 429, 408, range(500, 600)


def is_benign(code: str | None, message: str) -> bool:
    """Say whether an `error` event is of no concern: a race, or a truncate beyond what exists (its code varies)."""
    return code in BENIGN or _TOO_LONG_A_CUT in message


def close_is_retryable(code: int | None, reason: str, last_error_code: str | None) -> bool:
    """Say whether another session may fare better than the one that was closed.

    `code` is None for a connection that broke without a Close; `last_error_code` is the code of the last `error` event before.
    Close 1013 is the case to watch: everywhere it means "try again later", and at OpenAI also "no money left".
    """
    if last_error_code in NEVER_RETRY or not NEVER_RETRY.isdisjoint(reason.split(".")):
        return False
    return code != _POLICY_VIOLATION and code not in _OWN_REFUSALS


def upgrade_is_retryable(http_status: int | None) -> bool:
    """Say whether another attempt to connect may fare better; None: the connection failed before there was a status."""
    return http_status is None or http_status in (_TOO_MANY_REQUESTS, _REQUEST_TIMEOUT) or http_status in _SERVER_ERRORS
