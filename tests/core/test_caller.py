"""The caller's side: what the guarantees B, C and R22 leave out."""

from tests.core.playbook import FRAME, Playbook, conversing, greeting, hear, speaking, spoken, started, turn
from trio_voice.core.call import Call
from trio_voice.core.commands import (
    AppendAudio,
    CancelResponse,
    ClearPlayback,
    CreateResponse,
    DeleteItem,
    Discard,
    Note,
    OpenSession,
    PlayAudio,
    Purpose,
    Refusal,
    Refuse,
    SendMark,
    TruncateItem,
)
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import (
    CallerAudio,
    CallerTranscribed,
    CallStarted,
    DigitPressed,
    HangUpAsked,
    ModelAudio,
    PlaybackMarked,
    ResponseCreated,
    SessionReady,
    SpeechStarted,
    SpeechStopped,
    TurnCommitted,
)
from trio_voice.core.settings import CallSettings, Wording
from trio_voice.core.states import CallState, TurnState

SPEAKS, FALLS_SILENT, COMMITTED = SpeechStarted(1, "u1"), SpeechStopped(1, "u1"), TurnCommitted(1, "u1")


# --- the line


def test_what_is_timed_from_the_start() -> None:
    deadlines = started(longest_call_s=100.0, longest_call_notice_s=30.0, calibration_limit_s=3.0).call.parts.deadlines
    named = (Timer.LONGEST_CALL, Timer.LONGEST_CALL_NOTICE, Timer.CALIBRATION)
    assert [deadlines.at(timer) for timer in named] == [100.0, 70.0, 3.0]


def test_r37_a_tone_at_the_begin_is_on_the_ledger_like_all_that_is_heard() -> None:
    book = Playbook(Call(CallSettings(), Wording(greeting="greet"), beep=b"b" * 1600)) >> CallStarted("CA1")
    book = book << PlayAudio("beep", "beep", b"b" * 1600) << SendMark("1.1") << OpenSession(1)
    assert book.call.parts.playback.rest_s(0.0) == 0.2
    book = book >> 0.1 >> SessionReady(1) << CreateResponse(1, 1, Purpose.GREETING, "greet") >> 0.1 >> PlaybackMarked("1.1")
    assert not book.call.parts.playback.speaking
    book = book >> ResponseCreated(1, "r1") >> ModelAudio(1, "r1", "i1", b"a" * 800) << PlayAudio("r1", "i1", b"a" * 800)
    assert book.call.state is CallState.GREETING, "the tone is not the greeting"


def test_a_call_that_is_shorter_than_its_notice_is_not_announced() -> None:
    for notice_s in (0.0, 100.0, 101.0):
        deadlines = started(longest_call_s=100.0, longest_call_notice_s=notice_s).call.parts.deadlines
        assert deadlines.at(Timer.LONGEST_CALL_NOTICE) is None


def test_a_frame_is_handed_on_unchanged_and_first() -> None:
    book = conversing() >> ResponseCreated(1, "r1") >> ModelAudio(1, "r1", "i1", b"a" * 16_000, level_dbfs=-20.0) << ...
    book = hear(book, 20, level_dbfs=-35.0) >> SPEAKS << Discard(Refusal.ECHO)
    book = hear(book, 1, level_dbfs=-20.0) >> CallerAudio(b"loud", -20.0)
    assert book << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem << AppendAudio(1, b"loud")


def test_a_frame_that_changes_nothing_is_only_handed_on() -> None:
    assert speaking(conversing()) >> SPEAKS << ... >> CallerAudio(FRAME, -10.0) << AppendAudio(1, FRAME)


def test_a_mark_of_nobody() -> None:
    assert conversing() >> PlaybackMarked("9.9") << Discard(Refusal.STALE_MARK)


def test_keys_are_not_handed_on_while_the_call_ends() -> None:
    book = spoken(conversing()) >> HangUpAsked("done") >> DigitPressed("#") << ...
    assert book.count(CreateResponse) == 0


# --- barge-in


def test_a_reply_that_is_only_asked_for_is_interrupted_too() -> None:
    book = turn(conversing()) << ... >> SpeechStarted(1, "u2") >> ResponseCreated(1, "r1", 1)
    assert book << CancelResponse(1, "r1")


def test_one_that_is_being_cancelled_is_not() -> None:
    book = speaking(conversing()) >> SPEAKS << ... >> 1.0 >> SPEAKS
    assert book.call.parts.gate.denied is None


def test_a_refusal_is_forgotten_when_the_speech_is_over_or_nothing_is_said_any_more() -> None:
    book = speaking(conversing(calibrated=False)) >> SPEAKS << Discard(Refusal.NOT_CALIBRATED) >> FALLS_SILENT
    assert book.call.parts.gate.denied is None


def test_refusals_that_cannot_pass_are_not_looked_at_again() -> None:
    book = spoken(hear(greeting(), 10), ms=2000) >> SPEAKS << Discard(Refusal.GREETING_LOCK)
    assert hear(book, 10, level_dbfs=-10.0).count(ClearPlayback) == 0


def test_the_cooldown_runs_from_the_cut_not_from_the_hold() -> None:
    book = speaking(conversing(barge_in_confirm_ms=100, vad_silence_ms=100, cancel_cooldown_s=1.0), ms=3000) >> SPEAKS
    book = book << ClearPlayback() >> 0.05 >> FALLS_SILENT << ... >> SpeechStarted(1, "u2") << ClearPlayback() >> 0.2
    assert book << CancelResponse(1, "r1") << ...
    assert book.call.parts.gate.refusal(book.now) is Refusal.COOLDOWN


def test_an_interrupted_greeting_is_confirmed_first() -> None:
    book = speaking(hear(greeting(greeting_interruptible=True, barge_in_confirm_ms=100, vad_silence_ms=100), 10)) >> SPEAKS
    book = book << ClearPlayback()
    assert book.call.state is CallState.GREETING
    book = book >> 0.2 << Note("the greeting is interrupted") << CancelResponse(1, "r1") << TruncateItem(1, "i1", 0)
    assert book.call.state is CallState.CONVERSING


# --- turns


def test_a_report_of_silence_that_fits_nothing() -> None:
    assert conversing() >> FALLS_SILENT << Discard(Refusal.DUPLICATE)


def test_a_turn_is_committed_once() -> None:
    book = turn(conversing()) << ... >> COMMITTED << Discard(Refusal.DUPLICATE)
    assert book.call.parts.turn.items == ["u1"]


def test_words_that_come_late_find_their_turn() -> None:
    book = turn(conversing()) << ... >> CallerTranscribed(1, "u1", "hello")
    assert book.call.parts.history.seed() == [("user", "hello")]
    assert book >> CallerTranscribed(1, "u9", "who?") << Discard(Refusal.NOT_COMMITTED)


def test_a_commit_in_the_middle_of_speech_waits_for_its_end() -> None:
    book = conversing() >> SPEAKS >> COMMITTED >> 1.0
    assert book.call.parts.standing.turn is TurnState.SPEAKING
    assert book >> FALLS_SILENT >> 0.15 << CreateResponse(1, 1, Purpose.TURN)


def test_a_start_before_which_the_line_was_used() -> None:
    book = conversing() >> CallStarted("CA2") << Discard(Refusal.DUPLICATE)
    assert book >> TurnCommitted(1, "u1") << CreateResponse(1, 1, Purpose.TURN)


def test_while_the_greeting_is_heard_the_turn_waits() -> None:
    book = spoken(greeting()) >> COMMITTED << Refuse(Purpose.TURN, Refusal.GREETING_LOCK, waits=True)
    assert book.call.parts.standing.turn is TurnState.OWED


def test_a_cough_does_not_take_the_turn_along_that_was_said_before_it() -> None:
    book = speaking(conversing(barge_in_confirm_ms=300, require_user_has_spoken=True), ms=9000)
    book = book >> SpeechStarted(1, "u1") << ... >> 0.5 << ... >> SpeechStopped(1, "u1") >> TurnCommitted(1, "u1") >> 0.15 << ...
    book = (
        book
        >> SpeechStarted(1, "u2")
        << ClearPlayback()
        >> 0.1
        >> SpeechStopped(1, "u2")
        << Discard(Refusal.TOO_SHORT)
        << PlayAudio
        << ...
    )
    book = book >> TurnCommitted(1, "u2") >> 0.15 << Refuse(Purpose.TURN, Refusal.RESPONSE_ACTIVE, waits=True)
    assert book.count(DeleteItem) == 0
