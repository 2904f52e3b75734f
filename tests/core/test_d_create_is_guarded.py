"""Guarantees R21 to R23: every request for a reply asks one object, and nothing that is owed is lost."""

from collections.abc import Callable

import pytest

from tests.core.playbook import Playbook, call_with, conversing, greeting, speaking, spoken, started, turn
from trio_voice.core.commands import (
    AddText,
    CancelResponse,
    ClearPlayback,
    CreateResponse,
    Discard,
    HangUp,
    InterruptTools,
    Note,
    OpenSession,
    Purpose,
    Refusal,
    Refuse,
    RunTool,
    SendMark,
    SendToolResult,
    TruncateItem,
)
from trio_voice.core.events import (
    DigitPressed,
    Event,
    HangUpAsked,
    ItemAdded,
    ItemKind,
    ModelErred,
    PlaybackMarked,
    ResponseCreated,
    ResponseDone,
    ResponseStatus,
    SendFailed,
    SessionLost,
    SessionReady,
    SpeechStarted,
    SpeechStopped,
    TextInjected,
    ToolCalled,
    ToolFinished,
    TurnCommitted,
)
from trio_voice.core.model import ALREADY_ACTIVE
from trio_voice.core.response import Request
from trio_voice.core.states import CallState, ResponseState

AUDIO = b"\x80" * 1600  # 200 ms
DONE, STOPPED, FAILED = ResponseStatus.COMPLETED, ResponseStatus.CANCELLED, ResponseStatus.FAILED
SPEAKS, FALLS_SILENT, COMMITTED = SpeechStarted(1, "u1"), SpeechStopped(1, "u1"), TurnCommitted(1, "u1")
ACTIVE_ERROR = "Conversation already has an active response in progress: resp_X. Wait until the response is finished."


# --- R21


@pytest.mark.parametrize(
    ("book", "reason"),
    [
        (lambda: started() >> TextInjected("x"), Refusal.NO_SESSION),
        (lambda: greeting() >> TextInjected("x"), Refusal.GREETING_LOCK),
        (lambda: speaking(conversing()) >> TextInjected("x"), Refusal.RESPONSE_ACTIVE),
        (lambda: conversing() >> SPEAKS >> TextInjected("x"), Refusal.CALLER_SPEAKING),
    ],
)
def test_r21_no_with_a_named_reason_and_it_waits(book: Callable[[], Playbook], reason: Refusal) -> None:

    assert book() << Refuse(Purpose.INJECTED_TEXT, reason, waits=True)


@pytest.mark.parametrize("event", [TextInjected("x"), DigitPressed("#"), COMMITTED])
def test_r21_nothing_is_asked_for_while_a_hang_up_is_pending(event: Event) -> None:
    book = spoken(conversing()) >> HangUpAsked("done") >> event << ...
    assert book.count(CreateResponse) == 0
    assert book.call.parts.guard.waiting is None


def test_r21_nor_while_the_call_is_ending_with_an_apology() -> None:
    book = started(call_with(b"s" * 8000)) >> SessionReady(1) << ... >> SessionLost(1, "no", retryable=False) << ...
    assert book >> TextInjected("x") << Refuse(Purpose.INJECTED_TEXT, Refusal.CLOSING)


def test_r21_an_idle_prompt_waits_for_the_line_to_be_known() -> None:
    book = conversing(calibrated=False, calibration_limit_s=10.0, idle_s=2.0) >> 2.0
    book = book << Refuse(Purpose.IDLE_PROMPT, Refusal.NOT_CALIBRATED) >> 2.0
    assert book << Refuse(Purpose.IDLE_PROMPT, Refusal.NOT_CALIBRATED)
    assert book.call.parts.idle.prompts == 0


def test_r21_two_requests_are_never_out_at_the_same_time() -> None:
    book = turn(conversing()) << CreateResponse(1, 1, Purpose.TURN)
    for event in (TextInjected("x"), DigitPressed("#"), TurnCommitted(1, "u2")):
        book = book >> event << ...
    assert book.count(CreateResponse) == 1


# --- R22


def test_r22_a_request_that_meets_an_active_response_waits_for_its_end() -> None:
    book = speaking(conversing(calibrated=False)) >> SPEAKS << ... >> FALLS_SILENT >> COMMITTED >> 0.15
    book = book << Refuse(Purpose.TURN, Refusal.RESPONSE_ACTIVE, waits=True)
    assert book >> ResponseDone(1, "r1", DONE) << CreateResponse(1, 1, Purpose.TURN)


def test_r22_and_so_does_one_that_the_model_refuses_for_that_reason() -> None:
    book = turn(conversing()) << ... >> ModelErred(1, ALREADY_ACTIVE, ACTIVE_ERROR, "create-1")
    assert book >> ResponseDone(1, "resp_X", DONE) << CreateResponse(1, 2, Purpose.TURN)


def test_r22_at_most_one_waits() -> None:
    book = speaking(conversing(calibrated=False)) >> TurnCommitted(1, "u1") << ... >> TurnCommitted(1, "u2") << ...
    book = book >> DigitPressed("#") << ... >> ResponseDone(1, "r1", DONE) << CreateResponse(1, 1, Purpose.TURN)
    assert book >> ResponseCreated(1, "r2", 1) >> ResponseDone(1, "r2", DONE)


def test_r22_one_request_for_the_outputs_of_parallel_tools() -> None:
    book = turn(conversing()) << ... >> ResponseCreated(1, "r1", 1)
    book = book >> ItemAdded(1, "r1", "f1", ItemKind.FUNCTION_CALL)
    book = book >> ToolCalled(1, "r1", "f1", "t1", "look", "{}") << RunTool("t1", "look", "{}")
    book = book >> ToolCalled(1, "r1", "f2", "t2", "find", "{}") << RunTool("t2", "find", "{}")
    book = book >> ToolFinished("t2", "2") << SendToolResult(1, "t2", "2") >> ResponseDone(1, "r1", DONE)
    assert book >> ToolFinished("t1", "1") << SendToolResult(1, "t1", "1") << CreateResponse(1, 2, Purpose.TOOL_RESULT)


def test_r22_which_waits_for_the_response_to_be_done() -> None:
    book = turn(conversing()) << ... >> ResponseCreated(1, "r1", 1) >> ToolCalled(1, "r1", "f1", "t1", "look", "{}") << ...
    book = book >> ToolFinished("t1", "1") << SendToolResult(1, "t1", "1") >> 0.1
    assert book >> ResponseDone(1, "r1", DONE) << CreateResponse(1, 2, Purpose.TOOL_RESULT)


def test_r22_and_for_the_caller() -> None:
    book = turn(conversing()) << ... >> ResponseCreated(1, "r1", 1) >> ToolCalled(1, "r1", "f1", "t1", "look", "{}") << ...
    book = book >> ResponseDone(1, "r1", DONE) >> SpeechStarted(1, "u2") << InterruptTools()
    book = book >> ToolFinished("t1", "1") << SendToolResult(1, "t1", "1")
    book = book << Refuse(Purpose.TOOL_RESULT, Refusal.CALLER_SPEAKING, waits=True)
    book = book >> SpeechStopped(1, "u2") >> TurnCommitted(1, "u2") >> 0.15 << CreateResponse(1, 2, Purpose.TURN)
    assert book >> ResponseCreated(1, "r2", 2) >> ResponseDone(1, "r2", DONE)  # one reply for both


def test_r22_a_tool_is_run_and_answered_once() -> None:
    book = turn(conversing()) << ... >> ResponseCreated(1, "r1", 1) >> ToolCalled(1, "r1", "f1", "t1", "look", "{}") << RunTool
    book = book >> ToolCalled(1, "r1", "f1", "t1", "look", "{}") << Discard(Refusal.DUPLICATE)
    book = book >> ToolFinished("t1", "1") << SendToolResult(1, "t1", "1")
    assert book >> ToolFinished("t1", "2") << Note("the answer of tool call t1 came too late and is dropped")


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "server_error", None])
def test_r22_a_failed_response_is_asked_for_again_with_growing_pauses_and_then_ended_politely(code: str | None) -> None:
    book = turn(conversing(failed_retries=2, failed_backoff_s=0.5)) << CreateResponse(1, 1, Purpose.TURN)
    for number, pause in ((1, 0.5), (2, 1.0)):
        book = book >> ResponseCreated(1, f"r{number}", number) >> ResponseDone(1, f"r{number}", FAILED, error_code=code)
        book = book >> pause - 0.000001 >> 0.000001 << CreateResponse(1, number + 1, Purpose.RETRY)
    book = book >> ResponseCreated(1, "r3", 3) >> ResponseDone(1, "r3", FAILED, error_code=code)
    assert book << HangUp(f"the model fails: {code or 'no reason given'}")


@pytest.mark.parametrize("code", ["insufficient_quota", "invalid_api_key", "model_not_found"])
def test_r22_what_no_retry_can_mend_is_not_retried(code: str) -> None:
    book = turn(conversing()) << ... >> ResponseCreated(1, "r1", 1)
    assert book >> ResponseDone(1, "r1", FAILED, error_code=code) << HangUp(f"the model fails: {code}")


@pytest.mark.parametrize("status", [ResponseStatus.INCOMPLETE, ResponseStatus.CANCELLED])
def test_r22_nor_is_a_reply_that_was_cut_short_before_it_was_heard_silence(status: ResponseStatus) -> None:
    book = turn(conversing()) << ... >> ResponseCreated(1, "r1", 1) >> ResponseDone(1, "r1", status) >> 0.5
    assert book << CreateResponse(1, 2, Purpose.RETRY)
    heard = speaking(turn(conversing()) << ...) >> ResponseDone(1, "r1", status) >> 0.5
    assert heard.count(CreateResponse) == 1


def test_r22_success_forgets_the_failures() -> None:
    book = conversing(failed_retries=1)
    for number in range(4):
        book = turn(book, f"u{number}") << ... >> ResponseCreated(1, f"a{number}") >> ResponseDone(1, f"a{number}", FAILED) >> 0.5
        book = book << ... >> ResponseCreated(1, f"b{number}") >> ResponseDone(1, f"b{number}", DONE)
    assert book.call.state is CallState.CONVERSING


def test_r22_a_create_that_was_not_sent_or_refused_is_made_again() -> None:
    book = turn(conversing()) << ... >> SendFailed(1, "create-1") >> 0.5 << CreateResponse(1, 2, Purpose.RETRY)
    assert book >> ModelErred(1, "server_error", "oops", "create-2") >> 1.0 << CreateResponse(1, 3, Purpose.RETRY)


def test_r22_one_that_was_asked_for_again_is_not_answered_twice() -> None:
    book = conversing(created_limit_s=1.0) >> DigitPressed("#") << ... >> 1.0
    book = book >> ResponseCreated(1, "r1", 1) >> ResponseDone(1, "r1", DONE) >> 5.0
    assert book.count(CreateResponse) == 1


def test_r22_a_text_does_not_take_the_place_of_an_answer() -> None:
    book = speaking(conversing(calibrated=False)) >> TextInjected("x") << ... >> COMMITTED << ...
    book = book >> ResponseDone(1, "r1", DONE) << CreateResponse(1, 1, Purpose.TURN)
    book = speaking(book, "r2", "i2", ms=100) >> ResponseDone(1, "r2", DONE) << SendMark
    assert book << CreateResponse(1, 2, Purpose.INJECTED_TEXT, "say x")


def test_r22_every_text_is_said_in_its_turn() -> None:
    book = conversing() >> TextInjected("a") << CreateResponse(1, 1, Purpose.INJECTED_TEXT, "say a") >> TextInjected("b") << ...
    book = book >> TextInjected("c") << ... >> ResponseCreated(1, "r1", 1) >> ResponseDone(1, "r1", DONE)
    book = book << CreateResponse(1, 2, Purpose.INJECTED_TEXT, "say b")
    book = book >> ResponseCreated(1, "r2", 2) >> ResponseDone(1, "r2", DONE)
    assert book << CreateResponse(1, 3, Purpose.INJECTED_TEXT, "say c")


def test_r22_a_text_waits_two_seconds_for_the_active_response_and_then_cuts_it_off() -> None:
    book = speaking(conversing(injected_text_wait_s=2.0), ms=400) >> TextInjected("x") << ... >> 1.999999
    book = book >> 0.000001 << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem(1, "i1", 400)
    assert book >> ResponseDone(1, "r1", STOPPED) << CreateResponse(1, 1, Purpose.INJECTED_TEXT, "say x")


def test_r22_a_long_playback_is_as_good_as_an_active_response() -> None:
    book = spoken(conversing(marks=False), ms=9000) >> TextInjected("x")
    book = book << Refuse(Purpose.INJECTED_TEXT, Refusal.RESPONSE_ACTIVE, waits=True) >> 2.0
    assert book << ClearPlayback() << TruncateItem(1, "i1", 2000) << CreateResponse(1, 1, Purpose.INJECTED_TEXT, "say x")


def test_r22_the_rest_of_one_is_let_finish() -> None:
    book = spoken(conversing(marks=False), ms=2000) >> TextInjected("x")
    assert book << CreateResponse(1, 1, Purpose.INJECTED_TEXT, "say x")


def test_r22_a_text_that_the_caller_doomed_before_a_word_of_it_is_said_later() -> None:
    book = conversing() >> TextInjected("x") << ... >> SPEAKS >> ResponseCreated(1, "r1", 1) << CancelResponse(1, "r1")
    book = book >> ResponseDone(1, "r1", STOPPED) >> FALLS_SILENT >> COMMITTED >> 0.15 << CreateResponse(1, 2, Purpose.TURN)
    book = book >> ResponseCreated(1, "r2", 2) >> ResponseDone(1, "r2", DONE)
    assert book << CreateResponse(1, 3, Purpose.INJECTED_TEXT, "say x")


def test_r22_pressed_keys_reach_the_model() -> None:
    book = conversing(digits_pause_s=1.5) >> DigitPressed("1") >> 1.0 >> DigitPressed("2") >> 1.499999
    book = book >> 0.000001 << AddText(1, 1, "user", "The caller pressed these keys: 12")
    assert book << CreateResponse(1, 1, Purpose.DIGITS)


def test_r22_keys_that_are_pressed_while_there_is_no_session_too() -> None:
    book = conversing() >> SessionLost(1, "gone") << OpenSession(2, 0.25) >> DigitPressed("7") >> DigitPressed("#") >> 1.0
    book = book >> SessionReady(2) >> 0.499999
    book = book >> 0.000001 << AddText(2, 1, "user", "The caller pressed these keys: 7#")
    assert book << CreateResponse(2, 1, Purpose.DIGITS)


# --- R23


def test_r23_only_a_greeting_may_be_forced_past_an_active_response() -> None:
    book = speaking(conversing())
    guard = book.call.parts.guard
    answer = guard.create(Request(Purpose.GREETING, "hi"), book.now, forced=True)
    assert answer == [Refuse(Purpose.GREETING, Refusal.RESPONSE_ACTIVE, waits=True), CancelResponse(1, "r1")]
    assert guard.state is ResponseState.CANCELLING
    assert book >> ResponseDone(1, "r1", STOPPED) << CreateResponse(1, 1, Purpose.GREETING, "hi")


def test_r23_the_first_greeting_goes_before_what_waits() -> None:
    book = started() >> TextInjected("x") << ... >> SessionReady(1) << CreateResponse(1, 1, Purpose.GREETING, "greet")
    book = spoken(book, ms=200) >> 0.2 >> PlaybackMarked("1.1") << Note("the greeting is over")
    assert book << CreateResponse(1, 2, Purpose.INJECTED_TEXT, "say x")
