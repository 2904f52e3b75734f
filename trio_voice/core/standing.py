"""The state variables of a call, in one place, so that nothing can disagree with them."""

from __future__ import annotations

from attrs import define

from trio_voice.core.states import CallState, ChangeState, TurnState


@define
class Standing:
    """Where a call stands.

    `session` is the number of the Realtime session that may be talked to; None while there is none. `end_reason` says why the
    call is ending, while it is. `words_come` says that the caller's words are told as text in this call.
    """

    call: CallState = CallState.CONNECTING
    turn: TurnState = TurnState.QUIET
    change: ChangeState = ChangeState.SETTLED
    session: int | None = None
    calibrated: bool = False
    end_reason: str = ""
    words_come: bool = False
