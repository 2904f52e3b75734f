"""Identifiers as the Realtime wire writes them: a prefix and 21 characters out of `[A-Za-z0-9]` (`call_`: 16)."""

from __future__ import annotations

import base64
import random

from attrs import define

_LENGTH = 21
_CALL_LENGTH = 16
_BYTES_OF_A_BLOCK = 1008  # 1344 characters


@define
class Identifiers:
    """A source of identifiers; the randomness is given, so that a test can repeat a session to the letter.

    Characters are drawn in blocks, as base64 whose two signs are letters: a busy server writes thousands of events a second,
    each with an identifier of its own.
    """

    _random: random.Random
    _pool: str = ""
    _used: int = 0

    def new(self, prefix: str) -> str:
        """Return a fresh identifier such as `event_E7VIlWXBhzDMiXFfysYod`; prefixes: event, item, resp, conv, sess, call."""
        return f"{prefix}_{self.padding(_CALL_LENGTH if prefix == 'call' else _LENGTH)}"

    def padding(self, length: int) -> str:
        """Return so many random characters (at most a block of them)."""
        if self._used + length > len(self._pool):
            self._pool = base64.b64encode(self._random.randbytes(_BYTES_OF_A_BLOCK), b"xy").decode("ascii")
            self._used = 0
        start = self._used
        self._used += length
        return self._pool[start : self._used]
