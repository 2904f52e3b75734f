from __future__ import annotations

import pytest

from trio_voice.agent.docstring import Docstring, parse_docstring

WHOLE = """Book an
    appointment.

    Only on working
    days.

    Args:
        day: The day, for instance "Tuesday".
        name (str): Who comes: first
            and last name.

        note:

    Returns:
        The number of the booking.
            Indented.

    Raises:
        ValueError: never told.

    Ask first.
    """


def test_the_description_is_what_stands_outside_of_the_sections() -> None:
    assert parse_docstring(WHOLE).description == "Book an appointment.\nOnly on working days.\nAsk first."


def test_the_arguments_are_read_with_the_lines_that_go_on() -> None:
    assert parse_docstring(WHOLE).arguments == {
        "day": 'The day, for instance "Tuesday".',
        "name": "Who comes: first and last name.",
        "note": "",
    }


@pytest.mark.parametrize("heading", ["Args", "Arguments"])
def test_both_headings_of_the_arguments_count(heading: str) -> None:
    assert parse_docstring(f"Say.\n\n{heading}:\n    text: What.").arguments == {"text": "What."}


def test_a_word_with_a_colon_is_no_section() -> None:
    text = "Ask for one of:\n    tea\n    coffee\n\nNote: it is hot."
    assert parse_docstring(text) == Docstring("Ask for one of: tea coffee\nNote: it is hot.", {})


def test_a_docstring_of_one_line_and_one_of_none() -> None:
    assert parse_docstring("  Tell the time. ") == Docstring("Tell the time.", {})
    assert parse_docstring("\n  \n") == Docstring("", {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Say.\n\n:param text: What.", "the docstring is in reStructuredText format: write the arguments below a line 'Args:'"),
        ("Say.\n\nParameters\n----------\ntext : str\n    What.", "the docstring is in numpy's format"),
        ("Say.\n\nArgs:\n    The text.", "the docstring's line 'The text.' below 'Args:' does not look like 'name: text'"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=rf"^{says}"):
        parse_docstring(text)
