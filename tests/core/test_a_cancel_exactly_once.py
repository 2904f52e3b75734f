"""Guarantees R01 to R10: a response is cancelled once, late audio is never heard, and what was heard is what is remembered."""

import ast
from pathlib import Path

import pytest

import trio_voice.core.response
from tests.core.playbook import Playbook, call_with, conversing, greeting, speaking, spoken, turn
from trio_voice.core.commands import (
    CancelResponse,
    ClearPlayback,
    Close,
    CreateResponse,
    DeleteItem,
    Discard,
    HangUp,
    Note,
    OpenSession,
    PlayAudio,
    Purpose,
    Refusal,
    Refuse,
    SendMark,
    SendToolResult,
    TruncateItem,
)
from trio_voice.core.events import (
    CallerAudio,
    CallerHungUp,
    Event,
    FatalErrorRaised,
    HangUpAsked,
    ItemAdded,
    ItemTruncated,
    ModelAudio,
    ModelAudioEnded,
    ModelErred,
    ModelTranscript,
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
from trio_voice.core.model import ALREADY_ACTIVE, CANCEL_NOT_ACTIVE
from trio_voice.core.states import ResponseState

AUDIO = b"\x80" * 1600  # 200 ms
DONE, STOPPED = ResponseStatus.COMPLETED, ResponseStatus.CANCELLED
SPEAKS = SpeechStarted(1, "u1")


def stopped(book: Playbook) -> Playbook:
    """A barge-in 100 ms into a reply of 400 ms that goes on: one cancel is in flight."""
    book = speaking(book) >> 0.1 >> SPEAKS
    return book << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem(1, "i1", 100)


# --- R01


def test_r01_one_guard_makes_every_create_and_every_cancel() -> None:
    package = Path(trio_voice.core.response.__file__).parents[1]
    makers = {
        (node.func.id if isinstance(node.func, ast.Name) else node.func.attr, path.relative_to(package).as_posix())
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    }
    assert {path for name, path in makers if name in ("CreateResponse", "CancelResponse")} == {"core/response.py"}


@pytest.mark.parametrize(
    "event",
    [
        SpeechStarted(1, "u2"),
        HangUpAsked("operator"),
        TextInjected("hello"),
        FatalErrorRaised("bug"),
        ModelErred(1, "insufficient_quota", "no money"),
        CallerHungUp("stop"),
    ],
)
def test_r01_no_other_path_cancels_what_is_being_cancelled(event: Event) -> None:
    book = stopped(conversing()) >> event << ...
    for _ in range(30):
        book = book >> 0.1 << ...
    assert book.count(CancelResponse) == 1


@pytest.mark.parametrize(
    ("event", "wait_s"),
    [(SPEAKS, 0.0), (FatalErrorRaised("bug"), 0.0), (ModelErred(1, "invalid_api_key", "no"), 0.0), (TextInjected("x"), 2.0)],
)
def test_r01_every_path_cancels_by_the_same_guard(event: Event, wait_s: float) -> None:
    book = speaking(conversing()) >> event << ... >> wait_s << ...
    assert book.count(CancelResponse) == 1
    assert book.call.parts.guard.state is ResponseState.CANCELLING


# --- R02


def test_r02_a_response_in_progress_is_cancelled_by_its_id_and_once() -> None:
    book = stopped(conversing()) >> 0.3 >> SpeechStopped(1, "u1") >> 0.05 >> SpeechStarted(1, "u1")
    assert book >> ResponseDone(1, "r1", STOPPED) >> SpeechStarted(1, "u1")


def test_r02_a_response_that_is_done_but_still_playing_is_cleared_and_truncated_not_cancelled() -> None:
    book = spoken(conversing()) >> 0.25 >> SPEAKS
    assert book << ClearPlayback() << TruncateItem(1, "i1", 250)


def test_r02_one_that_has_no_id_yet_is_cancelled_the_moment_its_id_is_known() -> None:
    book = turn(conversing()) << CreateResponse(1, 1, Purpose.TURN)
    book = book >> SpeechStarted(1, "u2") >> 0.7
    book = book >> ResponseCreated(1, "r1", 1) << CancelResponse(1, "r1")
    assert book >> ModelAudio(1, "r1", "i1", AUDIO) << Discard(Refusal.CANCELLED_RESPONSE)


def test_r02_a_doomed_request_that_was_given_up_is_cancelled_however_late_its_id_comes() -> None:
    book = turn(conversing(created_limit_s=1.0, speech_limit_s=100.0)) << ... >> SpeechStarted(1, "u2") >> 5.0
    assert book >> ResponseCreated(1, "r1", 1) << CancelResponse(1, "r1")


def test_r02_nothing_is_cancelled_when_nothing_is_said() -> None:
    assert conversing() >> SPEAKS


# --- R03


def test_r03_a_burst_of_speech_started_causes_no_further_action() -> None:
    book = stopped(conversing(turn_end_s=0.0)) >> ResponseDone(1, "r1", STOPPED) >> 0.1
    book = book >> SpeechStopped(1, "u1") >> TurnCommitted(1, "u1") >> 0
    book = speaking(book << CreateResponse(1, 1, Purpose.TURN), "r2", "i2") >> 0.099999
    book = book >> SpeechStarted(1, "u2") << Discard(Refusal.COOLDOWN)
    book = book >> 0.000001 >> SpeechStarted(1, "u2")
    assert book << ClearPlayback() << CancelResponse(1, "r2") << TruncateItem(1, "i2", 100)


# --- R04


def test_r04_a_cancel_that_was_not_sent_may_be_sent_again() -> None:
    book = stopped(conversing()) >> SendFailed(1, "cancel-r1") >> ModelAudio(1, "r1", "i1", AUDIO)
    book = book << Discard(Refusal.CANCELLED_RESPONSE) >> 0.2
    assert book >> SpeechStarted(1, "u1") << CancelResponse(1, "r1")


def test_r04_and_is_without_another_barge_in() -> None:
    book = stopped(conversing(audio_gap_limit_s=5.0)) >> SendFailed(1, "cancel-r1") >> 4.999999
    assert book >> 0.000001 << Note("the response has stopped in the middle") << CancelResponse(1, "r1")


def test_r04_one_that_was_sent_is_never_repeated() -> None:
    book = stopped(conversing()) >> SendFailed(1, "cancel-r0") >> SendFailed(1, "truncate-i1") >> 0.3
    assert book >> SpeechStarted(1, "u1")


# --- R05


@pytest.mark.parametrize("event_id", ["cancel-r1", None])
def test_r05_not_active_marks_the_response_as_over_and_nothing_else(event_id: str | None) -> None:
    book = stopped(conversing()) >> ModelErred(1, CANCEL_NOT_ACTIVE, "Cancellation failed: no active response found", event_id)
    book = book << Note("the response had ended before the cancel came")
    assert book.call.parts.guard.idle
    book = book >> ResponseDone(1, "r1", DONE) << Discard(Refusal.DUPLICATE)
    book = book >> SpeechStopped(1, "u1") >> TurnCommitted(1, "u1") >> 0.15 << CreateResponse(1, 1, Purpose.TURN)
    assert book.count(CancelResponse) == 1


def test_r05_about_a_cancel_of_long_ago_it_means_nothing() -> None:
    book = speaking(conversing()) >> ModelErred(1, CANCEL_NOT_ACTIVE, "no", "cancel-r0") >> ModelErred(1, CANCEL_NOT_ACTIVE, "no")
    assert book.call.parts.guard.state is ResponseState.ACTIVE


# --- R06


def test_r06_the_flush_leaves_first_and_once() -> None:
    book = speaking(conversing()) >> 0.1 >> SPEAKS << ClearPlayback() << ...
    book = book >> 0.3 >> SpeechStarted(1, "u1") >> TextInjected("x") << ... >> FatalErrorRaised("bug") << ...
    assert book.count(ClearPlayback) == 1


def test_r06_nothing_is_flushed_when_nothing_is_queued() -> None:
    book = turn(conversing()) << ... >> ResponseCreated(1, "r1", 1) >> SpeechStarted(1, "u2")
    assert book << CancelResponse(1, "r1")


# --- R07


@pytest.mark.parametrize(
    "late",
    [
        ItemAdded(1, "r1", "i2"),
        ModelAudio(1, "r1", "i1", AUDIO),
        ModelAudioEnded(1, "r1", "i1"),
        ModelTranscript(1, "r1", "i1", "and so on"),
        ToolCalled(1, "r1", "i2", "t1", "look", "{}"),
    ],
)
@pytest.mark.parametrize("over", [False, True])
def test_r07_nothing_of_a_cancelled_response_is_used_however_late_it_comes(late: Event, over: bool) -> None:
    book = stopped(conversing())
    if over:
        book = book >> ResponseDone(1, "r1", STOPPED) >> 60.0 << ...
    assert book >> late << Discard(Refusal.CANCELLED_RESPONSE)
    assert "and so on" not in str(book.call.parts.history.seed())


def test_r07_nor_beside_the_next_response() -> None:
    book = stopped(conversing()) >> ResponseDone(1, "r1", STOPPED) >> SpeechStopped(1, "u1") >> TurnCommitted(1, "u1")
    book = book >> 0.15 << CreateResponse(1, 1, Purpose.TURN) >> ResponseCreated(1, "r2", 1)
    book = book >> ModelAudio(1, "r1", "i1", AUDIO) << Discard(Refusal.CANCELLED_RESPONSE)
    assert book >> ModelAudio(1, "r2", "i2", AUDIO) << PlayAudio("r2", "i2", AUDIO) << SendMark("2.2")


def test_r07_nor_of_a_response_that_nobody_announced() -> None:
    assert conversing() >> ModelAudio(1, "r9", "i9", AUDIO) << Discard(Refusal.UNKNOWN_RESPONSE)


def test_r07_the_memory_of_responses_is_bounded_and_goes_with_the_call() -> None:
    book = conversing()
    for number in range(101):
        book = book >> ResponseCreated(1, f"r{number}") >> ResponseDone(1, f"r{number}", DONE)
    book = book >> ModelAudio(1, "r0", "i", AUDIO) << Discard(Refusal.UNKNOWN_RESPONSE)
    assert book >> ModelAudio(1, "r1", "i", AUDIO) << Discard(Refusal.TOO_LATE)
    assert call_with().parts is not book.call.parts


# --- R08


def test_r08_a_barge_in_leaves_session_conversation_and_tools_alone() -> None:
    book = turn(conversing(), "u0") << ... >> ResponseCreated(1, "r1", 1) >> ToolCalled(1, "r1", "i0", "t1", "look", "{}")
    book = book << ... >> ModelTranscript(1, "r1", "i1", "one two three four", final=True) >> ModelAudio(1, "r1", "i1", AUDIO)
    book = book << ... >> 0.1 >> SPEAKS << ... >> ToolFinished("t1", "7") << SendToolResult(1, "t1", "7")
    parts = book.call.parts
    assert parts.standing.session == 1
    assert ("assistant", "one two ...") in parts.history.seed()
    assert "u0" in parts.history
    assert book >> CallerAudio(b"goes on") << ...


# --- R09


def test_r09_cut_at_the_millisecond_that_was_heard() -> None:
    book = speaking(conversing(), ms=1000) >> 0.4 >> PlaybackMarked("1.1") >> 0.123 >> SPEAKS
    assert book << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem(1, "i1", 523)


def test_r09_never_beyond_what_exists() -> None:
    book = speaking(conversing(), ms=150) >> 1.0 >> SPEAKS
    assert book << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem(1, "i1", 150)


def test_r09_what_is_queued_behind_it_is_deleted() -> None:
    book = speaking(conversing()) >> ModelAudio(1, "r1", "i2", AUDIO) << ... >> ModelAudio(1, "r1", "i3", AUDIO) << ...
    book = book >> 0.1 >> SPEAKS << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem(1, "i1", 100)
    assert book << DeleteItem(1, "i2") << DeleteItem(1, "i3")


def test_r09_what_streamed_beside_it_and_was_heard_is_truncated_too() -> None:
    book = speaking(conversing(), ms=100) >> ModelAudio(1, "r1", "i2", AUDIO) << ... >> ModelAudio(1, "r1", "i1", AUDIO) << ...
    book = book >> 0.15 >> SPEAKS << ClearPlayback() << CancelResponse(1, "r1")
    assert book << TruncateItem(1, "i1", 100) << TruncateItem(1, "i2", 50)


def test_r09_what_was_heard_to_its_end_is_not_truncated() -> None:
    book = spoken(conversing()) >> 0.5 >> PlaybackMarked("1.1") >> SPEAKS
    assert book.count(TruncateItem) == 0


def test_r09_nor_when_only_its_mark_is_missing() -> None:
    assert spoken(conversing()) >> 0.4 >> SPEAKS << ClearPlayback()


def test_r09_an_item_that_never_sounded_is_deleted_when_its_response_is_over() -> None:
    book = turn(conversing()) << ... >> ResponseCreated(1, "r1", 1) >> ItemAdded(1, "r1", "i1") >> SpeechStarted(1, "u2")
    book = book << CancelResponse(1, "r1") >> ResponseDone(1, "r1", STOPPED) << DeleteItem(1, "i1")
    assert book.call.parts.history.seed() == []


def test_r09_echoes_of_flushed_marks_are_told_apart() -> None:
    book = stopped(conversing()) >> ResponseDone(1, "r1", STOPPED) >> SpeechStopped(1, "u1") >> TurnCommitted(1, "u1")
    book = speaking(book >> 0.15 << ..., "r2", "i2")
    book = book >> PlaybackMarked("1.1") << Discard(Refusal.STALE_MARK) >> 0.1
    book = book >> SpeechStarted(1, "u2") << ClearPlayback() << CancelResponse(1, "r2")
    assert book << TruncateItem(1, "i2", 100)


@pytest.mark.parametrize("event_id", ["truncate-i1", None])
def test_r09_a_refused_truncate_is_sent_once_more_with_what_exists(event_id: str | None) -> None:
    refused = ModelErred(1, "invalid_value", "Audio content of 50ms is already shorter than 100ms", event_id)
    book = stopped(conversing()) >> refused << TruncateItem(1, "i1", 50)
    assert book >> refused


def test_r09_a_truncate_that_arrived_is_not_sent_again() -> None:
    refused = ModelErred(1, "invalid_value", "Audio content of 50ms is already shorter than 100ms", "truncate-i1")
    assert stopped(conversing()) >> ItemTruncated(1, "i1", 100) >> refused


# --- R10


@pytest.mark.parametrize("status", ResponseStatus)
def test_r10_every_end_of_a_response_leaves_the_guard_idle(status: ResponseStatus) -> None:
    book = speaking(conversing()) >> ResponseDone(1, "r1", status) << ...
    assert book.call.parts.guard.idle


def test_r10_create_to_created() -> None:
    book = conversing(created_limit_s=1.0, failed_backoff_s=0.5) >> TextInjected("x") << ... >> 1.499999
    assert book >> 0.000001 << CreateResponse(1, 2, Purpose.INJECTED_TEXT, "say x")


def test_r10_created_to_first_audio() -> None:
    book = turn(conversing(first_audio_limit_s=2.0)) << ... >> ResponseCreated(1, "r1", 1) >> 1.999999
    book = book >> 0.000001 << Note("the response produces nothing") << CancelResponse(1, "r1")
    book = book >> 0.2 >> ResponseDone(1, "r1", STOPPED)
    assert book >> 0.299999 >> 0.000001 << CreateResponse(1, 2, Purpose.RETRY)


def test_r10_gap_between_deltas() -> None:
    book = speaking(conversing(audio_gap_limit_s=1.0)) >> 0.999999
    book = book >> 0.000001 << Note("the response has stopped in the middle") << CancelResponse(1, "r1")
    book = book >> ResponseDone(1, "r1", STOPPED) >> PlaybackMarked("1.1")
    assert not book.call.parts.playback.speaking


def test_r10_anything_of_the_response_is_progress() -> None:
    book = turn(conversing(first_audio_limit_s=2.0, audio_gap_limit_s=1.0)) << ... >> ResponseCreated(1, "r1", 1) >> 1.9
    for event in (
        ItemAdded(1, "r1", "i1"),
        ModelTranscript(1, "r1", "i1", "x"),
        ModelAudio(1, "r1", "i1", AUDIO),
        ModelAudioEnded(1, "r1", "i1"),
    ):
        book = book >> event << ... >> 0.9
    assert book.count(CancelResponse) == 0


def test_r10_cancel_to_done() -> None:
    book = stopped(conversing(done_limit_s=3.0)) >> SpeechStopped(1, "u1") >> TurnCommitted(1, "u1") >> 0.15
    book = book << Refuse(Purpose.TURN, Refusal.RESPONSE_ACTIVE, waits=True) >> 2.849999
    book = book >> 0.000001 << Note("the end of the cancelled response was not reported") << CreateResponse(1, 1, Purpose.TURN)
    assert book >> ResponseCreated(1, "r2", 1) >> ResponseDone(1, "r1", STOPPED) << Discard(Refusal.DUPLICATE)


def test_r10_tool_to_answer() -> None:
    book = speaking(conversing(tool_limit_s=10.0)) >> ToolCalled(1, "r1", "i2", "t1", "look", "{}") << ...
    book = book >> ResponseDone(1, "r1", DONE) << ... >> PlaybackMarked("1.1") >> 9.999999
    book = book >> 0.000001 << SendToolResult(1, "t1", '{"error": "the tool did not answer in time"}')
    assert book << CreateResponse(1, 1, Purpose.TOOL_RESULT)


def test_r10_mark_to_echo() -> None:
    book = spoken(conversing(mark_grace_s=2.0)) >> 2.399999
    assert book.call.parts.playback.speaking
    book = book >> 0.000001 << Note("a playback mark was not echoed: the clock is believed")
    assert not book.call.parts.playback.speaking


def test_r10_a_response_that_we_never_knew_blocks_ours_and_is_stopped() -> None:
    message = "Conversation already has an active response in progress: resp_X. Wait until the response is finished."
    book = turn(conversing(blocked_limit_s=5.0)) << ... >> ModelErred(1, ALREADY_ACTIVE, message, "create-1") >> 3.0
    book = book << Refuse(Purpose.WATCHDOG, Refusal.RESPONSE_ACTIVE) >> 1.999999
    book = book >> 0.000001 << Note("an unknown response is in the way") << CancelResponse(1, "resp_X")
    assert book >> ResponseDone(1, "resp_X", STOPPED) << CreateResponse(1, 2, Purpose.TURN)


def test_r10_or_waited_for_in_vain_and_asked_again_but_not_for_ever() -> None:
    blocked = ModelErred(1, ALREADY_ACTIVE, "one is active")
    book = conversing(blocked_limit_s=1.0, failed_retries=1, failed_backoff_s=0.5) >> TextInjected("x") << ... >> blocked >> 1.0
    book = (
        book
        << Note("an unknown response is in the way")
        >> 0.5
        << CreateResponse(1, 2, Purpose.INJECTED_TEXT, "say x")
        >> blocked
    )
    book = book >> 1.0 << Note("an unknown response is in the way")
    assert book << HangUp("the model fails: no reason given")


def test_r10_closing_leaves_nothing() -> None:
    book = stopped(conversing()) >> CallerHungUp("stop") << Close("stop")
    assert book.call.next_deadline() is None


def test_r10_a_lost_session_takes_its_response_along() -> None:
    book = speaking(greeting()) >> SessionLost(1, "gone") << OpenSession(2)
    assert book.call.parts.guard.idle
    assert book >> SessionReady(2)
