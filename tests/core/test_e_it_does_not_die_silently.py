"""Guarantees R24 to R27, as far as the core can prove them: state is declared, errors end cleanly, peers may go away."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import trio_voice
from tests.core.playbook import FRAME, Playbook, call_with, conversing, greeting, hear, speaking, spoken, started, turn
from trio_voice.core.call import Call
from trio_voice.core.commands import (
    AddText,
    AppendAudio,
    CancelResponse,
    ClearPlayback,
    Close,
    CloseSession,
    CreateResponse,
    Discard,
    HangUp,
    Note,
    OpenSession,
    PlayAudio,
    Purpose,
    Refusal,
    SendMark,
    SendToolResult,
)
from trio_voice.core.events import (
    CallerAudio,
    CallerHungUp,
    CallerTranscribed,
    Event,
    FatalErrorRaised,
    HangUpAsked,
    ModelAudio,
    ModelErred,
    ModelTranscript,
    OutboxOverran,
    PlaybackMarked,
    ResponseCreated,
    ResponseDone,
    ResponseStatus,
    SessionLost,
    SessionReady,
    SpeechStarted,
    SpeechStopped,
    TextInjected,
    ToolCalled,
    ToolFinished,
    TurnCommitted,
)
from trio_voice.core.states import CallState

AUDIO = b"\x80" * 1600  # 200 ms
DONE, STOPPED = ResponseStatus.COMPLETED, ResponseStatus.CANCELLED
SORRY = b"s" * 4000  # 500 ms
PACKAGE = Path(str(trio_voice.__path__[0]))


# --- R24


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_r24_nothing_peeks_at_attributes_by_name() -> None:
    peeks = {
        f"{name}:{node.lineno}"
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr", "setattr")
    }
    assert peeks == set()


def test_r24_no_attribute_is_made_outside_the_constructor() -> None:
    """Whatever has state is an attrs class or a struct, or declares its slots; only errors are plain classes."""
    plain = {
        f"{name}: {node.name}"
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not node.decorator_list and assigns_to_self(node) and not may_be_plain(node)
    }
    assert plain == set()


def assigns_to_self(node: ast.ClassDef) -> bool:
    return any(
        isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
        for statement in ast.walk(node)
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
    )


def may_be_plain(node: ast.ClassDef) -> bool:
    error = any(isinstance(base, ast.Name) and base.id.endswith(("Error", "Exception")) for base in node.bases)
    slots = any("__slots__" in ast.unparse(statement) for statement in node.body if isinstance(statement, ast.Assign))
    return error or slots


def test_r24_all_of_a_call_s_state_has_slots() -> None:
    seen: set[int] = set()

    def look(value: object) -> None:
        kind: type[Any] = type(value)
        if id(value) in seen or not attrs.has(kind):
            return
        seen.add(id(value))
        assert "__dict__" not in dir(value), kind
        for name in attrs.fields_dict(kind):
            look(object.__getattribute__(value, name))

    look(speaking(conversing()).call)
    assert len(seen) > 15


# --- R25


def test_r25_the_caller_hears_an_apology_and_the_call_ends() -> None:
    book = started(call_with(SORRY)) >> SessionReady(1) << ...
    book = speaking(book) >> 0.1 >> FatalErrorRaised("reader: KeyError") << Note("REALTIME_FATAL: reader: KeyError")
    book = book << ClearPlayback() << CancelResponse(1, "r1") << ...
    assert book.count(PlayAudio) == 3
    assert book.call.state is CallState.LEAVING
    book = book >> 0.5 >> PlaybackMarked("2.3") << HangUp("reader: KeyError")
    assert book >> CallerHungUp("stop") << Close("reader: KeyError")


def test_r25_where_there_is_nothing_to_say_it_ends_at_once() -> None:
    assert conversing() >> FatalErrorRaised("bug") << Note("REALTIME_FATAL: bug") << HangUp("bug")


def test_r25_it_does_not_wait_for_the_model() -> None:
    book = speaking(conversing()) >> 0.1 >> FatalErrorRaised("bug") << ...
    assert book.call.state is CallState.HANGING_UP


def test_r25_the_greeting_lock_is_released() -> None:
    book = started(call_with(SORRY)) >> SessionReady(1) << ... >> FatalErrorRaised("bug") << ...
    assert book.call.state is CallState.LEAVING


def test_r25_nobody_interrupts_an_apology_and_nothing_is_said_after_it() -> None:
    book = hear(started(call_with(SORRY)) >> SessionReady(1) << ..., 10) >> FatalErrorRaised("bug") << ...
    book = book >> SpeechStarted(1, "u1") << Discard(Refusal.CLOSING)
    book = book >> ResponseCreated(1, "late", 1) << CancelResponse(1, "late") >> ModelAudio(1, "late", "i9", AUDIO)
    book = book << Discard(Refusal.CANCELLED_RESPONSE) >> FatalErrorRaised("another") << Note("REALTIME_FATAL: another")
    book = book >> ModelErred(1, "insufficient_quota", "x") >> HangUpAsked("x") << Discard(Refusal.HANG_UP_PENDING)
    assert book >> 0.5 >> PlaybackMarked("2.2") << HangUp("bug")


def test_r25_nor_is_a_response_that_comes_late_for_a_request_that_was_given_up() -> None:
    book = (
        started(call_with(SORRY, created_limit_s=1.0)) >> SessionReady(1) << ... >> 1.0 << ... >> FatalErrorRaised("bug") << ...
    )
    assert book >> ResponseCreated(1, "late") << CancelResponse(1, "late")


def test_r25_an_apology_that_is_not_confirmed_is_not_waited_for() -> None:
    book = started(call_with(SORRY)) >> SessionReady(1) << ... >> FatalErrorRaised("bug") << ... >> 2.399999
    book = book >> 0.000001 << Note("a playback mark was not echoed: the clock is believed")
    assert book << HangUp("bug")


# --- R26


def test_r26_a_lost_session_is_replaced_and_told_the_conversation() -> None:
    book = turn(conversing()) << ... >> CallerTranscribed(1, "u1", "a table please") >> ResponseCreated(1, "r1", 1)
    book = book >> ModelTranscript(1, "r1", "i1", "for how many?", final=True) >> ModelAudio(1, "r1", "i1", AUDIO) << ...
    book = book >> ResponseDone(1, "r1", DONE) >> 0.2 >> PlaybackMarked("1.1")
    book = book >> SessionLost(1, "closed by the model (1001)") << OpenSession(2) >> 0.1 >> CallerAudio(b"four") >> 0.1
    book = book >> SessionReady(2) << AddText(2, 1, "user", "a table please") << AddText(2, 2, "assistant", "for how many?")
    assert book << AppendAudio(2, b"four") >> CallerAudio(b"at six") << AppendAudio(2, b"at six")


def test_r26_what_was_owed_is_asked_of_the_next() -> None:
    for book in (
        turn(conversing()) << ...,
        turn(conversing()) << ... >> ResponseCreated(1, "r1", 1),
        conversing() >> SpeechStarted(1, "u1") >> SpeechStopped(1, "u1") >> TurnCommitted(1, "u1"),
        conversing() >> SpeechStarted(1, "u1") >> TurnCommitted(1, "u1") >> SpeechStarted(1, "u2"),
    ):
        book = book >> SessionLost(1, "gone") << ... >> SessionReady(2)
        assert book << CreateResponse(2, book.call.parts.guard.number, Purpose.RETRY)


def test_r26_a_turn_is_owed_through_any_number_of_lost_sessions() -> None:
    book = turn(conversing()) << ... >> SessionLost(1, "gone") << ... >> SessionReady(2) << ... >> SpeechStarted(2, "u2")
    book = book >> SessionLost(2, "gone") << ... >> SessionReady(3)
    assert book << CreateResponse(3, 3, Purpose.RETRY)


def test_r26_beside_a_greeting_that_was_not_begun() -> None:
    book = greeting() >> SpeechStarted(1, "u1") << ... >> TurnCommitted(1, "u1") >> SessionLost(1, "gone") << ...
    book = book >> SessionReady(2) << CreateResponse(2, 2, Purpose.GREETING, "greet")
    book = book >> ResponseCreated(2, "r1", 2) >> ResponseDone(2, "r1", DONE) << Note("the greeting is over")
    assert book << CreateResponse(2, 3, Purpose.RETRY)


def test_r26_what_is_being_heard_goes_on() -> None:
    book = speaking(conversing(), ms=300) >> 0.1 >> SessionLost(1, "gone") << OpenSession(2, 0.0) << ...
    assert book.count(ClearPlayback) == 0
    assert book.call.parts.playback.speaking


def test_r26_reconnecting_backs_off_and_has_a_limit() -> None:
    book = conversing(reconnect_limit_s=4.0, reconnect_backoff_s=0.5)
    book = book >> ResponseCreated(1, "r1") >> ResponseDone(1, "r1", DONE)  # the session has worked
    book = book >> SessionLost(1, "gone") << OpenSession(2) >> 0.5 >> SessionLost(2, "gone") << OpenSession(3, 0.5)
    book = book >> 1.0 >> SessionLost(3, "gone") << OpenSession(4, 1.0) >> 2.499999
    assert book >> 0.000001 << HangUp("no model session within the limit")


def test_r26_an_opening_that_takes_too_long_is_given_up() -> None:
    book = conversing(session_ready_limit_s=3.0, reconnect_limit_s=10.0) >> SessionLost(1, "gone") << OpenSession(2, 0.25)
    book = book >> 3.25 << CloseSession(2) << OpenSession(3, 0.5)
    assert book >> SessionReady(2) << Discard(Refusal.STALE_SESSION)


def test_r26_a_peer_that_takes_every_session_and_drops_it_is_met_with_growing_pauses() -> None:
    book = conversing(idle_s=0.0)
    delays = []
    for session in range(1, 6):
        book = book >> SessionLost(session, "gone")
        delay_s = 0.25 * 2 ** (session - 1)
        book = book << OpenSession(session + 1, delay_s) >> delay_s >> SessionReady(session + 1)
        delays.append(delay_s)
    assert delays[-1] == 4.0


def test_r26_errors_that_no_retry_can_mend_are_not_retried() -> None:
    book = conversing() >> SessionLost(1, "invalid_api_key", retryable=False)
    assert book << HangUp("the model is not available: invalid_api_key")
    assert conversing() >> ModelErred(1, "insufficient_quota", "no money") << HangUp("the model refuses: insufficient_quota")


def test_r26_but_while_a_session_serves_a_renewal_that_fails_is_no_reason_to_end() -> None:
    book = conversing(session_age_limit_s=5.0, idle_s=0.0) >> 5.0 << OpenSession(2) >> 0.1
    book = book >> SessionLost(2, "insufficient_quota", retryable=False)
    book = book << Note("the session cannot be renewed: insufficient_quota") >> 100.0
    assert book >> CallerAudio(FRAME) << AppendAudio(1, FRAME)


def test_r26_a_session_is_renewed_between_turns() -> None:
    book = conversing(session_age_limit_s=5.0, idle_s=0.0) >> 4.0 >> SpeechStarted(1, "u1") >> 1.0 << OpenSession(2)
    book = book >> SessionReady(2) >> 1.0 >> SpeechStopped(1, "u1") >> TurnCommitted(1, "u1") >> 0.15 << CreateResponse
    book = spoken(book) >> 0.3 >> CallerAudio(FRAME) << AppendAudio(1, FRAME) >> 0.1
    book = book >> PlaybackMarked("1.1") << CloseSession(1) << AppendAudio(2, FRAME)  # no word of the caller's falls between
    book = book >> CallerAudio(FRAME) << AppendAudio(2, FRAME)
    assert book >> 4.999999 >> 0.000001 << OpenSession(3)


def test_r26_a_stale_session_s_events_are_dropped_by_number() -> None:
    book = conversing() >> SessionLost(1, "gone") << ... >> SpeechStarted(1, "u1") << Discard(Refusal.STALE_SESSION)
    book = book >> SessionReady(2) >> ResponseCreated(1, "r1") << Discard(Refusal.STALE_SESSION)
    book = book >> ModelErred(1, "insufficient_quota", "x") << Discard(Refusal.STALE_SESSION)
    book = book >> SessionLost(1, "again") << Discard(Refusal.STALE_SESSION)
    assert book >> SessionReady(7) << Discard(Refusal.STALE_SESSION)


@pytest.mark.parametrize(
    "event", [ModelErred(1, "brand_new_error", "?"), ModelErred(1, None, "?"), ModelErred(1, "x", "?", "text-1")]
)
def test_r26_an_unknown_error_ends_nothing(event: Event) -> None:
    assert speaking(conversing()) >> event >> 0.1 >> ModelAudio(1, "r1", "i1", AUDIO) << PlayAudio << SendMark


def test_r26_a_model_that_breaks_the_protocol_is_replaced_once() -> None:
    book = speaking(conversing()) >> ResponseCreated(1, "r2")
    book = book << Note << CloseSession(1) << OpenSession(2) << ... >> SessionReady(2) << ...
    book = book >> ModelErred(2, "x", "y")
    assert book.call.state is CallState.CONVERSING


def test_r26_the_tool_s_answer_survives_the_session_that_asked_for_it() -> None:
    asked = turn(conversing()) << ... >> ResponseCreated(1, "r1", 1) >> ToolCalled(1, "r1", "f1", "t1", "look", "{}") << ...
    book = asked >> ResponseDone(1, "r1", DONE) >> SessionLost(1, "gone") << ... >> ToolFinished("t1", "7")
    book = book >> SessionReady(2) << AddText(2, 1, "system", "Result of look: 7")
    assert book << CreateResponse(2, 2, Purpose.TOOL_RESULT)


def test_r26_and_is_told_in_words_to_a_successor_that_serves_already() -> None:
    asked = turn(conversing()) << ... >> ResponseCreated(1, "r1", 1) >> ToolCalled(1, "r1", "f1", "t1", "look", "{}") << ...
    book = asked >> ResponseDone(1, "r1", DONE) >> SessionLost(1, "gone") << ... >> SessionReady(2) << ...
    book = book >> ToolFinished("t1", "7") << AddText(2, 1, "system", "Result of look: 7")
    assert book << CreateResponse(2, 2, Purpose.TOOL_RESULT)
    assert book.count(SendToolResult) == 0


def test_r26_a_text_that_was_not_begun_is_said_by_the_next() -> None:
    book = conversing() >> TextInjected("x") << ... >> SessionLost(1, "gone") << ... >> SessionReady(2)
    assert book << CreateResponse(2, 2, Purpose.INJECTED_TEXT, "say x")


def test_r26_what_is_cut_off_without_a_session_is_cut_in_our_memory() -> None:
    book = conversing() >> ResponseCreated(1, "r1") >> ModelTranscript(1, "r1", "i1", "one two three four", final=True)
    book = book >> ModelAudio(1, "r1", "i1", AUDIO) << ... >> ResponseDone(1, "r1", DONE) << ... >> SessionLost(1, "gone") << ...
    book = book >> SessionReady(2) << AddText(2, 1, "assistant", "one two three four") >> 0.1
    book = book >> SpeechStarted(2, "u2") << ClearPlayback()
    assert book.call.parts.history.seed() == [("assistant", "one two ...")]


# --- R27


def test_r27_a_carrier_that_sends_nothing_is_gone() -> None:
    book = hear(conversing(media_limit_s=30.0, idle_s=0.0), 5) >> 29.999999
    assert book >> 0.000001 << HangUp("the carrier sends no audio") >> 5.0 << Close("the carrier sends no audio")


def test_r27_a_carrier_that_stops_reading_ends_the_call() -> None:
    assert speaking(conversing()) >> OutboxOverran("caller") << Close("the carrier does not read")


def test_r27_a_model_that_stops_reading_is_replaced() -> None:
    book = conversing() >> OutboxOverran("model", 1) << CloseSession(1) << OpenSession(2, 0.25) >> SessionReady(2)
    assert book >> OutboxOverran("model", 2) << HangUp("the model does not answer")


def test_r27_a_model_that_never_stops_talking_is_stopped() -> None:
    book = speaking(conversing(unheard_limit_s=1.0), ms=900) >> ModelAudio(1, "r1", "i1", AUDIO) << PlayAudio << SendMark
    book = book << Note("the response does not end") << CancelResponse(1, "r1")
    assert book >> ModelAudio(1, "r1", "i1", AUDIO) << Discard(Refusal.CANCELLED_RESPONSE)


@pytest.mark.parametrize("before", [lambda: Playbook(Call()), started, greeting, conversing, lambda: speaking(conversing())])
def test_r27_a_caller_may_go_at_any_moment(before: Callable[[], Playbook]) -> None:
    book = before() >> CallerHungUp("stop") << Close("stop")
    assert book.call.next_deadline() is None
