import pytest

from trio_voice.core.items import MOST_SILENT, MOST_TRUNCATED, UnheardItems

TOO_LONG = "Audio content of 3700ms is already shorter than 3760ms"


@pytest.fixture
def items() -> UnheardItems:
    items = UnheardItems()
    items.truncated("i1", 3760)
    return items


def test_what_never_sounded() -> None:
    items = UnheardItems()
    for item in ("i1", "i2", "i2", "i3"):
        items.added(item)
    items.sounded("i2")
    items.sounded("i9")
    assert items.take_silent() == ["i1", "i3"]
    assert items.take_silent() == []


@pytest.mark.parametrize("event_id", ["truncate-i1", None])
def test_a_refused_truncate_is_sent_once_more_with_what_exists(items: UnheardItems, event_id: str | None) -> None:
    assert items.refused(event_id, TOO_LONG) == ("i1", 3700)
    assert items.refused(event_id, TOO_LONG) is None


@pytest.mark.parametrize(
    ("event_id", "message"),
    [
        ("truncate-i2", TOO_LONG),
        ("create-1", TOO_LONG),
        (None, "Audio content of 3700ms is already shorter than 3761ms"),
        (None, "something took 3760ms"),
        ("truncate-i1", "the item does not exist"),
        ("truncate-i1", "Audio content of 3760ms is already shorter than 3760ms"),
    ],
)
def test_other_errors_are_no_reason_to_truncate_again(items: UnheardItems, event_id: str | None, message: str) -> None:
    assert items.refused(event_id, message) is None


def test_one_that_was_confirmed_is_done(items: UnheardItems) -> None:
    items.confirmed("i1")
    items.confirmed("i2")
    assert items.refused("truncate-i1", TOO_LONG) is None


def test_numbers_at_the_end_of_a_sentence(items: UnheardItems) -> None:
    assert items.refused(None, "Audio of 12ms, shorter than 3760ms.") == ("i1", 12)
    items.truncated("i1", 3760)
    assert items.refused("truncate-i1", "items ms xms of 5ms") == ("i1", 5)


def test_bounds(items: UnheardItems) -> None:
    for number in range(MOST_TRUNCATED):
        items.truncated(f"j{number}", 100)
    assert items.refused("truncate-i1", TOO_LONG) is None
    assert items.refused("truncate-j0", "5ms") == ("j0", 5)
    for number in range(MOST_SILENT + 1):
        items.added(f"k{number}")
    assert items.take_silent() == [f"k{number}" for number in range(MOST_SILENT)]
