from __future__ import annotations

from tests.tools.settings_page import HEAD, PAGE, page
from trio_voice.config import OTHER_VARIABLES


def test_the_settings_page_is_the_one_that_the_code_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.tools.settings_page"


def test_every_setting_is_explained() -> None:
    unexplained = [row for row in page().splitlines() if row.startswith("| `") and row.endswith("|  |")]
    assert unexplained == []


def test_every_variable_that_is_no_setting_is_on_the_page() -> None:
    assert {name for name in OTHER_VARIABLES if f"`{name}`" not in HEAD} == set()
