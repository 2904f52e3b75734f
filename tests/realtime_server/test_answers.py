from __future__ import annotations

from trio_voice.realtime_server.answers import Answer, Ending


def test_an_ending_as_status_details() -> None:
    failed = Ending("failed", None, "server_error", None, "Sorry.")
    assert failed.details() == {"type": "failed", "error": {"type": "server_error", "code": None, "message": "Sorry."}}
    assert Ending("incomplete", "content_filter").details() == {"type": "incomplete", "reason": "content_filter"}


def test_an_answer_is_empty_at_first() -> None:
    assert (Answer().parts, Answer().ending, dict(Answer().switches)) == ((), None, {})
