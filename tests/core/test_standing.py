import pytest

from trio_voice.core.standing import Standing
from trio_voice.core.states import CallState, TurnState


def test_where_a_call_begins() -> None:
    standing = Standing()
    assert (standing.call, standing.turn) == (CallState.CONNECTING, TurnState.QUIET)
    assert standing.session is None
    assert not standing.calibrated


def test_nothing_can_be_added_to_it() -> None:
    with pytest.raises(AttributeError):
        Standing().closing = True  # type: ignore[attr-defined]  # - the mistake that is tested
