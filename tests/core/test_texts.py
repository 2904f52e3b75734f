"""Texts to be spoken: what the guarantees R19b and R31 leave out."""

from tests.core.playbook import conversing, greeting, speaking, spoken
from trio_voice.core.commands import (
    ClearPlayback,
    CreateResponse,
    Purpose,
    Refusal,
    Refuse,
)
from trio_voice.core.events import (
    ResponseCreated,
    ResponseDone,
    ResponseStatus,
    SpeechStarted,
    SpeechStopped,
    TextInjected,
    TurnCommitted,
)

FAILED = ResponseStatus.FAILED


def test_a_text_lets_a_greeting_and_another_text_finish() -> None:
    book = spoken(greeting(marks=False), ms=5000) >> TextInjected("x") << ... >> 4.9 << ...
    assert book.count(ClearPlayback) == 0
    book = conversing(marks=False) >> TextInjected("a") << ...
    book = spoken(book, ms=9000) >> TextInjected("b") << Refuse(Purpose.INJECTED_TEXT, Refusal.RESPONSE_ACTIVE, waits=True) >> 6.5
    assert book.count(ClearPlayback) == 0
    assert book >> 2.5 << CreateResponse(1, 2, Purpose.INJECTED_TEXT, "say b")


def test_a_text_that_meets_the_caller_cuts_nothing() -> None:
    book = conversing() >> SpeechStarted(1, "u1") >> TextInjected("x")
    book = book << Refuse(Purpose.INJECTED_TEXT, Refusal.CALLER_SPEAKING, waits=True) >> 3.0 >> SpeechStopped(1, "u1")
    book = book >> TurnCommitted(1, "u1") >> 0.15 << CreateResponse(1, 1, Purpose.TURN)
    book = speaking(book, ms=5000) >> 2.0 << ...
    assert book.count(ClearPlayback) == 1  # its patience with a reply is two seconds


def test_the_notice_cuts_nothing() -> None:
    book = speaking(conversing(longest_call_s=60.0, longest_call_notice_s=30.0, idle_s=0.0), ms=60_000) >> 29.8 << ...
    book = book >> 10.0 << ...
    assert book.count(ClearPlayback) == 0


def test_too_many_texts_are_refused() -> None:
    book = greeting()
    for _ in range(8):
        book = book >> TextInjected("x") << Refuse(Purpose.INJECTED_TEXT, Refusal.GREETING_LOCK, waits=True)
    assert book >> TextInjected("x") << Refuse(Purpose.INJECTED_TEXT, Refusal.GREETING_LOCK)


def test_a_text_that_failed_is_said_again() -> None:
    book = conversing() >> TextInjected("x") << ... >> ResponseCreated(1, "r1", 1) >> ResponseDone(1, "r1", FAILED) >> 0.5
    assert book << CreateResponse(1, 2, Purpose.INJECTED_TEXT, "say x")
