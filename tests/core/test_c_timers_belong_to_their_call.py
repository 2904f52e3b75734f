"""Guarantees R15 to R20, as far as the core alone can prove them: its timers are data of the call, and they end with it."""

from random import Random
from typing import Any

import pytest

from tests.core.playbook import Playbook, call_with, conversing, greeting, hear, speaking, spoken, started, turn
from trio_voice.core.call import Call
from trio_voice.core.commands import (
    CancelResponse,
    ClearPlayback,
    Close,
    CloseSession,
    Command,
    CreateResponse,
    Discard,
    HangUp,
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
    CallerHungUp,
    DigitPressed,
    Event,
    FatalErrorRaised,
    HangUpAsked,
    ModelAudio,
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
from trio_voice.core.lifeline import Lifeline
from trio_voice.core.settings import Turns
from trio_voice.core.states import CallState, TurnState

AUDIO = b"\x80" * 1600  # 200 ms
DONE, STOPPED, FAILED = ResponseStatus.COMPLETED, ResponseStatus.CANCELLED, ResponseStatus.FAILED
SPEAKS, FALLS_SILENT, COMMITTED = SpeechStarted(1, "u1"), SpeechStopped(1, "u1"), TurnCommitted(1, "u1")


# --- R15: the shell's alarm has its own test; what it rings for is the call's own


def test_r15_calls_share_no_deadline() -> None:
    first, second = spoken(conversing()), conversing()
    before = second.call.parts.deadlines.armed()
    assert first >> HangUpAsked("done") >> 3.0 << ...
    assert second.call.parts.deadlines.armed() == before


def test_r15_many_calls_interleaved_answer_as_each_would_alone() -> None:
    random = Random(15)
    events: list[Event] = [
        SPEAKS, FALLS_SILENT, COMMITTED, ResponseCreated(1, "r1"), ModelAudio(1, "r1", "i1", AUDIO), HangUpAsked("x"),
        ResponseDone(1, "r1", DONE), PlaybackMarked("1.1"), DigitPressed("1"), CallerHungUp("stop"),
    ]  # fmt: skip
    scripts = [[(random.random(), random.choice(events)) for _ in range(30)] for _ in range(40)]

    def begun() -> Call:
        return (started() >> SessionReady(1) << ...).call

    def step(call: Call, at: float, event: Event) -> list[Command]:
        answer: list[Command] = []
        while (deadline := call.next_deadline()) is not None and deadline <= at:
            answer += call.handle_timer(deadline)
        return answer + call.receive(event, at)

    def times(script: list[tuple[float, Event]]) -> list[tuple[float, Event]]:
        return [(sum(pause for pause, _ in script[: place + 1]), event) for place, (_, event) in enumerate(script)]

    alone = []
    for script in scripts:
        call = begun()
        alone.append([step(call, at, event) for at, event in times(script)])
    calls = [begun() for _ in scripts]
    together: list[list[list[Command]]] = [[] for _ in scripts]
    schedule = [(at, number, event) for number, script in enumerate(scripts) for at, event in times(script)]
    for at, number, event in sorted(schedule, key=lambda entry: entry[0]):
        together[number].append(step(calls[number], at, event))
    assert together == alone


@pytest.mark.parametrize("end", [CallerHungUp("stop"), FatalErrorRaised("bug"), HangUpAsked("done")])
def test_r15_nothing_is_armed_after_the_end(end: Event) -> None:
    book = speaking(turn(conversing()) << ...) >> DigitPressed("1") >> ToolCalled(1, "r1", "i2", "t1", "look", "{}") << ...
    book = book >> TextInjected("x") << ... >> end << ... >> 60.0 << ...
    assert book.call.state is CallState.CLOSED
    assert book.call.next_deadline() is None
    assert book >> 1e6


# --- R16


@pytest.mark.parametrize(
    "event",
    [
        SPEAKS,
        TurnCommitted(1, "u2"),
        ResponseCreated(1, "r2"),
        ModelAudio(1, "r1", "i1", AUDIO),
        ToolFinished("t1", "x"),
        TextInjected("x"),
        HangUpAsked("again"),
        FatalErrorRaised("bug"),
        SessionLost(1, "gone"),
        DigitPressed("1"),
    ],
)
def test_r16_after_the_hang_up_nothing_but_the_close_is_commanded(event: Event) -> None:
    book = spoken(conversing(), ms=200) >> HangUpAsked("done") >> 0.2 >> PlaybackMarked("1.1") << HangUp("done")
    book = book >> event >> CallerHungUp("stop") << Close("done")
    assert book >> event >> CallerHungUp("stop") >> 1e6


def test_r16_a_caller_who_hangs_up_closes_the_call_at_once() -> None:
    assert speaking(conversing()) >> CallerHungUp("stop") << Close("stop") >> ModelAudio(1, "r1", "i1", AUDIO)


# --- R17


def test_r17_the_goodbye_is_heard_and_then_the_call_is_hung_up() -> None:
    book = speaking(conversing()) >> HangUpAsked("done") >> ModelAudio(1, "r1", "i1", AUDIO) << PlayAudio << SendMark("1.2")
    book = book >> ResponseDone(1, "r1", DONE) >> 0.4 >> PlaybackMarked("1.1") >> 0.2
    assert book >> PlaybackMarked("1.2") << HangUp("done") >> CallerHungUp("stop") << Close("done")


def test_r17_at_once_when_nothing_is_being_said() -> None:
    assert conversing() >> HangUpAsked("operator") << HangUp("operator")


def test_r17_a_mark_that_never_comes_is_not_waited_for() -> None:
    book = spoken(conversing(mark_grace_s=2.0)) >> HangUpAsked("done") >> 2.399999
    book = book >> 0.000001 << Note("a playback mark was not echoed: the clock is believed")
    assert book << HangUp("done")


def test_r17_the_fallback_hangs_up_if_the_goodbye_never_comes() -> None:
    book = conversing(hang_up_fallback_s=6.0) >> ResponseCreated(1, "r1") >> HangUpAsked("done") >> 5.999999
    assert book >> 0.000001 << HangUp("done")


def test_r17_a_goodbye_that_is_longer_than_the_fallback_is_heard() -> None:
    book = spoken(conversing(marks=False), ms=9000) >> HangUpAsked("done") >> 8.999999
    assert book >> 0.000001 << HangUp("done")


def test_r17_it_is_commanded_once() -> None:
    book = spoken(conversing()) >> HangUpAsked("done") >> HangUpAsked("again") << Discard(Refusal.HANG_UP_PENDING)
    book = book >> 0.4 >> PlaybackMarked("1.1") << HangUp("done") >> HangUpAsked("more") >> 60.0 << ...
    assert book.count(HangUp) == 1


def test_r17_and_the_line_is_closed_in_any_case() -> None:
    book = conversing(hang_up_limit_s=5.0) >> HangUpAsked("done") << HangUp("done") >> 4.999999
    assert book >> 0.000001 << Close("done")


def test_r17_a_caller_who_speaks_during_the_goodbye_keeps_the_call() -> None:
    book = spoken(conversing(hang_up_return_s=0.5), ms=2000) >> HangUpAsked("done") >> 1.499999
    book = book >> SPEAKS << Note("the caller keeps the call") << ClearPlayback() << TruncateItem(1, "i1", 400)
    book = book >> FALLS_SILENT >> COMMITTED >> 0.15 << CreateResponse(1, 1, Purpose.TURN)
    book = speaking(book, "r2", "i2") >> CallerHungUp("stop") << Close("stop")  # not for the reason that was given up
    assert book.count(HangUp) == 0


def test_r17_until_the_point_of_no_return() -> None:
    book = spoken(conversing(marks=False, hang_up_return_s=0.5), ms=2000) >> HangUpAsked("done") >> 1.5
    book = book >> SPEAKS << Discard(Refusal.PAST_RETURN) >> 0.5
    assert book << HangUp("done")


def test_r17_there_is_no_such_point_while_the_goodbye_is_being_made() -> None:
    book = speaking(conversing(), ms=200) >> HangUpAsked("done") >> 0.1
    assert book >> SPEAKS << Note("the caller keeps the call") << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem


def test_r17_keeping_can_be_switched_off() -> None:
    book = spoken(conversing(hang_up_keep_on_speech=False)) >> HangUpAsked("done")
    assert book >> SPEAKS << Discard(Refusal.HANG_UP_PENDING)


def test_r17_a_farewell_that_was_waiting_is_not_said_after_the_call_was_kept() -> None:
    book = speaking(conversing(longest_call_s=1e6, idle_s=0.0))
    book.call.parts.deadlines.set(Timer.IDLE, 0.2)
    book.call.parts.idle.prompts = 2
    book = book >> 0.0
    book = book << Refuse(Purpose.IDLE_PROMPT, Refusal.RESPONSE_ACTIVE)  # nobody is asked to leave while the agent speaks
    assert book.call.state is CallState.CONVERSING


def test_r17_what_waited_to_be_said_is_refused_by_name() -> None:
    book = speaking(conversing()) >> DigitPressed("#") << ... >> HangUpAsked("done")
    assert book << Refuse(Purpose.DIGITS, Refusal.HANG_UP_PENDING)


def test_r17_texts_that_were_asked_for_before_are_said_first() -> None:
    book = speaking(conversing(), ms=100) >> TextInjected("a") << ... >> TextInjected("b") << ... >> HangUpAsked("done")
    book = book << Refuse(Purpose.FAREWELL, Refusal.RESPONSE_ACTIVE, waits=True) >> ResponseDone(1, "r1", DONE) << ...
    assert book.count(CreateResponse) == 1
    book = spoken(book, "r2", "i2", 1000) >> 1.1 << ... >> PlaybackMarked("1.4")
    assert book << HangUp("done")


def test_r17_texts_that_cannot_be_said_do_not_hold_the_hang_up_up_for_ever() -> None:
    book = (
        speaking(conversing(audio_gap_limit_s=60.0), ms=100)
        >> TextInjected("a")
        << ...
        >> HangUpAsked("done")
        << ...
        >> 5.9
        << ...
    )
    assert book >> 0.1 << HangUp("done")


# --- R18


def test_r18_the_turn_ends_after_its_pause() -> None:
    book = conversing(turn_end_s=0.25) >> SPEAKS >> 1.0 >> FALLS_SILENT >> COMMITTED >> 0.249999
    assert book >> 0.000001 << CreateResponse(1, 1, Purpose.TURN)


def test_r18_speech_that_resumes_continues_the_same_turn() -> None:
    book = conversing(turn_end_s=0.25) >> SPEAKS >> 1.0 >> FALLS_SILENT >> COMMITTED >> 0.249999 >> SpeechStarted(1, "u2")
    book = book >> 2.0 >> SpeechStopped(1, "u2") >> TurnCommitted(1, "u2") >> 0.25
    assert book << CreateResponse(1, 1, Purpose.TURN)


def test_r18_end_of_speech_to_request_is_half_a_second_at_most() -> None:
    settings = conversing().call.settings
    assert settings.vad_silence_ms / 1000 + settings.turn_end_s <= 0.5


def test_r18_a_commit_that_comes_late_is_waited_for() -> None:
    book = conversing(turn_end_s=0.25, commit_limit_s=1.0) >> SPEAKS >> FALLS_SILENT >> 1.249999
    assert book >> COMMITTED << CreateResponse(1, 1, Purpose.TURN)


def test_r18_and_not_for_ever() -> None:
    book = conversing(turn_end_s=0.25, commit_limit_s=1.0) >> SPEAKS >> FALLS_SILENT >> 1.25 << Discard(Refusal.NOT_COMMITTED)
    assert book >> COMMITTED << CreateResponse(1, 1, Purpose.TURN)  # better late than never


def test_r18_speech_that_is_never_reported_to_stop_ends_too() -> None:
    book = conversing(speech_limit_s=60.0, commit_limit_s=1.0) >> SPEAKS >> 60.0
    assert book.call.parts.standing.turn is TurnState.COMMITTING
    assert book >> 1.0 << Discard(Refusal.NOT_COMMITTED)


def test_r18_speech_after_the_request_joins_the_turn_too() -> None:
    book = turn(conversing()) << CreateResponse(1, 1, Purpose.TURN) >> SpeechStarted(1, "u2") >> ResponseCreated(1, "r1", 1)
    book = book << CancelResponse(1, "r1") >> ResponseDone(1, "r1", STOPPED) >> SpeechStopped(1, "u2") >> TurnCommitted(1, "u2")
    assert book >> 0.15 << CreateResponse(1, 2, Purpose.TURN)


# --- R19


def owed(**settings: Any) -> Playbook:
    """A turn was committed and a reply was asked for: the watchdog runs."""
    return turn(conversing(created_limit_s=100.0, **settings)) << CreateResponse(1, 1, Purpose.TURN)


def test_r19_a_turn_without_a_response_is_asked_for_again_a_bounded_number_of_times() -> None:
    book = owed(watchdog_s=3.0, watchdog_retries=2) >> 2.999999
    book = book >> 0.000001 << CreateResponse(1, 2, Purpose.WATCHDOG) >> 3.0 << CreateResponse(1, 3, Purpose.WATCHDOG) >> 3.0
    book = book << Note("the watchdog has asked often enough: the session is replaced") << CloseSession(1) << OpenSession(2, 0.25)
    book = book >> SessionReady(2) << CreateResponse(2, 4, Purpose.RETRY)
    assert book.count(CreateResponse) == 4


def test_r19_a_second_session_that_does_not_answer_either_ends_the_call() -> None:
    book = owed(watchdog_s=3.0, watchdog_retries=0) >> 3.0 << ... >> SessionReady(2) << CreateResponse(2, 2, Purpose.RETRY)
    book = book >> SpeechStarted(2, "u2") >> SpeechStopped(2, "u2") >> TurnCommitted(2, "u2") >> 0.15 << ... >> 3.0 << ...
    book = book >> 3.0 << ... >> 200.0 << ...
    assert book.call.state is CallState.CLOSED


def test_r19_not_while_the_agent_speaks() -> None:
    book = spoken(conversing(watchdog_s=1.0, calibration_limit_s=0.0), ms=3000) >> TurnCommitted(1, "u1") << ...
    assert book >> 1.0 << Refuse(Purpose.WATCHDOG, Refusal.RESPONSE_ACTIVE)


def test_r19_not_while_a_hang_up_is_pending() -> None:
    book = owed() >> HangUpAsked("done") >> 3.0
    assert book << Refuse(Purpose.WATCHDOG, Refusal.HANG_UP_PENDING) << HangUp("done")


def test_r19_not_while_the_greeting_lock_holds() -> None:
    book = spoken(greeting(), ms=5000) >> COMMITTED << Refuse(Purpose.TURN, Refusal.GREETING_LOCK, waits=True) >> 2.999999 << ...
    assert book >> 0.000001 << Refuse(Purpose.WATCHDOG, Refusal.GREETING_LOCK) << ...


def test_r19_not_before_the_line_is_known() -> None:
    book = conversing(calibrated=False, calibration_limit_s=10.0) >> COMMITTED << ... >> 3.0
    assert book << Refuse(Purpose.WATCHDOG, Refusal.NOT_CALIBRATED) >> 3.0 << Refuse(Purpose.WATCHDOG, Refusal.NOT_CALIBRATED)


def test_r19_not_after_the_end() -> None:
    assert owed() >> CallerHungUp("stop") << Close("stop") >> 100.0


def test_r19_not_for_a_turn_that_is_no_longer_the_current_one() -> None:
    book = owed() >> 2.0 >> SpeechStarted(1, "u2") >> 2.0
    assert book.count(CreateResponse) == 1
    answered = owed() >> 2.0 >> ResponseCreated(1, "r1", 1) >> 2.0
    assert answered.count(CreateResponse) == 1


# --- R19b


def test_r19b_a_silent_caller_is_asked_and_then_the_call_is_ended_politely() -> None:
    book = conversing(idle_s=10.0, idle_prompts=2) >> 9.799999 >> 0.000001 << CreateResponse(1, 1, Purpose.IDLE_PROMPT, "prompt")
    book = spoken(book, ms=400) >> 0.4 >> PlaybackMarked("1.1") >> 9.999999
    book = book >> 0.000001 << CreateResponse(1, 2, Purpose.IDLE_PROMPT, "prompt")
    book = spoken(book, "r2", "i2", ms=400) >> 0.4 >> PlaybackMarked("1.2") >> 10.0
    book = book << CreateResponse(1, 3, Purpose.FAREWELL, "bye")
    book = spoken(book, "r3", "i3", ms=400) >> 0.4 >> PlaybackMarked("1.3")
    assert book << HangUp("the caller is silent")


def test_r19b_the_clock_stands_while_anything_goes_on() -> None:
    """Speech, a reply that is owed, a playback, a tool: each for longer than the whole limit."""
    book = conversing(idle_s=1.0, watchdog_s=60.0, created_limit_s=60.0, audio_gap_limit_s=60.0) >> SPEAKS >> 5.0
    book = book >> FALLS_SILENT >> COMMITTED >> 0.15 << CreateResponse(1, 1, Purpose.TURN) >> 5.0
    book = book >> ResponseCreated(1, "r1", 1) >> ToolCalled(1, "r1", "i1", "t1", "look", "{}") << ... >> 5.0
    book = book >> ResponseDone(1, "r1", DONE) >> 5.0 >> ToolFinished("t1", "7") << ... >> 5.0
    book = spoken(book, "r2", "i2", ms=5000) >> 5.0 << ...
    assert book.count(CreateResponse) == 2


def test_r19b_noise_pauses_it_and_does_not_reset_it() -> None:
    book = conversing(idle_s=10.0)
    for _ in range(4):
        book = book >> 2.0 >> SPEAKS >> 1.0 >> FALLS_SILENT >> 1.15 << Discard(Refusal.NOT_COMMITTED)
    book = book >> 1.799999
    assert book >> 0.000001 << CreateResponse(1, 1, Purpose.IDLE_PROMPT, "prompt")


def test_r19b_an_answered_turn_forgets_the_prompts() -> None:
    book = conversing(idle_s=10.0, idle_prompts=1) >> 9.8 << ...
    book = spoken(book) >> 0.4 >> PlaybackMarked("1.1") << ...
    book = spoken(turn(book) << ..., "r2", "i2") >> 0.4 >> PlaybackMarked("1.2") << ... >> 10.0
    assert book << CreateResponse(1, 3, Purpose.IDLE_PROMPT, "prompt")


def test_r19b_pressed_keys_do_too() -> None:
    book = conversing(idle_s=10.0, idle_prompts=1) >> 9.8 << ...
    book = spoken(book) >> 0.4 >> PlaybackMarked("1.1") << ... >> DigitPressed("#") << ...
    book = spoken(book, "r2", "i2") >> 0.4 >> PlaybackMarked("1.2") << ... >> 10.0
    assert book << CreateResponse(1, 3, Purpose.IDLE_PROMPT, "prompt")


def test_r19b_the_farewell_of_a_silent_caller_can_be_kept() -> None:
    book = conversing(idle_s=10.0, idle_prompts=0) >> 9.8 << CreateResponse(1, 1, Purpose.FAREWELL, "bye")
    book = speaking(book) >> 0.1 >> SPEAKS << Note("the caller keeps the call") << ClearPlayback() << ...
    assert book.call.state is CallState.CONVERSING


def test_r19b_zero_is_never() -> None:
    book = conversing(idle_s=0.0, longest_call_s=1e7, session_age_limit_s=1e7) >> 5e5
    assert book.call.state is CallState.CONVERSING


def test_r19b_the_longest_call_is_announced_and_ended() -> None:
    book = conversing(idle_s=0.0, longest_call_s=100.0, longest_call_notice_s=30.0) >> 69.8
    book = spoken(book << CreateResponse(1, 1, Purpose.NOTICE, "notice")) >> 0.4 >> PlaybackMarked("1.1")
    book = book >> 29.599999 >> 0.000001 << CreateResponse(1, 2, Purpose.FAREWELL, "bye")
    book = spoken(book, "r2", "i2") >> 0.4 >> PlaybackMarked("1.2")
    assert book << HangUp("the longest call time is over")


def test_r19b_nobody_can_keep_a_call_that_has_reached_its_limit() -> None:
    book = speaking(conversing(idle_s=0.0, longest_call_s=100.0, longest_call_notice_s=0.0) >> 99.8 << ...)
    book = book >> 0.1 >> SPEAKS << Discard(Refusal.HANG_UP_PENDING)
    assert book.call.state is CallState.GOODBYE


def test_r19b_not_even_one_that_was_ending_already() -> None:
    book = spoken(conversing(marks=False, longest_call_s=10.0, idle_s=0.0), ms=20_000) >> HangUpAsked("done") >> 9.8
    assert book >> SPEAKS << Discard(Refusal.HANG_UP_PENDING)


# --- R20


@pytest.mark.parametrize(
    ("book", "lifeline"),
    [
        (lambda: Playbook(call_with()), Lifeline.NOT_STARTED),
        (started, Lifeline.SESSION_OPENING),
        (greeting, Lifeline.REPLY_COMING),
        (conversing, Lifeline.THE_CALLERS_TURN),
        (lambda: conversing(idle_s=0.0), Lifeline.THE_CALLERS_TURN),
        (lambda: conversing() >> SPEAKS, Lifeline.CALLER_SPEAKING),
        (lambda: conversing() >> SPEAKS >> FALLS_SILENT, Lifeline.TURN_ENDING),
        (lambda: turn(conversing()) << ..., Lifeline.REPLY_COMING),
        (lambda: spoken(conversing()), Lifeline.AGENT_SPEAKING),
        (lambda: spoken(conversing(marks=False)), Lifeline.AGENT_SPEAKING),
        (lambda: conversing() >> DigitPressed("1"), Lifeline.CALLER_PRESSING_KEYS),
        (lambda: conversing() >> SessionLost(1, "gone") << ..., Lifeline.SESSION_OPENING),
        (lambda: spoken(conversing()) >> HangUpAsked("done"), Lifeline.ENDING),
        (lambda: conversing() >> HangUpAsked("done") << ..., Lifeline.ENDING),
        (lambda: conversing() >> CallerHungUp("stop") << ..., None),
    ],
)
def test_r20_what_keeps_the_call_alive_has_a_name(book: Any, lifeline: Lifeline | None) -> None:
    assert book().call.lifeline() is lifeline


def test_r20_a_tool_is_a_lifeline() -> None:
    book = conversing() >> ResponseCreated(1, "r1") >> ToolCalled(1, "r1", "i1", "t1", "look", "{}") << ...
    assert (book >> ResponseDone(1, "r1", DONE)).call.lifeline() is Lifeline.TOOL_RUNNING


@pytest.mark.parametrize("turns", Turns)
@pytest.mark.parametrize("marks", [True, False])
def test_r20_left_alone_a_call_comes_to_its_end(turns: Turns, marks: bool) -> None:
    """A peer that has stopped answering and a caller who says nothing: asked, asked again, let go."""
    book = spoken(started(turns=turns, marks=marks, longest_call_s=1e6) >> SessionReady(1) << ...) >> 600.0 << ...
    assert book.call.state is CallState.CLOSED


def test_r20_the_longest_call_alone_is_no_lifeline() -> None:
    book = conversing(idle_s=0.0) >> SPEAKS
    book.call.parts.deadlines.keep_only(Timer.LONGEST_CALL, Timer.MEDIA, Timer.SESSION_AGE)
    assert book.call.lifeline() is None


def test_r20_the_line_is_never_left_to_a_failed_reply() -> None:
    book = hear(conversing(failed_backoff_s=0.5), 1) >> ResponseCreated(1, "r1") >> ResponseDone(1, "r1", FAILED)
    assert book.call.lifeline() is Lifeline.REPLY_COMING
    assert book >> 0.5 << CreateResponse(1, 1, Purpose.RETRY)
