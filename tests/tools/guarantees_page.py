"""Names in docs/guarantees.md the tests that prove each row: `python -m tests.tools.guarantees_page`. A test holds it to that.

A test proves row R09 when it is called `test_r09_...`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

from attrs import frozen

from tests.tools.sections import BEGIN, with_sections

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guarantees.md"
TOOL = "tests.tools.guarantees_page"
OTHERS = "what proves parts of them"
NAME = re.compile(r"test_r(\d\d)(b?)_(\w+)")
PLACE = re.compile(BEGIN.format(r"(R\d\db?)", re.escape(TOOL)).strip())


@frozen(order=True)
class Proof:
    """A test, and the row that it proves."""

    row: str
    file: str
    name: str


@cache
def proofs(root: Path = ROOT) -> frozenset[Proof]:
    """Every test that is named after a row, as the files were at the first call."""
    return frozenset(_proofs(root))


def _proofs(root: Path) -> Iterator[Proof]:
    for path in sorted((root / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (match := NAME.fullmatch(node.name)):
                yield Proof(f"R{match[1]}{match[2]}", path.relative_to(root).as_posix(), node.name)


def rows_on_the_page() -> list[str]:
    """The rows that the page has a place for."""
    return PLACE.findall(PAGE.read_text(encoding="utf-8"))


def page() -> str:
    """The page: what was written by hand, under each row its proofs, and at the end those of rows that have no text yet."""
    by_row = {row: list(found) for row, found in groupby(sorted(proofs()), key=lambda proof: proof.row)}
    described = rows_on_the_page()
    sections = {row: _listed("Proved by", by_row.get(row, [])) for row in described}
    others = [_listed(f"**{row}**", found) for row, found in by_row.items() if row not in described]
    return with_sections(PAGE, TOOL, {**sections, OTHERS: "".join(others)})


def _listed(title: str, found: list[Proof]) -> str:
    lines = ["", title]
    for file, group in groupby(found, key=lambda proof: proof.file):
        lines += ["", f"[{file}](../{file})", "", *[f"* `{proof.name}`" for proof in group]]
    return "\n".join([*lines, "", ""]) if found else "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
