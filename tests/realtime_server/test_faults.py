from __future__ import annotations

import math
import random

import pytest

from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.events import (
    CloseConnection,
    DropConnection,
    FallSilent,
    Output,
    SendEvent,
    StopSpeech,
)
from trio_voice.realtime_server.faults import FaultyWire, closing
from trio_voice.realtime_server.identifiers import Identifiers
from trio_voice.realtime_server.switches import Switches


def wire(switches: Switches, began_at: float = 100.0) -> FaultyWire:
    return FaultyWire(Behaviour(switches), began_at, random.Random(1))


def event(name: str) -> SendEvent:
    return SendEvent({"type": name})


def names(outputs: list[Output]) -> list[str]:
    return [output.event["type"] if isinstance(output, SendEvent) else type(output).__name__ for output in outputs]


def test_without_faults_it_is_not_in_the_way() -> None:
    faulty = wire(Switches())
    assert not faulty.active
    assert faulty.next_deadline() == math.inf


def test_every_nth_event_comes_twice() -> None:
    faulty = wire(Switches(duplicate_every=2))
    assert faulty.active
    assert names(faulty.pass_on([event("a"), event("b"), event("c")], 0.0)) == ["a", "b", "b", "c"]


def test_every_nth_event_is_followed_by_an_unknown_one() -> None:
    assert names(wire(Switches(unknown_every=2)).pass_on([event("a"), event("b")], 0.0)) == [
        "a",
        "b",
        "response.novelty.delta",
    ]


def test_events_change_places() -> None:
    faulty = wire(Switches(reorder_every=2))
    assert names(faulty.pass_on([event("a"), event("b")], 0.0)) == ["a"]
    assert names(faulty.pass_on([event("c"), event("d")], 0.1)) == ["c", "b"]
    assert faulty.next_deadline() == 0.6  # without a next event, it comes all the same
    assert names(faulty.handle_timer(0.6)) == ["d"]
    assert faulty.next_deadline() == math.inf


def test_jitter_keeps_the_order_and_lets_other_outputs_pass() -> None:
    faulty = wire(Switches(jitter_ms=100))
    outputs: list[Output] = [event(str(number)) for number in range(20)]
    assert faulty.pass_on([*outputs, StopSpeech("s")], 5.0) == [StopSpeech("s")]
    came: list[str] = []
    times: list[float] = []
    while (at := faulty.next_deadline()) < math.inf:
        times.append(at)
        came += names(faulty.handle_timer(at))
    assert came == [str(number) for number in range(20)]
    assert times[0] > 5.0
    assert times[-1] <= 5.1


def test_a_close_waits_behind_what_is_late() -> None:
    faulty = wire(Switches(jitter_ms=100))
    assert faulty.pass_on([event("a"), CloseConnection(1000, "")], 0.0) == []
    assert names(faulty.handle_timer(0.1)) == ["a", "CloseConnection"]


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        (Switches(close_after_s=2.5, close_code=1001), ["CloseConnection"]),
        (Switches(close_after_s=2.5, close_code=1006), ["DropConnection"]),
        (Switches(close_after_s=2.5, close_code=1011), ["error", "CloseConnection"]),
        (Switches(close_after_s=2.5, close_code=1013), ["error", "CloseConnection"]),
        (Switches(reset_after_s=2.5), ["DropConnection"]),
        (Switches(silent_after_s=2.5), ["FallSilent"]),
    ],
)
def test_the_connection_ends_at_its_time_and_once(switches: Switches, expected: list[str]) -> None:
    faulty = wire(switches)
    assert faulty.next_deadline() == 102.5
    assert faulty.handle_timer(102.499) == []
    assert names(faulty.handle_timer(102.5)) == expected
    assert (faulty.handle_timer(103.0), faulty.next_deadline()) == ([], math.inf)


def test_closings() -> None:
    ids = Identifiers(random.Random(1))
    assert closing(1006, ids) == [DropConnection(reset=False)]
    assert closing(1013, ids)[-1] == CloseConnection(1013, "insufficient_quota.insufficient_quota")
    assert closing(1011, ids)[-1] == CloseConnection(1011, "server_error")
    assert FallSilent() == FallSilent()


def test_a_switch_set_later_takes_effect() -> None:
    faulty = wire(Switches())
    faulty.behaviour.change(Switches(reset_after_s=10.0))
    assert faulty.next_deadline() == 110.0
    assert faulty.handle_timer(110.0) == [DropConnection(reset=True)]
