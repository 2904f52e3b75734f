from __future__ import annotations

import random
import re

from trio_voice.realtime_server.identifiers import Identifiers


def test_the_shape_of_an_identifier() -> None:
    ids = Identifiers(random.Random(1))
    assert re.fullmatch(r"event_[A-Za-z0-9]{21}", ids.new("event"))
    assert re.fullmatch(r"call_[A-Za-z0-9]{16}", ids.new("call"))
    assert len(ids.padding(16)) == 16
    assert ids.padding(0) == ""


def test_no_two_are_alike_and_the_same_randomness_gives_the_same() -> None:
    ids, again = Identifiers(random.Random(2)), Identifiers(random.Random(2))
    made = [ids.new("item") for _ in range(1000)]
    assert len(set(made)) == 1000
    assert made == [again.new("item") for _ in range(1000)]
