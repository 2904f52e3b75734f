"""The machine as a whole, one dialogue for each stretch of a call's life. The guarantees have their own module."""

from tests.core.playbook import call_with, conversing, greeting, hear, speaking, spoken, started
from trio_voice.core.commands import (
    AppendAudio,
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
    SendMark,
    TruncateItem,
)
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import (
    CallerAudio,
    CallerHungUp,
    HangUpAsked,
    ModelAudio,
    PlaybackMarked,
    ResponseCreated,
    ResponseDone,
    ResponseStatus,
    SessionReady,
    SpeechStarted,
    SpeechStopped,
    TurnCommitted,
)

AUDIO = b"\x80" * 1600  # 200 ms


def test_nothing_happens_before_the_stream_starts() -> None:
    call = call_with()
    assert (call.next_deadline(), call.next_timer()) == (None, None)
    assert call.handle_timer(1e6) == []


def test_the_caller_is_handed_on() -> None:
    assert conversing() >> CallerAudio(b"abc") << AppendAudio(1, b"abc")


def test_what_the_caller_says_before_the_session_is_kept() -> None:
    book = started(greeting=False) >> CallerAudio(b"abc") >> CallerAudio(b"def")
    assert book >> SessionReady(1) << AppendAudio(1, b"abc") << AppendAudio(1, b"def")


def test_greeting_to_conversation() -> None:
    book = greeting() >> ResponseCreated(1, "r1", 1) >> ModelAudio(1, "r1", "i1", AUDIO)
    book = book << PlayAudio("r1", "i1", AUDIO) << SendMark("1.1")
    book = book >> ResponseDone(1, "r1", ResponseStatus.COMPLETED)
    assert book >> 0.2 >> PlaybackMarked("1.1") << Note("the greeting is over")


def test_a_turn() -> None:
    book = conversing() >> SpeechStarted(1, "u1") >> 1.0 >> SpeechStopped(1, "u1") >> TurnCommitted(1, "u1")
    assert book >> 0.149999 >> 0.000001 << CreateResponse(1, 1, Purpose.TURN) >> ResponseCreated(1, "r1", 1)


def test_barge_in() -> None:
    book = speaking(conversing(), ms=200) >> 0.015
    book = book >> SpeechStarted(1, "u1") << ClearPlayback() << CancelResponse(1, "r1") << TruncateItem(1, "i1", 15)
    book = book >> ModelAudio(1, "r1", "i1", AUDIO) << Discard(Refusal.CANCELLED_RESPONSE)
    assert book >> ResponseDone(1, "r1", ResponseStatus.CANCELLED)


def test_a_reply_that_was_heard_is_left_alone() -> None:
    book = spoken(conversing(), ms=200) >> 0.2 >> PlaybackMarked("1.1") >> 0.5
    assert book >> SpeechStarted(1, "u1")


def test_the_agent_hangs_up() -> None:
    book = spoken(conversing(), ms=200) >> HangUpAsked("done") >> 0.2
    book = book >> PlaybackMarked("1.1") << HangUp("done")
    assert book >> CallerHungUp("stop") << Close("done")
    assert book.call.next_deadline() is None


def test_the_caller_hangs_up() -> None:
    book = hear(conversing(), 3) >> CallerHungUp("stop") << Close("stop")
    assert book >> SpeechStarted(1, "u1") >> CallerHungUp("again") >> 1e6


def test_one_deadline_at_a_time() -> None:
    call = conversing(idle_s=2.0, media_limit_s=2.0).call
    assert call.next_timer() is Timer.MEDIA
    call.handle_timer(100.0)
    assert call.next_timer() is not Timer.MEDIA
