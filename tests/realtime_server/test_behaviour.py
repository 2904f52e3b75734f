from __future__ import annotations

from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.switches import Switches


def test_counted_switches_are_used_up_until_they_are_set_anew() -> None:
    behaviour = Behaviour(Switches(refuse_creates=2))
    assert [behaviour.spend("refuse_creates", behaviour.switches.refuse_creates) for _ in range(3)] == [True, True, False]
    assert behaviour.spend("other", 1)
    behaviour.change(Switches(refuse_creates=1))
    assert [behaviour.spend("refuse_creates", 1) for _ in range(2)] == [True, False]
