from itertools import product

import pytest

from trio_voice.core.change import SessionChange
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.events import ChangeAsked
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing
from trio_voice.core.states import CHANGE_TABLE, ChangeSignal, ChangeState, Fault
from trio_voice.errors import LocalProtocolError

ASKED = ChangeAsked(1)


@pytest.fixture
def change() -> SessionChange:
    return SessionChange(CallSettings(change_limit_s=3.0), Standing(), Deadlines())


@pytest.mark.parametrize(("signal", "state"), list(product(ChangeSignal, ChangeState)))
def test_every_cell_is_obeyed(change: SessionChange, signal: ChangeSignal, state: ChangeState) -> None:
    change.standing.change = state
    cell = CHANGE_TABLE[signal][state]
    if cell is Fault.OURS:
        with pytest.raises(LocalProtocolError, match=f"is not possible while the change is {state.value}"):
            change.signal(signal)
        assert change.standing.change is state
    else:
        change.signal(signal)
        assert change.standing.change is cell


def test_a_change_is_pending_until_it_is_over(change: SessionChange) -> None:
    assert not change.pending
    change.ask(ASKED, ChangeSignal.ASKED_ANEW)
    change.wait(1.0)
    assert (change.pending, change.asked, change.deadlines.at(Timer.CHANGE)) == (True, ASKED, 4.0)
    assert change.over(ChangeSignal.FAILED) == ASKED
    assert (change.pending, change.asked, change.deadlines.at(Timer.CHANGE)) == (False, None, None)
