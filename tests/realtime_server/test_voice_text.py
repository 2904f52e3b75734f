"""Cutting text into sentences: nothing is lost, nothing is too long, abbreviations do not end a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_voice.realtime_server.voice_text import LONGEST_CHARACTERS, pause_s, sentences, syllables


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        (" \n\t ", []),
        ("...", []),
        ("Hello", ["Hello"]),
        ("Hello. How are you?  Fine!", ["Hello.", "How are you?", "Fine!"]),
        ("Really?! Yes.", ["Really?!", "Yes."]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        ("It costs 3.50 dollars.", ["It costs 3.50 dollars."]),
        ("Dr. Smith and Mr. J. Doe, e.g. at St. Paul's. Next.", ["Dr. Smith and Mr. J. Doe, e.g. at St. Paul's.", "Next."]),
        ("So do I. Do you?", ["So do I.", "Do you?"]),
        ("Two things: one; two.", ["Two things:", "one;", "two."]),
        ("First line\nsecond line", ["First line", "second line"]),
        ("Hello\x00there\x07 you", ["Hello there you"]),
        ("你好。再见！", ["你好。", "再见！"]),  # noqa: RUF001 - Chinese writing is meant
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


def test_long_sentences_are_cut_at_a_comma_else_at_a_space_else_anywhere() -> None:
    with_comma = "word " * 20 + "comma, " + "word " * 20
    assert sentences(with_comma)[0].endswith("comma,")
    with_space = "word " * 60
    assert all(part.endswith("word") for part in sentences(with_space))
    assert [len(part) for part in sentences("x" * 400)] == [160, 160, 80]


@settings(max_examples=50)
@given(st.text(max_size=600))
def test_nothing_that_can_be_spoken_is_lost(text: str) -> None:
    parts = sentences(text)
    assert all(0 < len(part) <= LONGEST_CHARACTERS for part in parts)
    assert [c for part in parts for c in part if c.isalnum()] == [c for c in text if c.isalnum() and c.isprintable()]


@pytest.mark.parametrize(
    ("word", "count"),
    [("yes", 1), ("hello", 2), ("reception", 3), ("table", 2), ("home", 1), ("the", 1), ("2026", 4), ("hm", 1), ("Улица", 3)],
)
def test_syllables(word: str, count: int) -> None:
    assert syllables(word) == count


def test_a_stop_is_longer_than_a_comma() -> None:
    assert pause_s("Hello.") == pause_s('He said "no."') == pause_s("What?!") == 0.3
    assert pause_s("Hello,") == pause_s("and so") == pause_s("Two things:") == 0.15
