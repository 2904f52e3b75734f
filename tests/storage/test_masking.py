"""Numbers that are shown are masked; what is none is left alone."""

from __future__ import annotations

import pytest

from trio_voice.storage.masking import mask_number, mask_numbers


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+14158675310", "…5310"),
        ("sip:ann@practice.example", "…mple"),
        ("112", "…"),
        ("1234", "…"),
        ("12345", "…2345"),
        ("", "…"),
    ],
)
def test_r40_a_number_keeps_its_last_four(number: str, shown: str) -> None:
    assert mask_number(number) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("from +14158675310 to +4930901820.", "from …5310 to …1820."),
        ('{"From":"+14158675310"}', '{"From":"…5310"}'),
        ("tel:0014158675310", "tel:…5310"),
        ("+1", "+1"),
        ("+123456", "+123456"),
        ("+1234567", "…4567"),
        ("+123456789012345", "…2345"),
        ("+1234567890123456", "+1234567890123456"),
        ("20261121-093012-0a1b2c3d", "20261121-093012-0a1b2c3d"),
        ("CA00112233445566778899aabbccddeeff", "CA00112233445566778899aabbccddeeff"),
        ("1.0000000000001", "1.0000000000001"),
        ("2026-11-21T09:30:12+00:00", "2026-11-21T09:30:12+00:00"),
        ("e+12345678", "e+12345678"),
        ("", ""),
    ],
)
def test_r40_numbers_in_a_text_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert mask_numbers(text) == shown
