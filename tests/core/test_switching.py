"""A session becomes another one: R30 and R32 in the core, and what goes wrong on the way."""

from tests.core.playbook import FRAME, Playbook, call_with, conversing, greeting, speaking, spoken, started
from trio_voice.core.commands import (
    AddText,
    AppendAudio,
    CancelResponse,
    ClearPlayback,
    CloseSession,
    CreateResponse,
    Discard,
    HangUp,
    Note,
    OpenSession,
    Purpose,
    Refusal,
    Refuse,
    ReportChange,
    RunTool,
    SendToolResult,
    UpdateSession,
)
from trio_voice.core.events import (
    CallerAudio,
    CallerTranscribed,
    CallStarted,
    ChangeApplied,
    ChangeAsked,
    ChangeRefused,
    HangUpAsked,
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
from trio_voice.core.states import ChangeState

DONE = ResponseStatus.COMPLETED
VOICE = ChangeAsked(1)
HAND_OFF = ChangeAsked(1, voice_changes=True, note="you are billing", reply=True)
TOLD = "The change of the voice or the agent could not be made ({}). Go on as you are."


def answered() -> Playbook:
    """Session 1 has spoken, and it was heard."""
    book = spoken(conversing(idle_s=0.0) >> ResponseCreated(1, "r0") << ..., "r0", "i0", 100)
    return (book >> 0.1 >> PlaybackMarked("1.1") << ...).shortened("answered()")


def transcribed() -> Playbook:
    """As `answered`, and the caller's words come as text."""
    book = conversing(idle_s=0.0) >> SpeechStarted(1, "u0") >> 1.0 >> SpeechStopped(1, "u0") >> TurnCommitted(1, "u0")
    book = spoken(book >> CallerTranscribed(1, "u0", "hello") >> 0.15 << CreateResponse, "r0", "i0", 100)
    return (book >> ModelTranscript(1, "r9", "i9", "x") << ... >> 0.1 >> PlaybackMarked("1.1") << ...).shortened("transcribed()")


# --- R30


def test_r30_a_voice_that_nobody_has_heard_yet_changes_in_place() -> None:
    book = conversing(idle_s=0.0) >> VOICE << UpdateSession(1, 1) >> TextInjected("hi")
    book = book << Refuse(Purpose.INJECTED_TEXT, Refusal.CHANGING, waits=True) >> ChangeApplied(1, 1)
    assert book << ReportChange(1) << CreateResponse(1, 1, Purpose.INJECTED_TEXT, "say hi")


def test_r30_a_voice_that_was_heard_changes_by_a_second_session_with_what_was_said() -> None:
    book = transcribed() >> VOICE << OpenSession(2, 0.0, 1) >> CallerAudio(FRAME) << AppendAudio(1, FRAME) >> SessionReady(2)
    book = book << CloseSession(1) << AddText(2, 1, "user", "hello") << AppendAudio(2, FRAME) << ReportChange(1)
    assert book >> CallerAudio(FRAME) << AppendAudio(2, FRAME)


def test_r30_it_waits_until_what_is_said_was_heard() -> None:
    book = speaking(answered() >> ResponseCreated(1, "r1"), ms=100) >> VOICE << OpenSession(2, 0.0, 1) >> SessionReady(2)
    book = book >> ResponseDone(1, "r1", DONE) << ... >> 0.099999
    assert book >> PlaybackMarked("1.2") << CloseSession(1) << ReportChange(1)


def test_r30_it_waits_for_the_caller_to_finish_and_the_new_voice_answers() -> None:
    book = transcribed() >> VOICE << OpenSession(2, 0.0, 1) >> SpeechStarted(1, "u1") >> SessionReady(2) >> CallerAudio(FRAME)
    book = book << AppendAudio(1, FRAME) >> SpeechStopped(1, "u1") >> TurnCommitted(1, "u1") >> 0.15
    book = book << Refuse(Purpose.TURN, Refusal.CHANGING, waits=True) >> CallerTranscribed(1, "u1", "and you?")
    book = book << CloseSession(1) << AddText(2, 1, "user", "hello") << AddText(2, 2, "user", "and you?") << ReportChange(1)
    assert book << CreateResponse(2, 2, Purpose.TURN)


def test_r30_words_that_do_not_come_are_waited_for_a_second() -> None:
    book = transcribed() >> VOICE << ... >> SpeechStarted(1, "u1") >> SessionReady(2) >> SpeechStopped(1, "u1")
    book = book >> TurnCommitted(1, "u1") >> 0.15 << Refuse(Purpose.TURN, Refusal.CHANGING, waits=True) >> 0.999999
    assert book >> 0.000001 << Note("the words of a turn have not come") << CloseSession(1) << ...


def test_r30_those_of_two_turns_together_whatever_comes_meanwhile() -> None:
    book = transcribed() >> VOICE << ... >> SpeechStarted(1, "u1") >> SessionReady(2) >> TurnCommitted(1, "u1")
    book = book >> TurnCommitted(1, "u2") >> SpeechStopped(1, "u2") >> 0.15
    book = book << Refuse(Purpose.TURN, Refusal.CHANGING, waits=True) >> 0.5 >> CallerTranscribed(1, "u1", "and") >> 0.499999
    assert book >> 0.000001 << Note("the words of a turn have not come") << CloseSession(1) << ...


def test_words_that_have_come_are_waited_for_no_more() -> None:
    book = transcribed() >> VOICE << ... >> SpeechStarted(1, "u1") >> SessionReady(2) >> SpeechStopped(1, "u1")
    book = book >> TurnCommitted(1, "u1") >> 0.15 << Refuse(Purpose.TURN, Refusal.CHANGING, waits=True)
    assert book >> SpeechStarted(1, "u2") >> CallerTranscribed(1, "u1", "and you?") >> 10.0


def test_r30_the_words_of_the_first_turn_are_waited_for_where_they_are_known_to_come() -> None:
    book = started(greeting=False, idle_s=0.0) >> SessionReady(1, transcribes=True) >> SpeechStarted(1, "u1") >> 1.0
    book = book >> SpeechStopped(1, "u1") >> TurnCommitted(1, "u1") >> 0.15 << CreateResponse >> ResponseCreated(1, "r1", 1)
    book = book >> ResponseDone(1, "r1", DONE) >> VOICE << OpenSession(2, 0.0, 1) >> SessionReady(2, transcribes=True)
    assert book >> CallerTranscribed(1, "u1", "hello") << CloseSession(1) << AddText(2, 1, "user", "hello") << ReportChange(1)


def test_r30_without_transcripts_the_session_that_heard_the_turn_answers_it_first() -> None:
    book = answered() >> SpeechStarted(1, "u1") >> VOICE << OpenSession(2, 0.0, 1) >> SessionReady(2) >> SpeechStopped(1, "u1")
    book = spoken(book >> TurnCommitted(1, "u1") >> 0.15 << CreateResponse(1, 1, Purpose.TURN), ms=100)
    assert book >> 0.1 >> PlaybackMarked("1.2") << CloseSession(1) << ReportChange(1)


def test_r30_a_text_that_waits_for_the_new_voice_cuts_a_long_reply_off() -> None:
    book = spoken(answered() >> ResponseCreated(1, "r1"), ms=9000) >> VOICE << OpenSession(2, 0.0, 1)
    book = book >> TextInjected("sum") << Refuse(Purpose.INJECTED_TEXT, Refusal.RESPONSE_ACTIVE, waits=True) >> SessionReady(2)
    book = book >> 1.999999 << ... >> 0.000001 << ClearPlayback() << ...
    assert book.count(CreateResponse) == 1
    assert book.call.parts.standing.session == 2


def test_r30_what_cannot_be_had_leaves_the_old_session_serving() -> None:
    book = answered() >> VOICE << OpenSession(2, 0.0, 1) >> SessionLost(2, "no such voice", retryable=False)
    book = book << ReportChange(1, "no such voice") << AddText(1, 1, "system", TOLD.format("no such voice"))
    assert book >> CallerAudio(FRAME) << AppendAudio(1, FRAME) >> ChangeAsked(2) << OpenSession(3, 0.25, 2)


def test_r30_a_session_that_does_not_come_is_given_up_after_three_seconds() -> None:
    book = answered() >> VOICE << OpenSession(2, 0.0, 1) >> 2.999999
    book = book >> 0.000001 << CloseSession(2) << ReportChange(1, "the model did not answer in time") << AddText
    assert book >> SessionReady(2) << Discard(Refusal.STALE_SESSION)


def test_r30_a_session_that_is_ready_already_is_not_the_one_that_is_waited_for() -> None:
    book = answered() >> VOICE << OpenSession(2, 0.0, 1) >> SessionReady(1) << Discard(Refusal.STALE_SESSION) >> 2.999999
    assert book >> 0.000001 << CloseSession(2) << ReportChange(1, "the model did not answer in time") << AddText


def test_r30_it_is_tried_again_within_its_limit() -> None:
    book = answered() >> VOICE << OpenSession(2, 0.0, 1) >> SessionLost(2, "500") << OpenSession(3, 0.25, 1) >> 1.0
    book = book >> SessionReady(3) << CloseSession(1) << ReportChange(1)
    assert book.call.parts.sessions.setup == 1


# --- R32


def test_r32_another_agent_is_told_of_its_call_and_speaks() -> None:
    book = answered() >> HAND_OFF << OpenSession(2, 0.0, 1) >> SessionReady(2) << CloseSession(1) << ReportChange(1)
    assert book << AddText(2, 1, "system", "you are billing") << CreateResponse(2, 1, Purpose.HAND_OFF)


def test_r32_an_agent_with_the_same_voice_takes_over_in_place() -> None:
    asked = ChangeAsked(1, voice_changes=False, note="you are billing", reply=True)
    book = answered() >> asked << UpdateSession(1, 1) >> ChangeApplied(1, 1) << ReportChange(1)
    assert book << AddText(1, 1, "system", "you are billing") << CreateResponse(1, 1, Purpose.HAND_OFF)


def test_r32_a_tool_that_hands_over_is_answered_by_the_new_agent() -> None:
    book = answered() >> ResponseCreated(1, "r1") >> ToolCalled(1, "r1", "f1", "t1", "transfer", "{}")
    book = book << RunTool("t1", "transfer", "{}", 1) >> HAND_OFF << OpenSession(2, 0.0, 1)
    book = book >> ToolFinished("t1", "ok") << SendToolResult(1, "t1", "ok") >> ResponseDone(1, "r1", DONE)
    book = book << Refuse(Purpose.TOOL_RESULT, Refusal.CHANGING, waits=True) >> SessionReady(2) << CloseSession(1)
    book = book << AddText(2, 1, "system", "Result of transfer: ok") << ReportChange(1)
    book = book << AddText(2, 2, "system", "you are billing") << CreateResponse(2, 1, Purpose.HAND_OFF)
    assert book >> ToolCalled(2, "r2", "f2", "t2", "bill", "{}") << Discard(Refusal.UNKNOWN_RESPONSE)


def test_r32_a_tool_that_goes_on_after_the_hand_over_brings_one_reply_about() -> None:
    book = answered() >> ResponseCreated(1, "r1") >> ToolCalled(1, "r1", "f1", "t1", "transfer", "{}") << ...
    book = book >> HAND_OFF << ... >> ResponseDone(1, "r1", DONE) >> SessionReady(2) << ...
    assert book.count(CreateResponse) == 0
    book = book >> ToolFinished("t1", "ok") << AddText(2, 2, "system", "Result of transfer: ok")
    assert book << CreateResponse(2, 1, Purpose.TOOL_RESULT)


def test_r32_the_new_agent_s_setup_is_that_of_every_session_after_it() -> None:
    book = answered() >> HAND_OFF << ... >> SessionReady(2) << ... >> SessionLost(2, "gone") << OpenSession(3, 0.25, 1)
    assert book >> SessionReady(3) << ...
    assert book.call.parts.history.seed() == [("system", "you are billing")]


# --- updates that go wrong


def test_a_refused_update_leaves_the_session_as_it_was() -> None:
    book = conversing(idle_s=0.0) >> VOICE << UpdateSession(1, 1) >> ChangeRefused(1, 1, "no") << ReportChange(1, "no") << AddText
    assert book >> ChangeRefused(1, 1, "no") << Discard(Refusal.TOO_LATE)


def test_an_update_that_is_not_answered_is_given_up_and_may_still_be_made() -> None:
    book = conversing(idle_s=0.0) >> VOICE << UpdateSession(1, 1) >> 2.999999
    book = book >> 0.000001 << ReportChange(1, "the model did not answer in time") << AddText
    book = book >> ChangeApplied(1, 1) << Note("a change that had been given up was made") << ReportChange(1)
    assert book >> SessionLost(1, "gone") << OpenSession(2, 0.25, 1)


def test_an_update_that_could_not_be_sent() -> None:
    book = conversing(idle_s=0.0) >> VOICE << UpdateSession(1, 1) >> SendFailed(1, "update-1")
    assert book << ReportChange(1, "it could not be sent to the model") << AddText


def test_the_session_dies_while_it_is_updated() -> None:
    book = conversing(idle_s=0.0) >> VOICE << UpdateSession(1, 1) >> SessionLost(1, "gone") << OpenSession(2, 0.25, 1)
    assert book >> SessionReady(2) << ReportChange(1)


def test_the_session_dies_while_another_is_opened_or_ready() -> None:
    book = answered() >> VOICE << OpenSession(2, 0.0, 1) >> SessionLost(1, "gone") >> 5.0 >> SessionReady(2) << ReportChange(1)
    assert book.call.parts.standing.session == 2
    book = answered() >> SpeechStarted(1, "u1") >> VOICE << OpenSession(2, 0.0, 1) >> SessionReady(2) >> SessionLost(1, "gone")
    assert book << ReportChange(1)


def test_a_spare_that_is_lost_is_opened_again_within_a_new_limit() -> None:
    book = answered() >> SpeechStarted(1, "u1") >> VOICE << OpenSession(2, 0.0, 1) >> SessionReady(2) >> 5.0
    book = book >> SessionLost(2, "gone") << OpenSession(3, 0.25, 1) >> 2.999999
    assert book >> 0.000001 << CloseSession(3) << ReportChange(1, "the model did not answer in time") << AddText


def test_a_setup_that_no_session_takes_is_given_up_even_if_none_serves() -> None:
    book = answered() >> VOICE << OpenSession(2, 0.0, 1) >> SessionLost(1, "gone")
    book = book >> SessionLost(2, "no such voice", retryable=False) << ReportChange(1, "no such voice") << OpenSession(3, 0.25, 0)
    assert book >> SessionReady(3) << AddText(3, 1, "system", TOLD.format("no such voice"))


# --- asked at the wrong moment


def test_one_change_at_a_time() -> None:
    book = answered() >> VOICE << OpenSession(2, 0.0, 1) >> ChangeAsked(2) << ReportChange(2, "another change is being made")
    book = book >> VOICE << Discard(Refusal.DUPLICATE)
    assert book >> SessionReady(2) << CloseSession(1) << ReportChange(1)


def test_nothing_is_changed_when_the_call_is_ending() -> None:
    book = answered() >> SpeechStarted(1, "u1") >> VOICE << OpenSession(2, 0.0, 1) >> SessionReady(2) >> HangUpAsked("done")
    book = book << CloseSession(2) << ReportChange(1, "the call is ending") << HangUp("done")
    book = spoken(conversing(), ms=1000) >> HangUpAsked("done") >> VOICE << ReportChange(1, "the call is ending")
    assert book.call.parts.standing.change is ChangeState.SETTLED


def test_a_call_that_ends_without_a_session_keeps_the_one_that_comes() -> None:
    book = speaking(answered() >> ResponseCreated(1, "r1"), ms=1000) >> VOICE << ... >> SessionLost(1, "gone") << ...
    book = book >> HangUpAsked("done") << ReportChange(1, "the call is ending") << Refuse >> SessionReady(2)
    assert book
    assert book.call.parts.sessions.setup == 1


def test_the_greeting_is_said_first() -> None:
    book = spoken(greeting(), ms=100) >> ChangeAsked(1, voice_changes=False) >> 0.1 >> PlaybackMarked("1.1")
    assert book << Note("the greeting is over") << UpdateSession(1, 1)


def test_before_the_first_session_the_change_takes_its_place() -> None:
    book = started() >> VOICE << CloseSession(1) << OpenSession(2, 0.0, 1) >> SessionReady(2) << ReportChange(1)
    assert book << CreateResponse(2, 1, Purpose.GREETING, "greet")


def test_nothing_is_changed_before_the_call_has_begun() -> None:
    book = Playbook(call_with()) >> VOICE << ReportChange(1, "the call has not begun") >> CallStarted("CA1") << OpenSession(1)
    assert book >> ChangeAsked(2) << CloseSession(1) << OpenSession(2, 0.0, 2)


def test_who_keeps_a_call_keeps_its_renewal() -> None:
    book = conversing(session_age_limit_s=5.0, idle_s=0.0) >> SpeechStarted(1, "u1") >> 5.0 << OpenSession(2)
    book = speaking(book >> SpeechStopped(1, "u1"), ms=9000) >> VOICE << CloseSession(2) << OpenSession(3, 0.0, 1)
    book = book >> HangUpAsked("done") << CloseSession(3) << ReportChange(1, "the call is ending") >> 0.0 << OpenSession(4)
    book = book >> SpeechStarted(1, "u2") << Note("the caller keeps the call") << ...
    assert book >> SessionReady(4) >> SessionLost(1, "too old") >> CallerAudio(FRAME) << AppendAudio(4, FRAME)


def test_a_renewal_that_was_coming_gives_way() -> None:
    book = conversing(session_age_limit_s=5.0, idle_s=0.0) >> SpeechStarted(1, "u1") >> 5.0 << OpenSession(2)
    book = book >> ChangeAsked(1, voice_changes=False) << CloseSession(2) << OpenSession(3, 0.0, 1)
    book = book >> SessionLost(3, "no", retryable=False) << ReportChange(1, "no") << AddText >> 0.0
    assert book << OpenSession(4, 0.25, 0) >> SessionReady(4)


def test_a_renewal_waits_for_an_update() -> None:
    book = conversing(session_age_limit_s=5.0, idle_s=0.0, change_limit_s=4.0) >> 4.7 >> VOICE << UpdateSession(1, 1) >> 2.0
    assert book >> ChangeApplied(1, 1) << ReportChange(1) >> 2.2 << OpenSession(2, 0.0, 1)


def test_a_barge_in_reaches_the_old_session_while_the_new_one_waits() -> None:
    book = speaking(answered() >> ResponseCreated(1, "r1"), ms=1000) >> VOICE << ... >> SessionReady(2) >> 0.3
    book = book >> SpeechStarted(1, "u1") << ClearPlayback() << CancelResponse(1, "r1") << ...
    assert book.call.parts.standing.session == 1


def test_a_change_that_is_asked_for_in_a_gap_keeps_what_the_caller_says_meanwhile() -> None:
    book = answered() >> SessionLost(1, "gone") << OpenSession(2) >> CallerAudio(FRAME) >> VOICE
    book = book << CloseSession(2) << OpenSession(3, 0.0, 1) >> SessionReady(3) << AppendAudio(3, FRAME)
    assert book << ReportChange(1)


def test_a_greeting_that_waits_comes_before_a_change_and_does_not_hold_it_up() -> None:
    book = greeting(idle_s=0.0) >> ModelErred(1, "conversation_already_has_active_response", "active: resp_9.", "create-1")
    book = book >> ChangeAsked(1, voice_changes=False) >> ResponseDone(1, "resp_9", DONE)
    book = spoken(book << CreateResponse(1, 2, Purpose.GREETING, "greet"), "r2", "i2", 100) >> 0.1
    assert book >> PlaybackMarked("1.1") << Note("the greeting is over") << UpdateSession(1, 1)


def test_a_change_is_reported_once() -> None:
    book = conversing(idle_s=0.0) >> VOICE << UpdateSession(1, 1) >> ChangeApplied(1, 1) << ReportChange(1)
    assert book >> ChangeApplied(1, 1) << Discard(Refusal.DUPLICATE)


def test_words_that_a_lost_session_did_not_tell_hold_no_change_up() -> None:
    book = (
        transcribed()
        >> SpeechStarted(1, "u1")
        >> 1.0
        >> SpeechStopped(1, "u1")
        >> TurnCommitted(1, "u1")
        >> SessionLost(1, "gone")
    )
    book = book << OpenSession(2) >> SessionReady(2) << ...
    book = speaking(book, "r2", "i2", 0, 2) >> ResponseDone(2, "r2", DONE) >> VOICE << OpenSession(3, 0.0, 1) >> SessionReady(3)
    book = book << CloseSession(2) << ...
    assert book.count(ReportChange) == 1


def test_who_is_handed_the_call_before_it_begins_greets_and_speaks_once() -> None:
    book = started() >> HAND_OFF << CloseSession(1) << OpenSession(2, 0.0, 1) >> SessionReady(2) << ReportChange(1)
    book = book << AddText(2, 1, "system", "you are billing") << CreateResponse(2, 1, Purpose.GREETING, "greet")
    assert spoken(book, "r1", "i1", 100, 2) >> 0.1 >> PlaybackMarked("1.1") << Note("the greeting is over")
    assert started(greeting=False) >> HAND_OFF << ... >> SessionReady(2) << ReportChange(1) << AddText << Refuse << CreateResponse
