"""Taking the floor; the guarantees about it are R02, R06 and R09."""

from tests.core.playbook import Playbook, conversing, speaking
from trio_voice.core.commands import CancelResponse, ClearPlayback, DeleteItem, TruncateItem
from trio_voice.core.cutting import cut_off, forget_silent_items
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import ItemAdded, ItemKind, ModelTranscript, ResponseCreated, TextInjected
from trio_voice.core.states import ResponseState


def cut(book: Playbook) -> list[object]:
    parts = book.call.parts
    parts.out = []
    cut_off(parts, book.now)
    return list(parts.out)


def test_clear_cancel_truncate_in_this_order() -> None:
    book = speaking(conversing()) >> 0.1
    assert cut(book) == [ClearPlayback(), CancelResponse(1, "r1"), TruncateItem(1, "i1", 100)]
    assert cut(book) == []


def test_nothing_said_nothing_cut() -> None:
    assert cut(conversing()) == []


def test_the_confirmation_is_not_waited_for_any_more() -> None:
    book = conversing()
    book.call.parts.deadlines.set(Timer.BARGE_IN_CONFIRM, 9.0)
    cut(book)
    assert book.call.parts.deadlines.at(Timer.BARGE_IN_CONFIRM) is None


def test_the_memory_is_cut_where_the_ear_was() -> None:
    book = speaking(conversing()) >> ModelTranscript(1, "r1", "i1", "one two three four", final=True) >> 0.2
    cut(book)
    assert book.call.parts.history.seed() == [("assistant", "one two ...")]


def test_a_text_of_which_nothing_was_heard_is_put_back() -> None:
    book = conversing() >> TextInjected("x") << ...
    cut(book)
    parts = book.call.parts
    assert parts.guard.state is ResponseState.DOOMED
    assert parts.announcements.next_one is not None
    begun = conversing() >> TextInjected("x") << ... >> ResponseCreated(1, "r1", 1)
    cut(begun)
    assert begun.call.parts.announcements.next_one is None


def test_silent_items_are_deleted_if_they_are_to_be_and_somebody_can_be_told() -> None:
    for delete, session, commands in ((True, 1, [DeleteItem(1, "m1")]), (False, 1, []), (True, None, [])):
        book = conversing() >> ResponseCreated(1, "r1") >> ItemAdded(1, "r1", "m1")
        book = book >> ItemAdded(1, "r1", "f1", ItemKind.FUNCTION_CALL) >> ItemAdded(1, "r1", "o1", ItemKind.OTHER)
        book = book >> ModelTranscript(1, "r1", "m1", "x")
        parts = book.call.parts
        parts.out, parts.standing.session = [], session
        forget_silent_items(parts, delete=delete)
        assert parts.out == commands
        assert ("m1" in parts.history) == (commands == [])
        assert parts.items.take_silent() == []
