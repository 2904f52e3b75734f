"""The moments that calls share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_voice.storage.slots import SLOTS_A_SECOND, begin_of_slot, end_of_slot


@pytest.mark.parametrize(
    ("at", "begin", "end"), [(0.0, 0.0, 0.0), (1.2, 1.2, 1.2), (1.21, 1.2, 1.3), (1.299, 1.2, 1.3), (7.3, 7.3, 7.3)]
)
def test_a_moment_lies_between_two_that_calls_share_or_is_one(at: float, begin: float, end: float) -> None:
    assert (begin_of_slot(at), end_of_slot(at)) == (begin, end)


@given(tenths=st.integers(0, 10**8))
def test_a_moment_that_calls_share_is_its_own_slot(tenths: int) -> None:
    at = tenths / SLOTS_A_SECOND
    assert begin_of_slot(at) == end_of_slot(at) == at
