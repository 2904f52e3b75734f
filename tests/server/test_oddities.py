"""All is counted, a little is said."""

from __future__ import annotations

import structlog

from trio_voice.dialects.base import Oddity, OddityKind
from trio_voice.server.oddities import LOGGED, Oddities


def test_the_first_few_of_each_kind_are_logged_and_all_are_counted() -> None:
    oddities = Oddities()
    with structlog.testing.capture_logs() as logs:
        told = [oddities.add(Oddity(OddityKind.NOT_JSON, f"message {number}")) for number in range(100)]
        assert oddities.add(Oddity(OddityKind.BINARY, "3 bytes"))
    assert told == [True] * LOGGED + [False] * (100 - LOGGED)
    assert oddities.counts == {"not_json": 100, "binary": 1}
    assert [(line["kind"], line["detail"], line["log_level"]) for line in logs] == [
        *(("not_json", f"message {number}", "warning") for number in range(LOGGED)),
        ("binary", "3 bytes", "warning"),
    ]
