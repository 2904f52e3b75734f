"""Writes docs/openapi.json: `python -m tests.tools.api_page`. A test holds the file to the code."""

from __future__ import annotations

from pathlib import Path

from trio_voice.web.openapi import document

PAGE = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
VERSION = "0"
"""The file is the same for every version of the program."""


def page() -> str:
    """The whole file."""
    return document(VERSION).decode() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
