from __future__ import annotations

import pytest
import trio.testing

from tests.realtime_server.conformance import CHECKLIST


async def test_the_checklist_item_by_item(autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    """Run every check and print the table; the test fails with the first problem, the table shows all."""
    lines, problems = [], list[Exception]()
    for each in CHECKLIST:
        outcome = "ok  "
        try:
            await each.check()
        except Exception as error:  # a failing check is a line of the table, and fails the test below
            outcome = "FAIL"
            problems.append(error)
        lines.append(f"  {outcome} {each.number:>3}  {each.text}")
    with capsys.disabled():
        print("\nConformance of the embedded Realtime server", *lines, sep="\n")
    for problem in problems:
        raise problem
