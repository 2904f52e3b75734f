"""Goodbye, apology, hang-up: what the guarantees R16, R17 and R25 leave out."""

from tests.core.playbook import call_with, conversing, greeting, speaking, spoken, started, turn
from trio_voice.core.commands import (
    CancelResponse,
    ClearPlayback,
    Close,
    CreateResponse,
    Discard,
    HangUp,
    Note,
    PlayAudio,
    Purpose,
    Refusal,
    Refuse,
    SendMark,
    TruncateItem,
)
from trio_voice.core.deadlines import Timer
from trio_voice.core.ending import may_be_kept
from trio_voice.core.events import (
    CallerHungUp,
    FatalErrorRaised,
    HangUpAsked,
    ModelAudio,
    PlaybackMarked,
    ResponseCreated,
    ResponseDone,
    ResponseStatus,
    SessionLost,
    SpeechStarted,
    SpeechStopped,
    TextInjected,
    ToolCalled,
    ToolFinished,
)
from trio_voice.core.states import CallState

AUDIO = b"\x80" * 1600  # 200 ms


def test_asked_before_there_is_a_session_it_hangs_up() -> None:
    assert started() >> HangUpAsked("operator") << HangUp("operator")


def test_a_farewell_is_asked_for_at_once_and_heard_to_its_end() -> None:
    book = conversing() >> HangUpAsked("the server is ending", farewell=True) << CreateResponse(1, 1, Purpose.FAREWELL, "bye")
    book = book >> ResponseCreated(1, "r2", 1) >> ModelAudio(1, "r2", "i2", AUDIO) << ...
    book = book >> ResponseDone(1, "r2", ResponseStatus.COMPLETED) << ... >> 0.2 >> PlaybackMarked("2.1")
    assert book << HangUp("the server is ending")


def test_a_farewell_cuts_off_what_is_being_said() -> None:
    book = speaking(conversing(), ms=4000) >> 0.1 >> HangUpAsked("ending", farewell=True)
    assert book << ClearPlayback() << CancelResponse << TruncateItem << ...


def test_a_caller_who_speaks_during_a_farewell_does_not_keep_the_call() -> None:
    book = conversing() >> HangUpAsked("ending", farewell=True) << ... >> ResponseCreated(1, "r2", 1)
    book = book >> ModelAudio(1, "r2", "i2", AUDIO) << ... >> SpeechStarted(1, "u1") << ...
    assert book.call.state is CallState.GOODBYE


def test_a_farewell_without_a_session_is_an_apology() -> None:
    book = started(call_with(b"s" * 8000)) >> HangUpAsked("ending", farewell=True)
    book = book << PlayAudio << ... >> 1.0 >> PlaybackMarked("2.3")
    assert book << HangUp("ending")


def test_a_reply_that_is_on_its_way_is_the_goodbye() -> None:
    book = turn(conversing()) << ... >> HangUpAsked("done") >> ResponseCreated(1, "r1", 1) >> ModelAudio(1, "r1", "i1", AUDIO)
    book = book << PlayAudio << SendMark >> ResponseDone(1, "r1", ResponseStatus.COMPLETED)
    assert book >> 0.2 >> PlaybackMarked("1.1") << HangUp("done")


def test_the_tool_that_hangs_up_does_not_ask_for_a_reply_to_its_output() -> None:
    book = speaking(conversing(), ms=200) >> ToolCalled(1, "r1", "f1", "t1", "hang_up", "{}") << ...
    book = book >> HangUpAsked("done") >> ToolFinished("t1", "ok") << ...
    book = book >> ResponseDone(1, "r1", ResponseStatus.COMPLETED) << Refuse(Purpose.TOOL_RESULT, Refusal.HANG_UP_PENDING)
    assert book >> 0.2 >> PlaybackMarked("1.1") << HangUp("done")


def test_the_fallback_moves_with_the_goodbye() -> None:
    book = speaking(conversing(hang_up_fallback_s=6.0, mark_grace_s=2.0)) >> HangUpAsked("done")
    deadlines = book.call.parts.deadlines
    assert deadlines.at(Timer.HANG_UP_FALLBACK) == 6.2
    book = book >> ModelAudio(1, "r1", "i1", AUDIO * 30) << ...
    assert deadlines.at(Timer.HANG_UP_FALLBACK) == 0.2 + 6.4 + 2.0


def test_a_farewell_waits_for_what_is_being_said() -> None:
    book = speaking(conversing(longest_call_s=10.0, longest_call_notice_s=0.0, audio_gap_limit_s=60.0, idle_s=0.0)) >> 9.8 << ...
    book = book >> ResponseDone(1, "r1", ResponseStatus.COMPLETED) << CreateResponse(1, 1, Purpose.FAREWELL, "bye")
    assert book.call.state is CallState.GOODBYE


def test_a_farewell_that_fails_is_no_reason_to_stay() -> None:
    book = conversing(idle_s=5.0, idle_prompts=0) >> 4.8 << CreateResponse(1, 1, Purpose.FAREWELL, "bye")
    book = book >> ResponseCreated(1, "r1", 1) >> ResponseDone(1, "r1", ResponseStatus.FAILED)
    assert book << HangUp("the caller is silent")


def test_a_farewell_survives_the_session_that_should_say_it() -> None:
    book = conversing(idle_s=5.0, idle_prompts=0) >> 4.8 << ... >> SessionLost(1, "gone") << ...
    assert book.call.parts.guard.waiting_for is Purpose.FAREWELL
    assert book.call.state is CallState.GOODBYE


def test_one_that_waited_is_not_said_when_the_caller_keeps_the_call() -> None:
    book = speaking(conversing(marks=False), ms=2000) >> ResponseDone(1, "r1", ResponseStatus.COMPLETED)
    parts = book.call.parts
    parts.standing.call = CallState.GOODBYE
    book = book >> TextInjected("x") << Refuse(Purpose.INJECTED_TEXT, Refusal.HANG_UP_PENDING)
    book = book >> 0.1 >> SpeechStarted(1, "u1") << Note("the caller keeps the call") << ClearPlayback() << ...
    assert parts.guard.waiting is None
    assert parts.standing.end_reason == ""


def test_what_failed_is_not_asked_again_during_the_goodbye() -> None:
    book = spoken(conversing()) >> ResponseCreated(1, "r2") >> ResponseDone(1, "r2", ResponseStatus.FAILED) >> HangUpAsked("done")
    book = book << Refuse(Purpose.RETRY, Refusal.HANG_UP_PENDING)
    assert book.call.parts.deadlines.at(Timer.RETRY) is None


def test_who_may_keep_a_call() -> None:
    parts = conversing().call.parts
    assert may_be_kept(parts)
    parts.deadlines.cancel(Timer.LONGEST_CALL)
    assert not may_be_kept(parts)
    assert not may_be_kept(conversing(hang_up_keep_on_speech=False).call.parts)


def test_the_longest_call_does_not_begin_another_goodbye() -> None:
    book = spoken(conversing(longest_call_s=10.0, idle_s=0.0, marks=False), ms=20_000) >> HangUpAsked("done") >> 9.8
    assert book.count(CreateResponse) == 0
    assert book.call.parts.standing.end_reason == "done"


def test_an_apology_takes_the_place_of_a_goodbye() -> None:
    book = spoken(conversing()) >> HangUpAsked("done") >> 0.1 >> FatalErrorRaised("bug") << Note("REALTIME_FATAL: bug")
    assert book << ClearPlayback() << ... >> CallerHungUp("stop") << Close("bug")


def test_an_apology_leaves_no_other_deadline() -> None:
    book = greeting() >> TextInjected("x") << ... >> 1.0
    book.call.parts.apology = b"s" * 800
    book = book >> FatalErrorRaised("bug") << ...
    assert book.call.parts.deadlines.armed() == {Timer.MARK, Timer.HANG_UP_FALLBACK}


def test_an_apology_that_is_long_is_heard() -> None:
    book = started(call_with(b"s" * 80_000, marks=False)) >> FatalErrorRaised("bug") << ... >> 9.999999
    assert book >> 0.000001 << HangUp("bug")


def test_an_apology_does_not_wait_for_the_cancel() -> None:
    book = speaking(conversing()) >> FatalErrorRaised("bug") << Note("REALTIME_FATAL: bug") << ClearPlayback()
    assert book << CancelResponse(1, "r1") << ... >> 0.1
    assert book.call.state is CallState.HANGING_UP


def test_a_carrier_that_goes_on_is_not_given_up() -> None:
    from trio_voice.core.events import CallerAudio

    book = conversing(calibrated=False, media_limit_s=10.0, idle_s=0.0) >> 9.0 >> CallerAudio(b"x") << ... >> 9.999999
    assert book.timers.count(Timer.MEDIA) == 1
    assert book >> 0.000001 << HangUp("the carrier sends no audio")


def test_asking_twice() -> None:
    assert spoken(conversing()) >> HangUpAsked("a") >> HangUpAsked("b") << Discard(Refusal.HANG_UP_PENDING)


def test_a_farewell_that_the_server_asks_for_during_a_goodbye_takes_the_caller_s_right_to_keep_the_call() -> None:
    book = speaking(conversing(), ms=5000) >> HangUpAsked("bye") >> HangUpAsked("the server is ending", farewell=True)
    assert book << Discard(Refusal.HANG_UP_PENDING) >> 0.3 >> SpeechStarted(1, "u1") << Discard(Refusal.HANG_UP_PENDING)


def test_a_call_that_is_kept_goes_on_beyond_the_fallback() -> None:
    book = spoken(conversing(idle_s=0.0), ms=2000) >> HangUpAsked("done") >> 0.1 >> SpeechStarted(1, "u1") << ... >> 30.0
    assert book
    assert book.call.state is CallState.CONVERSING


def test_a_cough_during_the_goodbye_gives_it_more_time() -> None:
    book = spoken(conversing(barge_in_confirm_ms=300, hang_up_fallback_s=1.0), ms=1000) >> HangUpAsked("done") >> 0.3
    before = book.call.parts.deadlines.at(Timer.HANG_UP_FALLBACK)
    book = book >> SpeechStarted(1, "u1") << ClearPlayback() >> 0.2 >> SpeechStopped(1, "u1") << Discard(Refusal.TOO_SHORT) << ...
    after = book.call.parts.deadlines.at(Timer.HANG_UP_FALLBACK)
    assert before is not None
    assert after is not None
    assert round(after - before, 6) == 0.2
