"""Pages of which some sections are written from the code, between two comments; the rest is written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

BEGIN = "<!-- {} is written by python -m {} -->\n"
END = "<!-- end of {} -->\n"


def with_sections(page: Path, tool: str, sections: Mapping[str, str]) -> str:
    """The page with these sections renewed. Fails when the page has no place for one."""
    text = page.read_text(encoding="utf-8")
    for name, section in sections.items():
        before, begin, rest = text.partition(BEGIN.format(name, tool))
        _, end, after = rest.partition(END.format(name))
        assert begin, f"{page} has lost the place of {name}"
        assert end, f"{page} has lost the end of {name}"
        text = before + begin + section + end + after
    return text
