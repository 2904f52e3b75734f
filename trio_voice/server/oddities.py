"""What was odd about a carrier's messages."""

from __future__ import annotations

from collections import Counter

import structlog
from attrs import define, field

from trio_voice.dialects.base import Oddity

log = structlog.get_logger(__name__)

LOGGED = 3
"""How many oddities of each kind are worth a log line; the rest are only counted."""


@define
class Oddities:
    """All that was odd on one stream: counted, and a little of it logged."""

    counts: Counter[str] = field(factory=Counter, init=False)
    """By the names of `OddityKind`."""

    def add(self, oddity: Oddity) -> bool:
        """Count an oddity; tells whether it was worth a word."""
        kind = oddity.kind.value
        self.counts[kind] += 1
        if self.counts[kind] > LOGGED:
            return False
        log.warning("the carrier sent something odd", kind=kind, detail=oddity.text)
        return True
