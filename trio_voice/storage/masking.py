"""Telephone numbers, as they may be shown: enough to tell two of one's own apart, too little to call anybody."""

from __future__ import annotations

import re

SHOWN_DIGITS = 4
_NUMBER = re.compile(r"(?<![\w.+-])\+[1-9]\d{6,14}(?!\d)|(?<![\w.+-])00[1-9]\d{6,14}(?!\d)")
"""E.164 ("+" and 7 to 15 digits), and the same with the international prefix 00. Bare digits may be anything."""


def mask_number(number: str) -> str:
    """Keep the last four digits: `…5310`. What is no number (a SIP address, a name) keeps its last four characters too."""
    return f"…{number[-SHOWN_DIGITS:]}" if len(number) > SHOWN_DIGITS else "…"


def mask_numbers(text: str) -> str:
    """Mask every international number in a text."""
    return _NUMBER.sub(lambda found: mask_number(found[0]), text) if "+" in text or "00" in text else text
