"""Moments that calls share: what each of them does once a second is done at the same tenth of a second.

To be woken for the chore of one call costs more than the chore.
"""

from __future__ import annotations

import math

SLOTS_A_SECOND = 10


def begin_of_slot(at: float) -> float:
    """The last moment up to `at` (seconds of any clock) that calls share."""
    return math.floor(round(at * SLOTS_A_SECOND, 6)) / SLOTS_A_SECOND


def end_of_slot(at: float) -> float:
    """The first moment from `at` on that calls share."""
    return math.ceil(round(at * SLOTS_A_SECOND, 6)) / SLOTS_A_SECOND
