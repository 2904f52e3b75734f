"""The model's side: what the guarantees A, D and E leave out."""

from typing import Any

import pytest

from tests.core.playbook import Playbook, conversing, speaking, spoken, turn
from trio_voice.core.commands import (
    CancelResponse,
    ClearPlayback,
    CreateResponse,
    DeleteItem,
    Discard,
    Note,
    PlayAudio,
    Purpose,
    Refusal,
    Refuse,
    RunTool,
    SendMark,
    SendToolResult,
    TruncateItem,
)
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import (
    ItemAdded,
    ModelAudio,
    ModelAudioEnded,
    ModelErred,
    ModelTranscript,
    PlaybackMarked,
    ResponseCreated,
    ResponseDone,
    ResponseStatus,
    SendFailed,
    SpeechStarted,
    TextInjected,
    ToolCalled,
    ToolFinished,
    TurnCommitted,
)
from trio_voice.core.model import ALREADY_ACTIVE, CANCEL_NOT_ACTIVE, NEVER_RETRY
from trio_voice.core.states import CallState, ResponseState, TurnState
from trio_voice.core.tools import MOST_AT_ONCE

AUDIO = b"\x80" * 1600  # 200 ms
DONE, STOPPED, FAILED = ResponseStatus.COMPLETED, ResponseStatus.CANCELLED, ResponseStatus.FAILED


def answering(**settings: Any) -> Playbook:
    """A turn is being answered: r1 has begun."""
    return turn(conversing(**settings)) << ... >> ResponseCreated(1, "r1", 1)


# --- responses


def test_a_response_answers_the_turn() -> None:
    assert answering().call.parts.standing.turn is TurnState.QUIET


def test_a_response_that_says_something_else_does_not() -> None:
    book = conversing() >> TextInjected("x") << ... >> TurnCommitted(1, "u1") << ... >> ResponseCreated(1, "r1", 1)
    assert book.call.parts.standing.turn is TurnState.OWED
    book = book >> ResponseDone(1, "r1", DONE) << CreateResponse(1, 2, Purpose.TURN) >> ResponseCreated(1, "r2", 2)
    assert book.call.parts.standing.turn is TurnState.QUIET


def test_nor_one_that_was_asked_for_before_the_turn() -> None:
    book = turn(conversing()) << CreateResponse(1, 1, Purpose.TURN) >> TurnCommitted(1, "u2")
    book = book << Refuse(Purpose.TURN, Refusal.RESPONSE_ACTIVE, waits=True) >> ResponseCreated(1, "r1", 1)
    assert book.call.parts.standing.turn is TurnState.OWED
    assert book >> ResponseDone(1, "r1", DONE) << CreateResponse(1, 2, Purpose.TURN)


def test_a_duplicate_answers_nothing() -> None:
    book = speaking(conversing(calibrated=False)) >> TurnCommitted(1, "u1") << ...
    book = book >> ResponseCreated(1, "r1") << Discard(Refusal.DUPLICATE)
    assert book.call.parts.standing.turn is TurnState.OWED


def test_any_reply_gives_the_caller_the_whole_idle_time_again() -> None:
    book = conversing(idle_s=10.0) >> 5.0 >> TextInjected("x") << ...
    book = spoken(book) >> 0.4 >> PlaybackMarked("1.1")
    assert book >> 9.999999 >> 0.000001 << CreateResponse(1, 2, Purpose.IDLE_PROMPT, "prompt")


def test_a_text_does_not_forget_the_prompts() -> None:
    book = conversing(idle_s=10.0) >> 9.8 << ...
    book = spoken(book) >> 0.4 >> PlaybackMarked("1.1") >> TextInjected("x") << ... >> ResponseCreated(1, "r2", 2)
    assert book.call.parts.idle.prompts == 1


def test_an_item_that_sounded_is_not_deleted() -> None:
    book = answering() >> ItemAdded(1, "r1", "i1") >> ModelAudio(1, "r1", "i1", AUDIO) << ... >> 0.1 >> SpeechStarted(1, "u2")
    book = book << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem(1, "i1", 100)
    assert book >> ResponseDone(1, "r1", STOPPED)


def test_an_item_of_another_response_is_none_of_this_one() -> None:
    book = (
        answering() >> ItemAdded(1, "r0", "i9") << Discard(Refusal.UNKNOWN_RESPONSE) >> SpeechStarted(1, "u2") << CancelResponse
    )
    assert book >> ResponseDone(1, "r1", STOPPED)


def test_a_reply_that_is_done_keeps_its_silent_items() -> None:
    assert answering() >> ItemAdded(1, "r1", "i1") >> ModelTranscript(1, "r1", "i1", "text only") >> ResponseDone(1, "r1", DONE)


@pytest.mark.parametrize("end", [ModelErred(1, CANCEL_NOT_ACTIVE, "no"), 3.0])
def test_silent_items_go_however_the_cancel_ends(end: ModelErred | float) -> None:
    book = answering(done_limit_s=3.0) >> ItemAdded(1, "r1", "i1") >> SpeechStarted(1, "u2") << CancelResponse(1, "r1")
    assert book >> end << Note << DeleteItem(1, "i1")


def test_the_end_of_audio_has_a_mark() -> None:
    book = speaking(conversing(), ms=100) >> ModelAudioEnded(1, "r1", "i1") << SendMark("1.1")
    assert book >> ModelAudioEnded(1, "r9", "i1") << Discard(Refusal.UNKNOWN_RESPONSE)


def test_words_are_remembered() -> None:
    book = speaking(conversing()) >> ModelTranscript(1, "r1", "i1", "hel") >> ModelTranscript(1, "r1", "i1", "lo")
    assert book.call.parts.history.seed() == [("assistant", "hello")]
    book = book >> ModelTranscript(1, "r1", "i1", "hello there", final=True)
    assert book.call.parts.history.seed() == [("assistant", "hello there")]


def test_a_failure_after_tools_were_called_waits_for_their_answers() -> None:
    book = answering() >> ToolCalled(1, "r1", "f1", "t1", "look", "{}") << RunTool("t1", "look", "{}")
    book = book >> ResponseDone(1, "r1", FAILED) >> 5.0 >> ToolFinished("t1", "7") << SendToolResult(1, "t1", "7")
    assert book << CreateResponse(1, 2, Purpose.TOOL_RESULT)


def test_a_response_of_the_model_s_own_that_fails_is_asked_for_again() -> None:
    assert conversing() >> ResponseCreated(1, "r1") >> ResponseDone(1, "r1", FAILED) >> 0.5 << CreateResponse(1, 1, Purpose.RETRY)


def test_a_response_that_was_stopped_is_not_asked_for_again() -> None:
    book = answering() >> SpeechStarted(1, "u2") << CancelResponse(1, "r1") >> ResponseDone(1, "r1", FAILED) >> 10.0
    assert book.count(CreateResponse) == 1


def test_a_response_in_the_way_that_fails_is_not_asked_for_again() -> None:
    book = turn(conversing()) << ... >> ModelErred(1, ALREADY_ACTIVE, "resp_X is active") >> ResponseDone(1, "resp_X", FAILED)
    assert book << CreateResponse(1, 2, Purpose.TURN) >> ResponseCreated(1, "r1", 2) >> 2.0


def test_a_reply_that_was_heard_and_broke_off_is_a_success() -> None:
    book = speaking(conversing(failed_retries=0)) >> ResponseDone(1, "r1", ResponseStatus.INCOMPLETE)
    assert book >> 0.4 >> PlaybackMarked("1.1") >> 5.0


# --- errors


def test_a_refused_create_that_nobody_wants_any_more_is_not_made_again() -> None:
    book = turn(conversing()) << ... >> SpeechStarted(1, "u2") >> ModelErred(1, "server_error", "x", "create-1") >> 10.0
    assert book.count(CreateResponse) == 1


def test_an_error_about_an_older_create_changes_nothing() -> None:
    book = turn(conversing()) << ... >> ModelErred(1, "server_error", "x", "create-0")
    assert book.call.parts.guard.state is ResponseState.REQUESTED


def test_a_send_that_failed_of_something_else_changes_nothing() -> None:
    book = turn(conversing()) << ... >> SendFailed(1, "text-1") >> SendFailed(1, "create-0")
    assert book.call.parts.guard.state is ResponseState.REQUESTED


def test_the_codes_that_end_a_call_are_those_of_the_reference() -> None:
    assert {"insufficient_quota", "invalid_api_key", "invalid_model", "model_not_found"} <= NEVER_RETRY
    assert "rate_limit_exceeded" not in NEVER_RETRY


# --- tools


def test_so_many_tools_at_the_same_time() -> None:
    book = answering()
    for number in range(MOST_AT_ONCE):
        book = book >> ToolCalled(1, "r1", f"f{number}", f"t{number}", "look", "{}") << RunTool
    book = book >> ToolCalled(1, "r1", "f99", "t99", "look", "{}")
    assert book << SendToolResult(1, "t99", '{"error": "too many tools at the same time"}')


def test_each_tool_has_its_own_limit() -> None:
    book = answering(tool_limit_s=5.0) >> ToolCalled(1, "r1", "f1", "t1", "look", "{}") << RunTool >> 1.0
    book = (
        book >> ToolCalled(1, "r1", "f2", "t2", "find", "{}") << RunTool >> ResponseDone(1, "r1", DONE) >> 4.0 << SendToolResult
    )
    book = book >> 0.999999
    assert book >> 0.000001 << SendToolResult << CreateResponse(1, 2, Purpose.TOOL_RESULT)


# --- deadlines


def test_the_watchdog_leaves_a_text_alone() -> None:
    book = conversing(created_limit_s=100.0) >> TextInjected("x") << ... >> TurnCommitted(1, "u1") << ... >> 3.0
    book = book << Refuse(Purpose.WATCHDOG, Refusal.RESPONSE_ACTIVE)
    assert book.call.parts.guard.state is ResponseState.REQUESTED


def test_a_request_that_is_not_answered_is_the_watchdog_s_business_if_it_has_one() -> None:
    book = turn(conversing(watchdog_s=60.0, created_limit_s=5.0)) << ... >> 5.0
    assert book.call.parts.retries.request is None
    assert book >> 55.0 << CreateResponse(1, 2, Purpose.WATCHDOG)


def test_a_text_that_is_not_answered_is_not() -> None:
    book = conversing(watchdog_s=60.0, created_limit_s=5.0) >> TextInjected("x") << ... >> TurnCommitted(1, "u1") << ... >> 5.0
    assert book << CreateResponse(1, 2, Purpose.TURN)
    assert book.call.parts.retries.request is not None


def test_a_stuck_response_that_was_heard_is_not_asked_for_again() -> None:
    book = speaking(conversing(audio_gap_limit_s=1.0)) >> 1.0 << ... >> ResponseDone(1, "r1", STOPPED)
    book = book >> PlaybackMarked("1.1") >> 5.0
    assert book.count(CreateResponse) == 0


def test_a_retry_without_a_request_is_nothing() -> None:
    book = conversing()
    book.call.parts.deadlines.set(Timer.RETRY, 1.0)
    assert book >> 1.0


def test_late_audio_of_a_model_that_was_stopped_for_talking_on() -> None:
    book = speaking(conversing(unheard_limit_s=1.0), ms=1000) >> ModelAudio(1, "r1", "i1", b"x") << PlayAudio << Note
    book = book << CancelResponse(1, "r1") << SendMark >> ResponseDone(1, "r1", STOPPED)
    assert book.call.state is CallState.CONVERSING


def test_a_text_that_failed_while_a_tool_runs_is_said_again() -> None:
    book = (
        speaking(conversing(idle_s=0.0))
        >> ToolCalled(1, "r1", "i9", "c1", "slow", "{}")
        << ...
        >> ResponseDone(1, "r1", DONE)
        << ...
    )
    book = (
        book >> 0.4 >> PlaybackMarked("1.1") << ... >> TextInjected("x") << CreateResponse(1, 1, Purpose.INJECTED_TEXT, "say x")
    )
    book = book >> ResponseCreated(1, "r2", 1) >> ResponseDone(1, "r2", FAILED)
    assert book >> 0.5 << CreateResponse(1, 2, Purpose.INJECTED_TEXT, "say x")


def test_what_was_said_before_a_response_stopped_in_the_middle_gets_its_last_mark() -> None:
    book = speaking(conversing(audio_gap_limit_s=1.0), ms=100) >> 1.0 << Note("the response has stopped in the middle")
    assert book << CancelResponse(1, "r1") << SendMark("1.1")
