from __future__ import annotations

import math
from functools import partial

from trio_voice.realtime_server.agenda import Agenda


def test_actions_by_time_and_then_by_order() -> None:
    agenda, done = Agenda(), list[str]()
    assert agenda.next_deadline() == math.inf
    for at, name in ((2.0, "c"), (1.0, "a"), (1.0, "b")):
        agenda.add(at, partial(done.append, name))
    agenda.run_due(0.999)
    assert (done, agenda.next_deadline()) == ([], 1.0)
    agenda.run_due(1.0)
    assert (done, agenda.next_deadline()) == (["a", "b"], 2.0)


def test_an_action_may_add_another_that_is_due() -> None:
    agenda, done = Agenda(), list[str]()

    def first() -> None:
        done.append("first")
        agenda.add(1.0, partial(done.append, "second"))

    agenda.add(1.0, first)
    agenda.run_due(1.0)
    assert done == ["first", "second"]
