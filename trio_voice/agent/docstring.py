"""Reads what a tool's docstring says about the tool and its arguments. The format is Google's:

    Book an appointment.

    Only on working days.

    Args:
        day: The day, for instance "Tuesday".
        name: Who comes; first
            and last name.

    Returns:
        ...

The text before the first section is the tool's description, and what stands below `Args:` (or `Arguments:`) describes the
arguments. `Returns:`, `Yields:`, `Raises:` and `Example:` are for people: the model is not told.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

from attrs import frozen

ARGUMENTS = ("Args", "Arguments")
SECTIONS = (*ARGUMENTS, "Returns", "Yields", "Raises", "Example", "Examples")
_HEADING = re.compile(rf"({'|'.join(SECTIONS)}):\s*")
_ARGUMENT = re.compile(r"(\w+)\s*(?:\([^)]*\))?:\s*(.*)")
_OTHER_FORMATS = {
    "reStructuredText": re.compile(r"^\s*:param\b", re.MULTILINE),
    "numpy's": re.compile(r"^Parameters\s*\n-{3,}\s*$", re.MULTILINE),
}


@frozen
class Docstring:
    """What a docstring says; every paragraph is one line."""

    description: str
    arguments: Mapping[str, str]


def parse_docstring(text: str) -> Docstring:
    """Read a docstring. Raises ValueError for one that is written in another format, or whose arguments cannot be told apart."""
    starts_with_heading = _HEADING.fullmatch(text.partition("\n")[0]) is not None
    lines = inspect.cleandoc(f"\n{text}" if starts_with_heading else text).splitlines()
    for name, pattern in _OTHER_FORMATS.items():
        if pattern.search("\n".join(lines)):
            raise ValueError(f"the docstring is in {name} format: write the arguments below a line 'Args:', as 'name: text'")
    description: list[str] = []
    arguments: list[str] = []
    target: list[str] | None = description
    for line in lines:
        heading = _HEADING.fullmatch(line)
        if heading is not None:
            target = arguments if heading[1] in ARGUMENTS else None
        elif line and not line[0].isspace() and target is not description:
            target = description  # a paragraph after the sections
            target += ["", line]
        elif target is not None:
            target.append(line)
    return Docstring(_paragraphs(description), _entries(arguments))


def _paragraphs(lines: list[str]) -> str:
    """Join the lines of each paragraph."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip())
    return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _entries(lines: list[str]) -> dict[str, str]:
    """Read `name: text` entries; what is indented more than the first one goes on with the entry above."""
    entries: dict[str, list[str]] = {}
    words: list[str] = []
    margin = -1
    for line in filter(str.strip, lines):
        indent = len(line) - len(line.lstrip())
        margin = indent if margin < 0 else margin
        if indent > margin:
            words += line.split()
            continue
        entry = _ARGUMENT.fullmatch(line.strip())
        if entry is None:
            raise ValueError(f"the docstring's line {line.strip()!r} below 'Args:' does not look like 'name: text'")
        words = entry[2].split()
        entries[entry[1]] = words
    return {name: " ".join(words) for name, words in entries.items()}
