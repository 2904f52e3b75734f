"""The settings in force, as people may see them: by section and name, with what differs from the defaults, without secrets."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import attrs

from trio_voice.agent.tool import Tool
from trio_voice.config import SECTIONS, Settings

LONGEST_TEXT = 4000


def shown_settings(settings: Settings) -> dict[str, dict[str, Any]]:
    """Show every setting: {section: {name: {"value": ..., "is_default": ..., "is_hidden": ...}}}.

    A field that its class keeps out of its repr is a secret: only whether it is set is told.
    """
    values = attrs.asdict(settings, recurse=False)
    return {section: _section(values[section], kind()) for section, kind in SECTIONS.items()}


def _section(value: Any, default: Any) -> dict[str, Any]:
    now, usual = (attrs.asdict(each, recurse=False) for each in (value, default))
    return {
        field.name: {
            "value": bool(now[field.name]) if field.repr is False else _shown(now[field.name]),
            "is_default": now[field.name] == usual[field.name],
            "is_hidden": field.repr is False,
        }
        for field in attrs.fields(type(value))
        if field.init
    }


def _shown(value: object) -> Any:
    match value:
        case Enum():
            return value.value
        case Tool():
            return value.name
        case Path():
            return str(value)
        case bool() | int() | float() | None:
            return value
        case tuple() | list() | frozenset():
            return [_shown(each) for each in value]
        case str():
            return value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]} ..."
        case _:
            return str(value)
