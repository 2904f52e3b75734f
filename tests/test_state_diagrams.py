from __future__ import annotations

from tests.tools.state_diagrams import PAGE, page
from trio_voice.core.states import ResponseState, Signal


def test_the_page_of_the_state_machines_is_the_one_that_the_tables_write() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.tools.state_diagrams"


def test_the_page_names_every_signal_and_every_state() -> None:
    text = page()
    assert all(f"| {signal.value} |" in text for signal in Signal)
    assert all(state.value in text for state in ResponseState)
