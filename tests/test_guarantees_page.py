"""The page of guarantees names every test of a row, and every word of a journal that it uses exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tools.guarantees_page import PAGE, ROOT, Proof, page, proofs, rows_on_the_page
from trio_voice.core.commands import Purpose, Refusal
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import ResponseStatus
from trio_voice.storage.journal import COMMANDS, EVENTS

TEXT = PAGE.read_text(encoding="utf-8")
BY_HAND = "\n".join(line for line in TEXT.splitlines() if "test_r" not in line)
RUN = "run: python -m tests.tools.guarantees_page"


def test_the_page_names_every_test_of_a_row() -> None:
    assert page() == TEXT, RUN


def test_every_row_that_is_promised_is_proved() -> None:
    assert set(rows_on_the_page()) - {proof.row for proof in proofs()} == set()


def test_a_row_that_has_proofs_and_no_text_yet_is_among_the_others() -> None:
    others = {proof.row for proof in proofs()} - set(rows_on_the_page())
    assert [row for row in others if f"**{row}**" not in TEXT] == []


def test_rows_are_in_order_and_have_a_heading_each() -> None:
    assert rows_on_the_page() == sorted(rows_on_the_page())
    assert re.findall(r"^### (R\d\db?) ", TEXT, re.MULTILINE) == rows_on_the_page()
    assert TEXT.count("**In a journal**: ") == len(rows_on_the_page())


def test_every_name_of_a_journal_exists() -> None:
    named = set(re.findall(r"`([A-Z][a-z]+[A-Z][A-Za-z]+|Discard|Refuse|Note|Close)`", BY_HAND))
    assert named - {*EVENTS, *COMMANDS} == set()


def test_every_value_in_a_journal_exists() -> None:
    values = {
        "reason": {each.value for each in Refusal},
        "purpose": {each.value for each in Purpose},
        "status": {each.value for each in ResponseStatus},
        "leg": {"caller", "model"},
    }
    used = re.findall(r"`(\w+)=(\w+)`", BY_HAND)
    assert [(name, value) for name, value in used if value not in values[name]] == []


def test_every_timer_exists() -> None:
    sentences = re.findall(r"timers? ((?:`\w+`(?:, | and )?)+)", BY_HAND)
    used = {name for sentence in sentences for name in re.findall(r"`(\w+)`", sentence)}
    assert used - {each.value for each in Timer} == set()
    assert len(used) > 10


@pytest.mark.parametrize("path", sorted(set(re.findall(r"tests/[\w/.]+\w", BY_HAND))))
def test_every_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_a_test_of_a_row_is_found_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "tests" / "core" / "test_x.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "def test_r07_one() -> None: ...\n"
        "class TestMore:\n    async def test_r12b_two(self) -> None: ...\n"
        "def test_other() -> None: ...\ndef r07_helper() -> None: ...\n",
        encoding="utf-8",
    )
    found = sorted(proofs(tmp_path))
    assert found == [Proof("R07", "tests/core/test_x.py", "test_r07_one"), Proof("R12b", "tests/core/test_x.py", "test_r12b_two")]
