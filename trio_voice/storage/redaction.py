"""What must not be written down: secrets that the server was started with, and telephone numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from attrs import field, frozen

from trio_voice.storage.masking import mask_numbers

HIDDEN: Final = "[redacted]"
SHORTEST: Final = 6
"""A shorter secret stands in ordinary text by chance; there should be none."""


def _written_forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """Each secret as it is, as in JSON and as in a URL; the longest first, so that no part of one is left over."""
    forms: set[str] = set()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            forms |= {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


@frozen
class Redaction:
    """Takes secrets, and unless `show_numbers` telephone numbers, out of a text.

    With `keeps_length` what is put in their place is as long as they are: a journal is lived again by code that counts letters.
    """

    secrets: tuple[str, ...] = field(default=(), converter=_written_forms, repr=False)
    show_numbers: bool = False
    keeps_length: bool = False

    def __call__(self, text: str) -> str:
        """Return the text as it may be written down."""
        for secret in self.secrets:
            if secret in text:
                text = text.replace(secret, "*" * len(secret) if self.keeps_length else HIDDEN)
        return text if self.show_numbers else mask_numbers(text)
