"""Secrets and numbers are taken out, in every form that they are written in."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_voice.storage.redaction import HIDDEN, SHORTEST, Redaction


def test_r40_a_secret_and_a_number_are_hidden() -> None:
    redact = Redaction(("sk-secret", "token-token"))
    assert redact("key sk-secret, of +14158675310; token-token!") == f"key {HIDDEN}, of …5310; {HIDDEN}!"
    assert redact("nothing") == "nothing"
    assert Redaction(show_numbers=True)("+14158675310") == "+14158675310"


def test_r40_of_two_secrets_one_of_which_begins_as_the_other_nothing_is_left() -> None:
    assert Redaction(("secret", "secret-and-more"))("secret-and-more secret") == f"{HIDDEN} {HIDDEN}"


def test_in_a_journal_every_letter_keeps_its_place() -> None:
    redact = Redaction(("sk-secret",), show_numbers=True, keeps_length=True)
    assert redact("a sk-secret b +14158675310") == "a ********* b +14158675310"


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=SHORTEST, max_size=40))
def test_r40_a_secret_is_found_as_it_is_in_json_and_in_a_url(secret: str) -> None:
    redact = Redaction((secret,), show_numbers=True)
    for text in (secret, json.dumps({"a": f"x {secret} y"}), f"https://a/?b={quote(secret, safe='')}"):
        assert secret not in redact(text).replace(HIDDEN, "")
        assert json.dumps(secret)[1:-1] not in redact(text).replace(HIDDEN, "")


@pytest.mark.parametrize("secret", ["", "a", "12345"])
def test_a_secret_that_any_text_may_hold_is_none(secret: str) -> None:
    assert Redaction((secret,))("a 12345") == "a 12345"


def test_secrets_are_not_in_what_is_printed() -> None:
    assert "sk-secret" not in repr(Redaction(("sk-secret",)))
