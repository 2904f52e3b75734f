"""Sessions come and go: what the guarantee R26 leaves out."""

from tests.core.playbook import FRAME, call_with, conversing, greeting, hear, speaking, spoken, started
from trio_voice.core.commands import (
    AddText,
    AppendAudio,
    CancelResponse,
    CloseSession,
    CreateResponse,
    Discard,
    HangUp,
    Note,
    OpenSession,
    Purpose,
    Refusal,
    SendMark,
)
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import (
    CallerAudio,
    CallStarted,
    DigitPressed,
    FatalErrorRaised,
    HangUpAsked,
    ItemAdded,
    JobStarted,
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
    ToolStarted,
    TurnCommitted,
)
from trio_voice.core.states import CallState

DONE = ResponseStatus.COMPLETED


def test_a_second_start_is_a_duplicate() -> None:
    assert started() >> CallStarted("CA1") << Discard(Refusal.DUPLICATE) >> SessionReady(1) << ...
    assert conversing() >> CallStarted("CA1") << Discard(Refusal.DUPLICATE)


def test_the_first_session_never_comes() -> None:
    book = (
        started(session_ready_limit_s=4.0, first_session_limit_s=10.0) >> 4.0 << CloseSession(1) << OpenSession(2, 0.25) >> 4.25
    )
    book = book << CloseSession(2) << OpenSession(3, 0.5) >> 1.749999
    assert book >> 0.000001 << HangUp("no model session within the limit")


def test_a_limit_that_nobody_waits_for_any_more() -> None:
    book = conversing(reconnect_limit_s=5.0, idle_s=0.0) >> SessionLost(1, "gone") << ... >> SessionReady(2) >> 100.0
    assert book.call.state is CallState.CONVERSING


def test_what_is_heard_gets_its_last_mark_without_the_model() -> None:
    book = speaking(conversing(), ms=100) >> SessionLost(1, "gone") << SendMark("1.1") << OpenSession(2) >> 0.1
    book = book >> PlaybackMarked("1.1")
    assert not book.call.parts.playback.speaking


def test_silent_items_of_a_lost_session_are_not_deleted_in_the_next() -> None:
    book = conversing() >> ResponseCreated(1, "r1") >> ItemAdded(1, "r1", "i1") >> SessionLost(1, "gone") << ...
    book = book >> SessionReady(2) << CreateResponse(2, 1, Purpose.RETRY) >> ResponseCreated(2, "r2", 1)
    book = book >> SpeechStarted(2, "u1") << CancelResponse(2, "r2")
    assert book >> ResponseDone(2, "r2", ResponseStatus.CANCELLED)


def test_a_text_that_was_begun_is_not_said_again() -> None:
    book = spoken(greeting(), ms=100) >> SessionLost(1, "gone") << OpenSession(2) >> SessionReady(2)
    assert book.call.state is CallState.GREETING  # it is still being heard
    assert book >> 0.1 >> PlaybackMarked("1.1") << Note("the greeting is over")


def test_nothing_is_replaced_while_an_apology_is_heard() -> None:
    book = started(call_with(b"s" * 8000)) >> SessionReady(1) << ... >> FatalErrorRaised("bug") << ...
    assert book >> OutboxOverran("model", 1)
    assert book >> SessionLost(1, "gone") >> SessionReady(2) << Discard(Refusal.STALE_SESSION)


def test_nothing_but_the_end_is_waited_for_while_an_apology_is_heard() -> None:
    book = started(call_with(b"s" * 8000)) >> SessionReady(1) << ... >> FatalErrorRaised("bug") << ...
    of_the_end = book.call.parts.deadlines.armed()
    book = book >> SpeechStarted(1, "u1") << ... >> SpeechStopped(1, "u1") << ... >> TurnCommitted(1, "u1") << ...
    book = book >> DigitPressed("1") >> ToolStarted("t", 1.0) << ... >> JobStarted(1, 5.0) >> TextInjected("x") << ...
    assert book.call.parts.deadlines.armed() == of_the_end == {Timer.MARK, Timer.HANG_UP_FALLBACK}


def test_nothing_is_replaced_where_nothing_serves() -> None:
    assert started() >> OutboxOverran("model") >> SessionReady(1) << ...


def test_an_overrun_without_a_number_is_the_serving_sessions() -> None:
    """So it stands in journals of before it had one."""
    assert conversing() >> OutboxOverran("model") << CloseSession(1) << OpenSession(2, 0.25)


def test_a_coming_session_that_does_not_read_ends_alone() -> None:
    book = conversing(session_age_limit_s=5.0, idle_s=0.0) >> SpeechStarted(1, "u1") >> 5.0 << OpenSession(2)
    book = book >> OutboxOverran("model", 2) << CloseSession(2) << OpenSession(3, 0.25) >> SessionReady(3)
    book = book >> OutboxOverran("model", 3) << CloseSession(3) << OpenSession(4, 0.5)
    assert book >> CallerAudio(FRAME) << AppendAudio(1, FRAME)
    assert book >> SpeechStopped(1, "u1") << ... >> TurnCommitted(1, "u1") << ... >> ResponseCreated(1, "r1")


def test_a_session_that_was_left_cannot_replace_the_one_that_serves_by_not_reading() -> None:
    book = conversing(idle_s=0.0) >> SessionLost(1, "gone") << OpenSession(2, 0.25) >> SessionReady(2)
    assert book >> OutboxOverran("model", 1) << Discard(Refusal.STALE_SESSION)
    assert book >> CallerAudio(FRAME) << AppendAudio(2, FRAME)


def test_a_replacement_is_forgiven_once_the_next_session_works() -> None:
    book = conversing(idle_s=0.0)
    for session in (1, 2, 3):
        book = book >> ResponseCreated(session, f"r{session}") >> ResponseDone(session, f"r{session}", DONE)
        book = book >> OutboxOverran("model", session) << CloseSession(session) << OpenSession(session + 1)
        book = book >> SessionReady(session + 1)
    assert book.call.state is CallState.CONVERSING


def test_the_spare_takes_over_at_once_when_the_serving_one_is_lost() -> None:
    book = conversing(session_age_limit_s=5.0, idle_s=0.0) >> SpeechStarted(1, "u1") >> 4.8 << ... >> 0.2 << ...
    book = book >> SessionReady(2) >> SessionLost(1, "gone") >> CallerAudio(FRAME) << AppendAudio(2, FRAME)
    assert book.count(OpenSession) == 2


def test_a_spare_that_is_lost_is_opened_again() -> None:
    book = conversing(session_age_limit_s=5.0, idle_s=0.0) >> SpeechStarted(1, "u1") >> 5.0 << OpenSession(2) >> SessionReady(2)
    book = book >> SessionLost(2, "gone") << OpenSession(3, 0.25)
    assert book >> SessionReady(3) >> CallerAudio(FRAME) << AppendAudio(1, FRAME)


def test_a_session_is_not_renewed_twice_at_the_same_time() -> None:
    book = conversing(idle_s=0.0) >> SpeechStarted(1, "u1")
    book.call.parts.deadlines.set(Timer.SESSION_AGE, 1.0)
    book = book >> 1.0 << OpenSession(2)
    book.call.parts.deadlines.set(Timer.SESSION_AGE, 2.0)
    assert book >> 1.0


def test_the_gap_is_handed_on_before_anything_new() -> None:
    book = hear(conversing(gap_audio_ms=40) >> SessionLost(1, "gone") << ..., 3) >> SessionReady(2)
    book = book << AppendAudio(2, FRAME) << AppendAudio(2, FRAME) >> CallerAudio(b"now") << AppendAudio(2, b"now")
    assert book >> SessionLost(2, "gone") << ... >> SessionReady(3)


def test_the_seed_is_told_once_and_not_remembered_again() -> None:
    book = conversing() >> ResponseCreated(1, "r1") >> ModelTranscript(1, "r1", "i1", "hello", final=True)
    book = book >> ResponseDone(1, "r1", DONE)
    for session in (2, 3):
        book = book >> SessionLost(session - 1, "gone") << OpenSession >> SessionReady(session)
        book = book << AddText(session, session - 1, "assistant", "hello")
    assert book.call.parts.history.seed() == [("assistant", "hello")]


def test_a_hang_up_ends_the_waiting_for_a_session() -> None:
    book = conversing() >> SessionLost(1, "gone") << ... >> HangUpAsked("operator") << HangUp("operator")
    assert book >> SessionReady(2) >> 4.999999
