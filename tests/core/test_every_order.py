"""Every sequence of events, to a depth: the invariants of `checked` hold in every state that can be reached."""

import os
import time
from collections import deque
from random import Random
from typing import Any

import pytest

from tests.core.checked import Checked
from tests.core.exploration import ALPHABET, DEEP, World, after, clone, explore, fingerprint, step, walk
from tests.core.playbook import call_with
from trio_voice.core import events as e
from trio_voice.core.settings import Turns
from trio_voice.core.states import CallState

SECONDS = float(os.environ.get("EXPLORE_SECONDS", "4"))
"""How long each exploration may take; all fifteen of them take a minute."""
MORE: list[dict[str, Any]] = [
    {"greeting": True, "greeting_interruptible": True, "barge_in_confirm_ms": 100},
    {"idle_s": 0.0},
    {"marks": False},
    {"marks": False, "barge_in_confirm_ms": 200},
    {"session_age_limit_s": 3.0},
    {"longest_call_s": 30.0, "longest_call_notice_s": 10.0},
    {"unheard_limit_s": 0.5},
    {"apology": b"s" * 4000},
    {"failed_retries": 0, "watchdog_retries": 0},
    {"hang_up_keep_on_speech": False, "turn_end_s": 0.0},
]
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "greeting": {"greeting": True},
    "reversible": {"barge_in_confirm_ms": 200},
    "turns of the model's": {"turns": Turns.MODEL},
    "old": {"session_age_limit_s": 0.05},
}


SERVED = ("start", "ready", "deadline")
"""The first session has just begun to serve, and the line is calibrated."""
STARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "the beginning": ("plain", ()),
    "a greeting that waits": ("greeting", (*SERVED, "blocked")),
    "a change in a gap": ("plain", (*SERVED, "begins", "audio", "done", "lost", "change")),
    "a turn without an answer while the agent is heard": ("reversible", (*SERVED, "begins", "audio", "commit")),
    "a goodbye while a session is renewed": ("old", (*SERVED, "begins", "audio", "deadline", "hang up")),
}
"""From where else to explore: with which configuration, after what. Their depth is what a start from SERVED does not reach."""


def world(*path: str, **settings: Any) -> World:
    """A call to which this has happened."""
    checked = Checked(call_with(**({"greeting": False, "calibration_limit_s": 0.0} | settings)), weigh=False)
    checked.story = deque(maxlen=0)  # the path tells it
    return after(World(checked), *path)


def served(**settings: Any) -> World:
    start = world(*SERVED, **settings)
    assert start.checked.call.parts.standing.calibrated
    return start


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_every_sequence_of_two(configuration: str) -> None:
    levels = list(explore(served(**CONFIGURATIONS[configuration]), ALPHABET, 2))
    assert len(levels) == 2
    assert levels[0] > 10


@pytest.mark.parametrize("start", STARTS)
def test_every_sequence_of_two_from_elsewhere(start: str) -> None:
    configuration, path = STARTS[start]
    levels = list(explore(world(*path, **CONFIGURATIONS[configuration]), ALPHABET, 2))
    assert len(levels) == 2
    assert levels[1] > levels[0] > 2


def test_every_sequence_of_a_conversation_to_a_depth_of_four() -> None:
    assert sum(explore(served(), {name: ALPHABET[name] for name in DEEP}, 4)) > 500


@pytest.mark.prove
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("letters", ["all", "a conversation's"])
def test_every_sequence_as_deep_as_the_time_allows(configuration: str, letters: str, capsys: pytest.CaptureFixture[str]) -> None:
    until = time.monotonic() + SECONDS
    alphabet = ALPHABET if letters == "all" else {name: ALPHABET[name] for name in DEEP}
    levels = list(explore(served(**CONFIGURATIONS[configuration]), alphabet, 99, enough=lambda: time.monotonic() > until))
    with capsys.disabled():
        print(f"\n{configuration}, {len(alphabet)} letters: {sum(levels)} states, all sequences of {len(levels)} ({levels})")
    assert len(levels) >= 2  # more on a machine that has time


@pytest.mark.prove
@pytest.mark.parametrize("start", STARTS)
def test_every_sequence_from_elsewhere_as_deep_as_the_time_allows(start: str, capsys: pytest.CaptureFixture[str]) -> None:
    until = time.monotonic() + SECONDS
    configuration, path = STARTS[start]
    levels = list(explore(world(*path, **CONFIGURATIONS[configuration]), ALPHABET, 99, enough=lambda: time.monotonic() > until))
    with capsys.disabled():
        print(f"\n{start}, {len(ALPHABET)} letters: {sum(levels)} states, all sequences of {len(levels)} ({levels})")
    assert len(levels) >= 2


def walks(number: int) -> None:
    for seed in range(number):
        random = Random(seed)
        settings = random.choice([*CONFIGURATIONS.values(), *MORE])
        start = served(**settings)
        start.checked.weigh = seed % 20 == 0
        walk(start, random, random.choice([30, 80, 200]))


def test_long_walks() -> None:
    walks(150)


@pytest.mark.prove
def test_many_long_walks() -> None:
    walks(20_000)


def test_a_copy_is_equal_and_of_its_own() -> None:
    first = served()
    second = clone(first, {})
    assert fingerprint(first) == fingerprint(second)
    assert step(second, "hang up", ALPHABET["hang up"]) is not None
    assert second.checked.call.state is CallState.CONVERSING
    second.checked.receive(e.HangUpAsked("done"))
    assert first.checked.call.state is CallState.CONVERSING
    assert fingerprint(first) != fingerprint(second)


def test_an_error_tells_the_path_to_it() -> None:
    def breaks(world: World) -> bool:
        if world.turns:
            raise ValueError(world)
        return False

    with pytest.raises(AssertionError, match="speaks / breaks"):
        list(explore(served(), {"speaks": ALPHABET["speaks"], "breaks": breaks}, 2))
