"""Log lines of our own and of libraries, in both formats, with the context that they were logged in."""

from __future__ import annotations

import io
import json
import logging

import httpx2
import pytest
import structlog

from trio_voice.logs import ACCEPTING, CapacityFilter, set_up_logging
from trio_voice.sections import LogFormat, LogLevel

pytestmark = pytest.mark.usefixtures("logging_as_before")


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_the_context_of_our_own_and_of_foreign_events() -> None:
    out = io.StringIO()
    set_up_logging(LogFormat.JSON, LogLevel.INFO, out)
    with structlog.contextvars.bound_contextvars(call_id="c1"):
        structlog.get_logger("ours").info("call started", dialect="twilio")
        logging.getLogger("theirs").warning("it is %s", "late")
    own, foreign = lines(out)
    assert {key: own[key] for key in ("event", "level", "logger", "call_id", "dialect")} == {
        "event": "call started", "level": "info", "logger": "ours", "call_id": "c1", "dialect": "twilio",
    }  # fmt: skip
    assert str(own["timestamp"]).endswith("Z")
    assert {key: foreign[key] for key in ("event", "level", "logger", "call_id")} == {
        "event": "it is late", "level": "warning", "logger": "theirs", "call_id": "c1",
    }  # fmt: skip


def test_what_is_below_the_level_is_not_logged() -> None:
    out = io.StringIO()
    set_up_logging(LogFormat.JSON, LogLevel.WARNING, out)
    structlog.get_logger("ours").info("no")
    logging.getLogger("theirs").info("no")
    structlog.get_logger("ours").error("yes")
    assert [line["event"] for line in lines(out)] == ["yes"]


async def test_no_request_is_logged_with_its_url() -> None:
    out = io.StringIO()
    set_up_logging(LogFormat.JSON, LogLevel.DEBUG, out)
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: httpx2.Response(200))) as client:
        await client.get("https://api.example/calls?caller=4930123456")
    assert "4930123456" not in out.getvalue()


@pytest.mark.parametrize("name", ["trio-websocket", "botocore.auth", "urllib3.connectionpool"])
def test_a_talkative_library_is_not_let_loose_at_debug(name: str) -> None:
    out = io.StringIO()
    set_up_logging(LogFormat.JSON, LogLevel.DEBUG, out)
    logging.getLogger(name).debug("a frame")
    logging.getLogger("theirs").debug("a fact")
    assert [line["event"] for line in lines(out)] == ["a fact"]


@pytest.mark.parametrize("format_", LogFormat)
def test_a_traceback_shows_no_values_of_variables(format_: LogFormat) -> None:
    out = io.StringIO()
    set_up_logging(format_, LogLevel.INFO, out)

    def fail(payload: str) -> None:
        assert payload
        raise ZeroDivisionError("no number")

    try:
        fail("the-" + "secret")
    except ZeroDivisionError:
        structlog.get_logger("ours").exception("a call failed")
    assert "ZeroDivisionError: no number" in out.getvalue()
    assert "the-secret" not in out.getvalue()


def test_console_lines_are_plain_where_nobody_sees_colours() -> None:
    out = io.StringIO()
    set_up_logging(LogFormat.CONSOLE, LogLevel.INFO, out)
    structlog.get_logger("ours").info("call started", call_id="c1")
    assert "\x1b" not in out.getvalue()
    assert "[info     ] call started" in out.getvalue()
    assert "call_id=c1" in out.getvalue()


@pytest.mark.parametrize("format_", LogFormat)
def test_what_a_peer_says_does_not_move_the_cursor(format_: LogFormat) -> None:
    out = io.StringIO()
    set_up_logging(format_, LogLevel.INFO, out)
    with structlog.contextvars.bound_contextvars(call_sid="CA\x1b[2J\x9b31m"):
        structlog.get_logger("ours").warning("call ended", reason="bye\x1b[31m\nnext line", oddities={"\x1b[1m": 1})
        logging.getLogger("theirs").warning("odd: %s", "\x1b[31m")
    assert len(out.getvalue().splitlines()) == 2
    assert "\x1b" not in out.getvalue()
    assert "\x9b" not in out.getvalue()


def refused(at_s: float, error: Exception) -> logging.LogRecord:
    record = logging.LogRecord(ACCEPTING, logging.ERROR, "", 0, "accept returned %s", ("EMFILE",), (type(error), error, None))
    record.created = at_s
    return record


def test_that_no_connection_can_be_taken_is_one_sentence_every_ten_seconds() -> None:
    filter_, error = CapacityFilter(), OSError(24, "Too many open files")
    passed = [at_s for at_s in (100.0, 100.1, 109.9, 110.0, 110.1, 121.0) if filter_.filter(refused(at_s, error))]
    assert passed == [100.0, 110.0, 121.0]
    record = refused(200.0, error)
    assert filter_.filter(record)
    assert record.getMessage() == (
        "no new connection can be taken (Too many open files): it waits until others close; raise the limit (ulimit -n)"
    )
    assert record.exc_info is None


def test_other_failures_of_a_listener_are_logged_as_they_are() -> None:
    record = refused(1.0, ValueError("a bug"))
    assert CapacityFilter().filter(record)
    assert record.exc_info is not None
    out = io.StringIO()
    set_up_logging(LogFormat.JSON, LogLevel.INFO, out)
    logging.getLogger(ACCEPTING).error("a bug", exc_info=ValueError("a bug"))
    assert "ValueError" in str(lines(out)[0])
