"""Guarantees R11 to R14: what interrupts the agent and what does not, and who owns the turn."""

from typing import Any

from tests.core.playbook import FRAME, Playbook, conversing, greeting, hear, speaking, spoken, started, turn
from trio_voice.core.commands import (
    CancelResponse,
    ClearPlayback,
    CreateResponse,
    DeleteItem,
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
from trio_voice.core.events import (
    CallerAudio,
    CallerTranscribed,
    FatalErrorRaised,
    HangUpAsked,
    ModelAudio,
    ModelAudioEnded,
    PlaybackMarked,
    ResponseCreated,
    ResponseDone,
    ResponseStatus,
    SessionLost,
    SessionReady,
    SpeechStarted,
    SpeechStopped,
    TextInjected,
    TurnCommitted,
)
from trio_voice.core.settings import Turns
from trio_voice.core.states import CallState, ResponseState

AUDIO = b"\x80" * 1600  # 200 ms
DONE, STOPPED = ResponseStatus.COMPLETED, ResponseStatus.CANCELLED
SPEAKS, FALLS_SILENT, COMMITTED = SpeechStarted(1, "u1"), SpeechStopped(1, "u1"), TurnCommitted(1, "u1")


# --- R11


def test_r11_nothing_interrupts_before_the_line_is_known_and_the_words_are_kept() -> None:
    book = speaking(conversing(calibrated=False), ms=200) >> SPEAKS << Discard(Refusal.NOT_CALIBRATED)
    book = book >> ModelAudio(1, "r1", "i1", AUDIO) << PlayAudio("r1", "i1", AUDIO) << SendMark("1.2")
    book = book >> ResponseDone(1, "r1", DONE) >> FALLS_SILENT >> COMMITTED
    assert book >> 0.15 << CreateResponse(1, 1, Purpose.TURN)


def test_r11_known_after_ten_usable_frames() -> None:
    book = hear(conversing(calibrated=False), 20, level_dbfs=-100.0)
    book = speaking(hear(book, 20, level_dbfs=None), ms=2000)
    book = hear(book, 9) >> SPEAKS << Discard(Refusal.NOT_CALIBRATED)
    assert hear(book, 1) >> SPEAKS << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem(1, "i1", 200)


def test_r11_calibration_ends_by_itself() -> None:
    book = started(greeting=False, marks=False, calibration_limit_s=3.0) >> 0.5
    book = speaking(book >> SessionReady(1), ms=4000) >> 2.499999 >> SPEAKS << Discard(Refusal.NOT_CALIBRATED)
    assert book >> 0.000001 >> SPEAKS << ClearPlayback() << ...


def test_r11_every_call_learns_its_own_line() -> None:
    first, second = conversing(), conversing(calibrated=False)
    assert first.call.parts.standing.calibrated
    assert not second.call.parts.standing.calibrated


# --- R12


def test_r12_only_a_caller_who_has_spoken_a_turn_interrupts() -> None:
    book = speaking(conversing(require_user_has_spoken=True, turn_end_s=0.1)) >> SPEAKS << Discard(Refusal.NOT_SPOKEN_YET)
    book = book >> FALLS_SILENT >> COMMITTED >> SpeechStarted(1, "u2")
    assert book << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem(1, "i1", 0)


def test_r12_only_one_who_is_so_far_above_the_noise() -> None:
    book = speaking(conversing(barge_in_min_level_db=12.0, echo_guard=False), ms=1000) >> SPEAKS << Discard(Refusal.BELOW_LEVEL)
    book = book >> CallerAudio(FRAME, -48.1) << ...
    assert book.count(ClearPlayback) == 0
    book = book >> 0.1 >> CallerAudio(FRAME, -48.0) << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem(1, "i1", 100)
    assert book << ...


def test_r12_the_agent_s_own_echo_does_not_interrupt_it() -> None:
    book = conversing() >> ResponseCreated(1, "r1") >> ModelAudio(1, "r1", "i1", AUDIO * 10, level_dbfs=-20.0) << ...
    book = hear(book, 20, level_dbfs=-35.0) >> SPEAKS << Discard(Refusal.ECHO)
    book = hear(book, 1, level_dbfs=-20.0)
    assert book.count(ClearPlayback) == 0
    assert hear(book, 1, level_dbfs=-20.0).count(ClearPlayback) == 1  # two of three frames are more than an echo


def test_r12_what_was_refused_is_not_looked_at_after_the_speech() -> None:
    book = conversing() >> ResponseCreated(1, "r1") >> ModelAudio(1, "r1", "i1", AUDIO * 10, level_dbfs=-20.0) << ...
    book = hear(book, 20, level_dbfs=-35.0) >> SPEAKS << Discard(Refusal.ECHO) >> FALLS_SILENT
    assert hear(book, 10, level_dbfs=-20.0).count(ClearPlayback) == 0


def echo_of(level_dbfs: float, **settings: Any) -> Playbook:
    """The agent talks at -20 dBFS; the line gives something back that the detector takes for speech."""
    book = conversing(**settings) >> ResponseCreated(1, "r1") >> ModelAudio(1, "r1", "i1", AUDIO * 10, level_dbfs=-20.0) << ...
    return hear(hear(book, 20, level_dbfs=-35.0) >> SPEAKS << ..., 20, level_dbfs=level_dbfs)


def test_r12_the_agent_s_own_echo_is_no_turn_and_is_not_answered() -> None:
    book = echo_of(-35.0) >> FALLS_SILENT << Discard(Refusal.ECHO) >> 1.0 >> COMMITTED
    assert book << Discard(Refusal.ECHO) << DeleteItem(1, "u1")
    assert hear(book, 20, level_dbfs=-60.0).count(CreateResponse) == 0


def test_r12_what_was_committed_of_an_echo_already_is_deleted() -> None:
    assert echo_of(-35.0) >> COMMITTED << ... >> FALLS_SILENT << Discard(Refusal.ECHO) << DeleteItem(1, "u1")


def test_r12_a_caller_who_was_heard_among_the_echo_is_answered() -> None:
    book = hear(echo_of(-35.0), 2, level_dbfs=-20.0)
    assert book.count(ClearPlayback) == 1
    book = book >> ResponseDone(1, "r1", STOPPED) >> FALLS_SILENT >> COMMITTED
    assert book >> 0.15 << CreateResponse(1, 1, Purpose.TURN)


def test_r12_without_the_echo_guard_all_speech_is_the_caller_s() -> None:
    book = echo_of(-35.0, echo_guard=False)
    book = book >> ResponseDone(1, "r1", STOPPED) >> FALLS_SILENT >> COMMITTED
    assert book >> 0.15 << CreateResponse(1, 1, Purpose.TURN)


# --- R12b


def held(book: Playbook) -> Playbook:
    """A reply of 400 ms that goes on was silenced 100 ms in."""
    return speaking(book) >> 0.1 >> SPEAKS << ClearPlayback()


REVERSIBLE: dict[str, Any] = {"barge_in_confirm_ms": 300, "vad_silence_ms": 200}


def test_r12b_a_cough_stops_the_sound_and_the_reply_goes_on_where_it_was_cut() -> None:
    book = held(conversing(**REVERSIBLE)) >> ModelAudio(1, "r1", "i1", b"\x01" * 800) >> 0.3 >> FALLS_SILENT
    book = book << Discard(Refusal.TOO_SHORT) << PlayAudio("r1", "i1", b"\x80" * 2400) << SendMark("2.2")
    book = book << PlayAudio("r1", "i1", b"\x01" * 800)
    book = book >> COMMITTED << Discard(Refusal.TOO_SHORT) << DeleteItem(1, "u1")
    book = book >> CallerTranscribed(1, "u1", "(coughs)") << Discard(Refusal.NOT_COMMITTED)
    book = book >> 0.1 >> SpeechStarted(1, "u2") << ClearPlayback() >> 0.5
    assert book << CancelResponse(1, "r1") << TruncateItem(1, "i1", 200)


def test_r12b_words_are_confirmed_and_the_rest_is_cancelled_and_cut_where_it_was_silenced() -> None:
    book = held(conversing(**REVERSIBLE)) >> 0.499999
    book = book >> 0.000001 << CancelResponse(1, "r1") << TruncateItem(1, "i1", 100)
    book = book >> ModelAudio(1, "r1", "i1", AUDIO) << Discard(Refusal.CANCELLED_RESPONSE) >> ResponseDone(1, "r1", STOPPED)
    assert book >> FALLS_SILENT >> COMMITTED >> 0.15 << CreateResponse(1, 1, Purpose.TURN)


def test_r12b_of_a_finished_reply_the_end_mark_comes_again() -> None:
    book = spoken(conversing(**REVERSIBLE)) >> 0.3 >> SPEAKS << ClearPlayback() >> 0.1 >> FALLS_SILENT
    book = book << Discard(Refusal.TOO_SHORT) << PlayAudio("r1", "i1", b"\x80" * 800) << SendMark("2.2")
    book = book >> PlaybackMarked("1.1") << Discard(Refusal.STALE_MARK)
    book = book >> 0.1 >> PlaybackMarked("2.2")
    assert not book.call.parts.playback.speaking


def test_r12b_a_reply_that_ends_while_it_is_held() -> None:
    book = held(conversing(**REVERSIBLE)) >> ModelAudioEnded(1, "r1", "i1") >> ResponseDone(1, "r1", DONE) >> 0.3 >> FALLS_SILENT
    assert book << Discard(Refusal.TOO_SHORT) << PlayAudio("r1", "i1", b"\x80" * 2400) << SendMark("2.2")


def test_r12b_what_was_committed_of_the_cough_already_is_deleted() -> None:
    book = held(conversing(**REVERSIBLE)) >> COMMITTED >> FALLS_SILENT
    assert book << Discard(Refusal.TOO_SHORT) << DeleteItem(1, "u1") << PlayAudio << SendMark


def test_r12b_a_burst_while_it_is_held_is_one_barge_in() -> None:
    assert (
        held(conversing(**REVERSIBLE)) >> 0.1 >> SpeechStarted(1, "u1") >> 0.399999 >> 0.000001 << CancelResponse(1, "r1") << ...
    )


def test_r12b_a_second_attempt_right_after_a_cough_is_heard() -> None:
    book = held(conversing(**REVERSIBLE)) >> 0.05 >> FALLS_SILENT << ... >> 0.05 >> SpeechStarted(1, "u2")
    assert book << ClearPlayback()


def test_r12b_where_nothing_is_heard_yet_there_is_nothing_to_hold() -> None:
    book = turn(conversing(**REVERSIBLE)) << ... >> ResponseCreated(1, "r1", 1) >> SpeechStarted(1, "u2")
    assert book << CancelResponse(1, "r1")


def test_r12b_a_cough_does_not_keep_a_call_that_is_ending() -> None:
    book = spoken(conversing(**REVERSIBLE), ms=2000) >> HangUpAsked("done") >> 0.5 >> SPEAKS << ClearPlayback()
    book = book >> 0.1 >> FALLS_SILENT << Discard(Refusal.TOO_SHORT) << ...
    assert book.call.state is CallState.GOODBYE
    assert book >> 1.5 >> PlaybackMarked("2.9") << HangUp("done")


def test_r12b_words_do() -> None:
    book = spoken(conversing(**REVERSIBLE), ms=2000) >> HangUpAsked("done") >> 0.5 >> SPEAKS << ClearPlayback() >> 0.5
    assert book << Note("the caller keeps the call") << TruncateItem(1, "i1", 400)


def test_r12b_a_session_that_is_lost_meanwhile_lets_the_reply_go_on() -> None:
    book = (
        held(conversing(**REVERSIBLE))
        >> 0.1
        >> SessionLost(1, "gone")
        << PlayAudio("r1", "i1", b"\x80" * 2400)
        << SendMark("2.2")
    )
    assert book << ...
    assert book >> 5.0 << ...
    assert book.count(ClearPlayback) == 1


def test_r12b_an_error_of_ours_ends_it() -> None:
    book = held(conversing(**REVERSIBLE)) >> FatalErrorRaised("bug") << Note("REALTIME_FATAL: bug") << CancelResponse(1, "r1")
    assert book << TruncateItem(1, "i1", 100) << HangUp("bug")


# --- R13


def test_r13_the_greeting_is_not_interrupted_and_what_was_said_is_answered_after_it() -> None:
    book = spoken(hear(greeting(turn_end_s=0.1), 10)) >> SPEAKS << Discard(Refusal.GREETING_LOCK)
    book = book >> 0.1 >> FALLS_SILENT >> COMMITTED >> 0.1 << Refuse(Purpose.TURN, Refusal.GREETING_LOCK, waits=True)
    book = book >> 0.2 >> PlaybackMarked("1.1") << Note("the greeting is over") << CreateResponse(1, 2, Purpose.TURN)
    assert book.count(ClearPlayback) == 0


def test_r13_nothing_else_is_requested_meanwhile() -> None:
    book = greeting() >> TextInjected("x") << Refuse(Purpose.INJECTED_TEXT, Refusal.GREETING_LOCK, waits=True)
    book = spoken(book, ms=5000) >> 4.9 << ...
    assert book.count(CreateResponse) == 1
    assert book.count(ClearPlayback) == 0


def test_r13_an_interruptible_greeting() -> None:
    book = speaking(hear(greeting(greeting_interruptible=True), 10)) >> 0.1 >> SPEAKS << Note("the greeting is interrupted")
    book = book << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem(1, "i1", 100)
    assert book.call.state is CallState.CONVERSING


def test_r13_released_when_it_fails() -> None:
    book = greeting() >> ResponseCreated(1, "r1", 1) >> ResponseDone(1, "r1", ResponseStatus.FAILED)
    assert book << Note("the greeting is over") >> 0.5 << CreateResponse(1, 2, Purpose.RETRY, "greet")


def test_r13_released_when_its_playback_ends_without_an_echo() -> None:
    book = spoken(greeting()) >> 2.4 << Note("a playback mark was not echoed: the clock is believed")
    assert book << Note("the greeting is over")


def test_r13_it_never_blocks_a_hang_up() -> None:
    assert spoken(greeting()) >> HangUpAsked("operator") >> 0.4 >> PlaybackMarked("1.1") << HangUp("operator")
    assert greeting() >> FatalErrorRaised("bug") << Note("REALTIME_FATAL: bug") << HangUp("bug")


def test_r13_a_greeting_that_was_not_begun_is_said_by_the_next_session() -> None:
    book = greeting() >> SessionLost(1, "gone") << ... >> SessionReady(2)
    assert book << CreateResponse(2, 2, Purpose.GREETING, "greet")
    assert book.call.state is CallState.GREETING


def test_r13_one_that_was_begun_is_not_repeated() -> None:
    book = speaking(greeting(), ms=200) >> SessionLost(1, "gone") << ... >> 0.2 >> PlaybackMarked("1.1")
    assert book << Note("the greeting is over") >> SessionReady(2)


# --- R14


def test_r14_where_the_turn_is_the_model_s_nothing_is_asked_for() -> None:
    book = turn(conversing(turns=Turns.MODEL)) << Refuse(Purpose.TURN, Refusal.MODEL_DECIDES)
    book = book >> ResponseCreated(1, "r1") >> ModelAudio(1, "r1", "i1", AUDIO) << PlayAudio("r1", "i1", AUDIO) << SendMark("1.1")
    assert book.count(CreateResponse) == 0


def test_r14_and_nothing_is_cancelled_but_the_line_is_cleared_whatever_our_gate_thinks() -> None:
    book = (
        speaking(conversing(turns=Turns.MODEL, calibrated=False))
        >> 0.1
        >> SPEAKS
        << ClearPlayback()
        << TruncateItem(1, "i1", 100)
    )
    book = book >> ModelAudio(1, "r1", "i1", AUDIO) << Discard(Refusal.CANCELLED_RESPONSE)
    book = book >> ResponseDone(1, "r1", STOPPED, reason="turn_detected") << Discard(Refusal.DUPLICATE)
    assert book.call.parts.guard.state is ResponseState.IDLE


def test_r14_the_model_s_next_response_may_come_before_the_end_of_the_last() -> None:
    book = speaking(conversing(turns=Turns.MODEL), ms=100) >> ResponseCreated(1, "r2") << SendMark("1.1")
    book = book >> ModelAudio(1, "r1", "i1", AUDIO) << Discard(Refusal.CANCELLED_RESPONSE)
    book = book >> ModelAudio(1, "r2", "i2", AUDIO) << PlayAudio << SendMark
    assert book >> ResponseDone(1, "r1", STOPPED) << Discard(Refusal.DUPLICATE)


def test_r14_a_request_of_ours_is_ours_to_stop() -> None:
    book = hear(greeting(turns=Turns.MODEL), 10) >> SPEAKS << Note("the greeting is interrupted")
    assert book >> ResponseCreated(1, "r1", 1) << CancelResponse(1, "r1")


def test_r14_and_so_is_a_response_that_gives_way_to_a_text() -> None:
    book = speaking(conversing(turns=Turns.MODEL), ms=200) >> TextInjected("x") << ... >> 2.0 << ClearPlayback()
    book = book << CancelResponse(1, "r1") << TruncateItem(1, "i1", 200)
    assert book >> ResponseDone(1, "r1", STOPPED) << CreateResponse(1, 1, Purpose.INJECTED_TEXT, "say x")


def test_r14_an_active_conversation_is_not_idle() -> None:
    book = conversing(turns=Turns.MODEL, idle_s=5.0)
    for number in range(4):
        book = (
            turn(book, f"u{number}")
            << ...
            >> ResponseCreated(1, f"r{number}")
            >> ResponseDone(1, f"r{number}", DONE)
            >> 4.0
            << ...
        )
    assert book.count(CreateResponse) == 0


def test_r14_nor_is_anything_held_where_the_model_has_stopped_already() -> None:
    book = speaking(conversing(turns=Turns.MODEL, **REVERSIBLE)) >> 0.1 >> SPEAKS
    assert book << ClearPlayback() << TruncateItem(1, "i1", 100)
