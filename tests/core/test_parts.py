import pytest

from trio_voice.core.commands import AddText, CreateResponse, Note, Purpose, Refusal, Refuse
from trio_voice.core.parts import Parts
from trio_voice.core.response import Request
from trio_voice.core.settings import CallSettings, Wording
from trio_voice.core.states import CallState


@pytest.fixture
def parts() -> Parts:
    return Parts(CallSettings(), Wording(), b"sorry", marks=False, bytes_per_ms=16)


def test_the_parts_share_where_the_call_stands_and_its_deadlines(parts: Parts) -> None:
    for part in (parts.guard, parts.gate, parts.turn, parts.sessions):
        assert part.standing is parts.standing
    for timed in (parts.guard, parts.playback, parts.turn, parts.sessions, parts.tools, parts.retries, parts.idle):
        assert timed.deadlines is parts.deadlines
    assert parts.announcements.deadlines is parts.keypad.deadlines is parts.deadlines


def test_the_line_is_as_it_was_said(parts: Parts) -> None:
    assert (parts.playback.marks, parts.playback.bytes_per_ms, parts.sessions.bytes_per_ms) == (False, 16, 16)


def test_the_answer_is_collected_in_order(parts: Parts) -> None:
    parts.do(Note("a"), Note("b"))
    parts.ask(Request(Purpose.TURN), 0.0)
    assert parts.out == [Note("a"), Note("b"), Refuse(Purpose.TURN, Refusal.NO_SESSION, waits=True)]


def test_texts_are_numbered_and_remembered_unless_they_are_what_is_remembered(parts: Parts) -> None:
    parts.standing.session, parts.standing.call = 3, CallState.CONVERSING
    parts.add_text("system", "one")
    parts.add_text("user", "two", remember=False)
    parts.ask(Request(Purpose.TURN), 0.0)
    assert parts.out == [AddText(3, 1, "system", "one"), AddText(3, 2, "user", "two"), CreateResponse(3, 1, Purpose.TURN)]
    assert parts.history.seed() == [("system", "one")]
