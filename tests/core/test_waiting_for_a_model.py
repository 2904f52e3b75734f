"""What a caller hears, and what is kept of what they say, while no session serves or another one is coming; fillers and jobs."""

import pytest

from tests.core.playbook import FRAME, Playbook, conversing, hear, speaking, spoken, started
from trio_voice.core.call import Call
from trio_voice.core.commands import (
    AppendAudio,
    CancelResponse,
    ClearPlayback,
    CloseSession,
    CreateResponse,
    Discard,
    HangUp,
    OpenSession,
    PlayAudio,
    Purpose,
    Refusal,
    Refuse,
    RunTool,
    SendDigits,
    SendMark,
    SendToolResult,
    TruncateItem,
)
from trio_voice.core.events import (
    CallerAudio,
    DigitsAsked,
    FatalErrorRaised,
    FillerAsked,
    JobEnded,
    JobStarted,
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
    ToolStarted,
    TurnCommitted,
)
from trio_voice.core.lifeline import Lifeline
from trio_voice.core.model import TOOL_TOO_SLOW
from trio_voice.core.settings import CallSettings, Wording

DONE = ResponseStatus.COMPLETED
SOUND = b"c" * 800  # 100 ms
LONG = b"a" * 72000  # 9 s


def comforted(**settings: object) -> Playbook:
    """Session 1 is being opened, and there is a sound for those who wait."""
    options = CallSettings(**({"greeting": False, "media_limit_s": 1e6, "idle_s": 0.0} | settings))  # type: ignore[arg-type] # - a test's own
    return started(Call(options, Wording(filler="fill {text}"), comfort=SOUND))


# --- a sound for those who wait


def test_r26_who_waits_hears_a_sound_after_a_second_and_a_half_and_again() -> None:
    book = comforted() >> SessionReady(1) >> SessionLost(1, "gone") << OpenSession(2, 0.25) >> 1.499999
    book = book >> 0.000001 << PlayAudio("comfort", "comfort-1500", SOUND) << SendMark("1.1") >> 0.1 >> PlaybackMarked("1.1")
    book = book >> 1.499999 >> 0.000001 << PlayAudio("comfort", "comfort-3100", SOUND) << SendMark("1.2") >> SessionReady(2)
    assert book >> 0.1 >> PlaybackMarked("1.2") >> 10.0


def test_r26_so_does_who_waits_for_the_first_session() -> None:
    book = comforted() >> 1.5 << PlayAudio << SendMark("1.1") >> SessionReady(1) >> 0.1 >> PlaybackMarked("1.1")
    assert book >> 10.0


def test_what_is_still_heard_is_not_disturbed() -> None:
    book = speaking(comforted() >> SessionReady(1) >> ResponseCreated(1, "r1"), ms=2000) >> SessionLost(1, "gone") << ...
    played = book.count(PlayAudio)
    book = book >> 3.4 << ...
    assert book.count(PlayAudio) == played
    assert book >> 0.1 << PlayAudio << SendMark


def test_an_apology_ends_the_waiting() -> None:
    book = comforted() >> FatalErrorRaised("bug") << ... >> 10.0 << ...
    assert book.count(PlayAudio) == 0


# --- what is kept of what the caller says


def test_r26_an_utterance_that_a_session_dies_in_is_heard_whole_by_the_next() -> None:
    book = (
        conversing() >> SpeechStarted(1, "u1") >> CallerAudio(b"one") << AppendAudio(1, b"one") >> SessionLost(1, "gone") << ...
    )
    book = book >> CallerAudio(b"two") >> SessionReady(2) << AppendAudio(2, b"one") << AppendAudio(2, b"two")
    assert book >> CallerAudio(FRAME) << AppendAudio(2, FRAME)


def test_r26_an_utterance_that_was_taken_is_not_heard_twice() -> None:
    book = (
        conversing() >> SpeechStarted(1, "u1") >> CallerAudio(b"one") << ... >> SpeechStopped(1, "u1") >> TurnCommitted(1, "u1")
    )
    assert book >> SessionLost(1, "gone") << ... >> SessionReady(2) << CreateResponse(2, 1, Purpose.RETRY)


def test_r26_a_long_one_is_heard_whole_too_with_what_is_said_in_the_gap() -> None:
    book = hear(conversing() >> SpeechStarted(1, "u1"), 40) >> SessionLost(1, "gone") << OpenSession(2, 0.25)
    book = hear(book, 40) >> SessionReady(2)
    for _ in range(80):
        book = book << AppendAudio(2, FRAME)
    assert book


@pytest.mark.parametrize("wait_s", [0.0, 0.5])
def test_r26_one_that_had_ended_and_was_not_taken_is_heard_by_the_next(wait_s: float) -> None:
    book = conversing() >> SpeechStarted(1, "u1") >> CallerAudio(b"one") << ... >> SpeechStopped(1, "u1") >> CallerAudio(b"two")
    book = book << ... >> wait_s >> SessionLost(1, "gone") << ... >> SessionReady(2)
    assert book << AppendAudio(2, b"one") << AppendAudio(2, b"two") >> 0.2  # the next one commits it, and is then asked


def test_a_late_commit_takes_nothing_of_the_utterance_that_has_begun_meanwhile() -> None:
    book = conversing() >> SpeechStarted(1, "u1") >> SpeechStopped(1, "u1") >> SpeechStarted(1, "u2")
    book = book >> CallerAudio(b"two") << ... >> TurnCommitted(1, "u1") >> SessionLost(1, "gone") << ... >> SessionReady(2)
    assert book << AppendAudio(2, b"two") << CreateResponse(2, 1, Purpose.RETRY)


def test_while_a_successor_is_coming_only_as_much_is_kept_as_a_report_may_be_late() -> None:
    book = conversing(session_age_limit_s=1.0, idle_s=0.0) >> 0.8 << OpenSession(2)
    for _ in range(40):
        book = book >> CallerAudio(FRAME) << AppendAudio(1, FRAME)
    book = book >> SessionReady(2) << CloseSession(1)
    for _ in range(30):
        book = book << AppendAudio(2, FRAME)
    assert book


# --- fillers


def test_r35_a_filler_is_said_into_a_silence_and_never_later() -> None:
    book = comforted() >> SessionReady(1) >> FillerAsked("wait") << CreateResponse(1, 1, Purpose.FILLER, "fill wait")
    book = book >> FillerAsked("wait") << Refuse(Purpose.FILLER, Refusal.RESPONSE_ACTIVE)
    book = spoken(book, ms=100) >> FillerAsked("wait") << Refuse(Purpose.FILLER, Refusal.RESPONSE_ACTIVE)
    book = book >> 0.1 >> PlaybackMarked("1.1") >> SpeechStarted(1, "u1") >> FillerAsked("wait")
    assert book << Refuse(Purpose.FILLER, Refusal.CALLER_SPEAKING)


def test_a_filler_that_fails_is_not_tried_again() -> None:
    book = comforted() >> SessionReady(1) >> FillerAsked("wait") << CreateResponse >> ResponseCreated(1, "r1", 1)
    book = book >> ResponseDone(1, "r1", ResponseStatus.FAILED, error_code="server_error") >> 20.0
    book = book >> FillerAsked("wait") << CreateResponse >> SessionLost(1, "gone") << ... >> SessionReady(2)
    assert book >> 20.0


# --- tools and jobs


def test_r35_a_tool_s_own_limit_holds() -> None:
    book = conversing(tool_limit_s=20.0) >> ResponseCreated(1, "r1") >> ToolCalled(1, "r1", "f1", "t1", "look", "{}")
    book = book << RunTool("t1", "look", "{}", 1) >> ToolStarted("t1", 40.0) >> ResponseDone(1, "r1", DONE) >> 40.999999
    book = book >> 0.000001 << SendToolResult(1, "t1", TOOL_TOO_SLOW) << CreateResponse(1, 1, Purpose.TOOL_RESULT)
    assert book >> ToolStarted("t1", 5.0) << Discard(Refusal.TOO_LATE)


def test_r19b_a_call_that_waits_for_a_job_is_not_idle() -> None:
    book = conversing(idle_s=4.0) >> JobStarted(1, 60.0) >> 30.0
    assert book.call.lifeline() is Lifeline.JOB_RUNNING
    book = book >> JobEnded(1) >> JobEnded(1) << Discard(Refusal.TOO_LATE) >> 3.799999
    assert book >> 0.200001 << CreateResponse(1, 1, Purpose.IDLE_PROMPT, "prompt")


def test_r19b_a_job_whose_end_is_not_reported_holds_nothing_up_for_ever() -> None:
    book = conversing(idle_s=4.0) >> JobStarted(1, 60.0) >> 61.0 >> 3.799999
    assert book >> 0.000001 << CreateResponse(1, 1, Purpose.IDLE_PROMPT, "prompt")


def test_r28_a_text_of_a_job_is_said_while_it_runs() -> None:
    assert conversing() >> JobStarted(1, 60.0) >> TextInjected("x") << CreateResponse(1, 1, Purpose.INJECTED_TEXT, "say x")


def test_r44_keys_are_pressed_while_the_call_lives() -> None:
    assert conversing() >> DigitsAsked("12#") << SendDigits("12#")
    leaving = started(Call(CallSettings(greeting=False), apology=SOUND)) >> SessionReady(1) >> FatalErrorRaised("bug") << ...
    leaving = leaving >> DigitsAsked("1") << Discard(Refusal.CLOSING) >> 0.1 >> PlaybackMarked("2.1")
    assert leaving << HangUp("bug")


def test_a_tool_that_is_answered_after_its_filler_is_told_to_the_model_once() -> None:
    book = comforted() >> SessionReady(1) >> ResponseCreated(1, "r1") >> ToolCalled(1, "r1", "f1", "t1", "look", "{}") << ...
    book = book >> ResponseDone(1, "r1", DONE) >> FillerAsked("wait") << CreateResponse >> ResponseCreated(1, "r2", 1)
    book = book >> ToolFinished("t1", "ok") << SendToolResult(1, "t1", "ok") >> ResponseDone(1, "r2", DONE)
    assert book << CreateResponse(1, 2, Purpose.TOOL_RESULT)


def test_r31_a_text_waits_two_seconds_for_what_is_said_and_then_takes_its_place() -> None:
    book = speaking(conversing() >> ResponseCreated(1, "r1"), ms=400) >> TextInjected("sum")
    book = book << Refuse(Purpose.INJECTED_TEXT, Refusal.RESPONSE_ACTIVE, waits=True) >> ModelAudio(1, "r1", "i1", LONG) << ...
    book = book >> 1.999999 >> 0.000001 << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem
    book = book >> ResponseDone(1, "r1", ResponseStatus.CANCELLED)
    assert book << CreateResponse(1, 1, Purpose.INJECTED_TEXT, "say sum")
