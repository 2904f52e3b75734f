from typing import Any

import pytest

from trio_voice.core.commands import Refusal
from trio_voice.core.echo import HIGHEST_DB, WINDOW_FRAMES
from trio_voice.core.gate import TAIL_FRAMES, BargeInGate
from trio_voice.core.settings import CallSettings
from trio_voice.core.standing import Standing
from trio_voice.core.states import TurnState


def gate(*, calibrated: bool = True, **settings: Any) -> BargeInGate:
    return BargeInGate(CallSettings(**settings), Standing(calibrated=calibrated))


def hear(gate: BargeInGate, frames: int, level_dbfs: float, agent_dbfs: float | None = None) -> None:
    for _ in range(frames):
        gate.hear(level_dbfs, agent_dbfs)


def hear_with_pauses(gate: BargeInGate, level_dbfs: float) -> None:
    """A window of echo, frame by frame, with the pauses that keep it from passing for the floor of the line."""
    for _ in range(WINDOW_FRAMES):
        hear(gate, 1, -70.0)
        hear(gate, 1, level_dbfs, -20.0)


def test_calibrated_after_enough_usable_frames() -> None:
    barrier = gate(calibrated=False, calibration_min_frames=10)
    hear(barrier, 9, -60.0)
    hear(barrier, 5, -100.0)
    assert barrier.refusal(0.0) is Refusal.NOT_CALIBRATED
    hear(barrier, 1, -60.0)
    assert barrier.refusal(0.0) is None


def test_the_cooldown_ends_at_its_moment() -> None:
    barrier = gate(cancel_cooldown_s=0.25)
    barrier.acted(1.0)
    assert barrier.refusal(1.0) is Refusal.COOLDOWN
    assert barrier.refusal(1.249999) is Refusal.COOLDOWN
    assert barrier.refusal(1.25) is None


def test_only_callers_who_have_spoken() -> None:
    barrier = gate(require_user_has_spoken=True)
    assert barrier.refusal(0.0) is Refusal.NOT_SPOKEN_YET
    barrier.caller_has_spoken = True
    assert barrier.refusal(0.0) is None


def test_only_so_far_above_the_floor() -> None:
    barrier = gate(barge_in_min_level_db=15.0)
    assert barrier.refusal(0.0) is None
    hear(barrier, 30, -60.0)
    barrier.hear(-45.001, None)
    assert barrier.refusal(0.0) is Refusal.BELOW_LEVEL
    barrier.hear(-45.0, None)
    assert barrier.refusal(0.0) is None
    hear(barrier, 5, -60.0)
    assert barrier.refusal(0.0) is Refusal.BELOW_LEVEL


@pytest.mark.parametrize(("loud_frames", "refusal"), [(1, Refusal.ECHO), (2, None)])
def test_two_of_three_frames_louder_than_the_echo(loud_frames: int, refusal: Refusal | None) -> None:
    barrier = gate()
    hear(barrier, 5, -40.0, -20.0)
    hear(barrier, loud_frames, -20.0, -20.0)
    assert barrier.refusal(0.0) is refusal
    hear(barrier, 1, -40.0, -20.0)
    assert barrier.refusal(0.0) is refusal
    hear(barrier, 1, -40.0, -20.0)
    assert barrier.refusal(0.0) is Refusal.ECHO


def test_the_noise_of_the_line_does_not_pass_for_its_echo() -> None:
    barrier = gate()
    hear(barrier, 100, -40.0)
    hear(barrier, 25, -40.0, -20.0)
    assert barrier.echo.return_loss_db == HIGHEST_DB
    hear(barrier, 2, -36.0, -20.0)
    assert barrier.refusal(0.0) is Refusal.ECHO
    hear(barrier, 2, -30.0, -20.0)
    assert barrier.refusal(0.0) is None


def test_the_echo_guard_can_be_switched_off() -> None:
    barrier = gate(echo_guard=False)
    hear(barrier, 5, -40.0, -20.0)
    assert barrier.refusal(0.0) is None
    barrier.speech_began()
    hear(barrier, 5, -40.0, -20.0)
    assert not barrier.speech_was_echo


def test_it_does_not_learn_from_accepted_speech() -> None:
    barrier = gate()
    hear_with_pauses(barrier, -45.0)
    assert barrier.echo.return_loss_db == 25.0
    barrier.standing.turn = TurnState.SPEAKING
    hear_with_pauses(barrier, -26.0)
    assert barrier.echo.return_loss_db == 25.0
    barrier.denied = Refusal.ECHO
    hear_with_pauses(barrier, -26.0)
    assert barrier.echo.return_loss_db == 6.0


def test_the_echo_has_an_end() -> None:
    barrier = gate()
    hear(barrier, 5, -40.0, -20.0)
    barrier.speech_began()
    hear(barrier, TAIL_FRAMES, -60.0)
    assert barrier.speech_was_echo
    barrier.speech_began()
    hear(barrier, 10, -60.0)
    assert not barrier.speech_was_echo
