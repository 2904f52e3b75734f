from itertools import product

import pytest

from trio_voice.core.commands import Refusal
from trio_voice.core.states import (
    CHANGE_TABLE,
    MIRROR_TABLE,
    REFUSALS,
    RESPONSE_TABLE,
    CallState,
    Cell,
    ChangeSignal,
    ChangeState,
    Fault,
    ResponseState,
    Signal,
)

IDLE, REQUESTED, DOOMED, ACTIVE, CANCELLING, BLOCKED = ResponseState
LEGAL = {  # from the theory: in which states each signal means something
    Signal.CREATE_SENT: {IDLE: REQUESTED},
    Signal.CREATED: {IDLE: ACTIVE, REQUESTED: ACTIVE, DOOMED: ACTIVE, BLOCKED: ACTIVE},
    Signal.DOOMED: {REQUESTED: DOOMED},
    Signal.CANCEL_SENT: {ACTIVE: CANCELLING, BLOCKED: CANCELLING},
    Signal.DONE: {ACTIVE: IDLE, CANCELLING: IDLE, BLOCKED: IDLE},
    Signal.CREATE_REFUSED: {REQUESTED: IDLE, DOOMED: IDLE},
    Signal.CREATE_BLOCKED: {REQUESTED: BLOCKED, DOOMED: BLOCKED},
    Signal.CANCEL_REFUSED: {CANCELLING: IDLE},
    Signal.CREATE_UNSENT: {REQUESTED: IDLE, DOOMED: IDLE},
    Signal.CANCEL_UNSENT: {CANCELLING: ACTIVE},
    Signal.GIVEN_UP: {REQUESTED: IDLE, DOOMED: IDLE, CANCELLING: IDLE, BLOCKED: IDLE},
    Signal.SESSION_ENDED: dict.fromkeys(ResponseState, IDLE),
}


def test_the_tables_are_complete() -> None:
    for table in (RESPONSE_TABLE, MIRROR_TABLE):
        assert set(table) == set(Signal)
        assert all(list(row) == list(ResponseState) for row in table.values())
    assert set(REFUSALS) == set(CallState)


@pytest.mark.parametrize(("signal", "state"), list(product(Signal, ResponseState)))
def test_each_cell(signal: Signal, state: ResponseState) -> None:
    """A second response beside an active one is the only thing that is the peer's fault; all else is matched before."""
    second = signal is Signal.CREATED and state in (ACTIVE, CANCELLING)
    assert RESPONSE_TABLE[signal][state] is LEGAL[signal].get(state, Fault.PEERS if second else Fault.OURS)


def reachable(start: ResponseState, signals: set[Signal]) -> set[ResponseState]:
    found, queue = {start}, [start]
    while queue:
        state = queue.pop()
        cells: list[Cell] = [RESPONSE_TABLE[signal][state] for signal in signals]
        new = {cell for cell in cells if isinstance(cell, ResponseState)} - found
        found |= new
        queue += new
    return found


def test_every_state_is_reached() -> None:
    assert reachable(IDLE, set(Signal)) == set(ResponseState)


@pytest.mark.parametrize("state", ResponseState)
def test_deadlines_alone_lead_back_to_idle(state: ResponseState) -> None:
    """What we can do without the peer: give up, and cancel."""
    assert IDLE in reachable(state, {Signal.GIVEN_UP, Signal.CANCEL_SENT})


@pytest.mark.parametrize("state", ResponseState)
def test_a_session_that_ends_leaves_nothing(state: ResponseState) -> None:
    assert RESPONSE_TABLE[Signal.SESSION_ENDED][state] is IDLE


def test_a_cancel_is_sent_only_for_something_that_is_active() -> None:
    row = RESPONSE_TABLE[Signal.CANCEL_SENT]
    assert {state for state in ResponseState if row[state] is CANCELLING} == {ACTIVE, BLOCKED}


def test_a_create_is_sent_only_from_idle() -> None:
    row = RESPONSE_TABLE[Signal.CREATE_SENT]
    assert {state for state in ResponseState if row[state] is not Fault.OURS} == {IDLE}


def test_the_mirror_differs_only_in_what_the_model_may_begin() -> None:
    differing = {signal for signal in Signal if MIRROR_TABLE[signal] != RESPONSE_TABLE[signal]}
    assert differing == {Signal.CREATED}
    assert set(MIRROR_TABLE[Signal.CREATED].values()) == {ACTIVE}


def test_only_a_conversation_takes_requests_without_reserve() -> None:
    assert [state for state in CallState if REFUSALS[state] is None] == [CallState.CONVERSING]
    assert REFUSALS[CallState.GREETING] is Refusal.GREETING_LOCK
    assert REFUSALS[CallState.GOODBYE] is Refusal.HANG_UP_PENDING
    assert {REFUSALS[state] for state in (CallState.LEAVING, CallState.HANGING_UP, CallState.CLOSED)} == {Refusal.CLOSING}


SETTLED, WAITING, UPDATING, OPENING, READY = ChangeState
CHANGES = {  # from the theory: in which states each signal means something
    ChangeSignal.ASKED_IN_PLACE: {SETTLED: WAITING},
    ChangeSignal.ASKED_ANEW: {SETTLED: OPENING},
    ChangeSignal.UPDATE_SENT: {WAITING: UPDATING},
    ChangeSignal.SESSION_READY: {OPENING: READY},
    ChangeSignal.SPARE_LOST: {OPENING: OPENING, READY: OPENING},
    ChangeSignal.SERVING_LOST: {SETTLED: SETTLED, WAITING: OPENING, UPDATING: OPENING, OPENING: OPENING, READY: READY},
    ChangeSignal.MADE: {UPDATING: SETTLED, READY: SETTLED},
    ChangeSignal.FAILED: {WAITING: SETTLED, UPDATING: SETTLED, OPENING: SETTLED, READY: SETTLED},
}


@pytest.mark.parametrize(("signal", "state"), list(product(ChangeSignal, ChangeState)))
def test_each_cell_of_a_change(signal: ChangeSignal, state: ChangeState) -> None:
    assert CHANGE_TABLE[signal][state] is CHANGES[signal].get(state, Fault.OURS)


@pytest.mark.parametrize("state", [state for state in ChangeState if state is not SETTLED])
def test_every_change_can_fail(state: ChangeState) -> None:
    assert CHANGE_TABLE[ChangeSignal.FAILED][state] is SETTLED
