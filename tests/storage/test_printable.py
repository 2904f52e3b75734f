"""No text of a peer's moves the cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_voice.storage.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Guten Tag, 5\u202f€ \U0001f469\u200d\U0001f680 ¿qué?", None),
        ("a\tb\nc", None),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b2J\r\x7f\x00", r"\x9b2J\r\x7f\x00"),
        ("abc\u202edef\u2066", r"abc\u202edef\u2066"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str | None) -> None:
    assert printable(text) == (text if shown is None else shown)


@given(st.text())
def test_nothing_is_left_that_controls(text: str) -> None:
    shown = printable(text)
    assert all(letter in "\t\n" or ord(letter) >= 32 for letter in shown)
    assert printable(shown) == shown
    shown.encode("utf-8")  # no half of a surrogate pair
