"""Writes what the journal can hold from the classes: `python -m tests.tools.journal_page`. A test holds the pages to them.

`docs/journal.schema.json` is one JSON schema for every line of a journal. In `docs/journal.md` three sections are written from
the code: a recorded barge-in as `trio-voice replay` shows it, the same as lines, and tables of all classes.
"""

from __future__ import annotations

import gzip
import inspect
import json
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import attrs

from tests.tools.sections import with_sections
from trio_voice.core.commands import Refusal
from trio_voice.core.deadlines import Timer
from trio_voice.core.settings import CallSettings, Wording
from trio_voice.storage.dialogue import Dialogue
from trio_voice.storage.journal import COMMANDS, EVENTS, FORMAT, Header
from trio_voice.storage.journal_reader import JournalReader

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMA = DOCS / "journal.schema.json"
PAGE = DOCS / "journal.md"
RECORDED = Path(__file__).resolve().parents[1] / "recorded" / "barge_in_while_the_model_speaks.jsonl.gz"
TOOL = "tests.tools.journal_page"
MOMENT = {"type": "number", "minimum": 0, "description": "Seconds since the call began."}
AUDIO = {
    "type": "object",
    "description": "Audio: its size and hash, and itself if it was to be kept. Without a hash: the audio of the event above.",
    "properties": {
        "bytes": {"type": "integer", "minimum": 0},
        "crc32": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
        "base64": {"type": "string", "contentEncoding": "base64"},
    },
    "required": ["bytes"],
}
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def _type_of(hint: Any) -> dict[str, Any]:
    if isinstance(hint, UnionType):
        return {"type": [PLAIN[part] for part in get_args(hint)]}
    if hint is bytes:
        return {"$ref": "#/$defs/audio"}
    if hint in (CallSettings, Wording):
        return _object(hint)
    return {"enum": [each.value for each in hint]} if issubclass(hint, Enum) else {"type": PLAIN[hint]}


def _object(kind: type[Any], **first: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    properties, required = dict(first), list(first)
    for each in attrs.fields(kind):
        properties[each.name] = _type_of(hints[each.name])
        if each.default is attrs.NOTHING:
            required.append(each.name)
        elif isinstance(each.default, str | int | float | Enum | None):
            properties[each.name]["default"] = each.default.value if isinstance(each.default, Enum) else each.default
    return {"type": "object", "description": _doc(kind), "properties": properties, "required": required}


def _doc(kind: type[Any]) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


def schema() -> dict[str, Any]:
    """The schema of a line."""
    kinds = {"header": _object(Header, journal={"const": FORMAT})}
    kinds |= {name: _object(kind, t=MOMENT, event={"const": name}) for name, kind in EVENTS.items()}
    kinds |= {name: _object(kind, t=MOMENT, command={"const": name}) for name, kind in COMMANDS.items()}
    kinds["timer"] = {
        "type": "object",
        "description": "A deadline that acted.",
        "properties": {"t": MOMENT, "timer": {"enum": [each.value for each in Timer]}},
        "required": ["t", "timer"],
    }
    kinds["remark"] = {
        "type": "object",
        "description": "Something that the shell did or saw.",
        "properties": {"t": MOMENT, "remark": {"type": "string"}},
        "required": ["t", "remark"],
    }
    kinds["lost_lines"] = {
        "type": "object",
        "description": "So many lines are missing here: the disk failed, or did not keep up.",
        "properties": {"lost_lines": {"type": "integer", "minimum": 1}},
        "required": ["lost_lines"],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of a trio-voice journal, format {FORMAT}",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in kinds],
        "$defs": {**kinds, "audio": AUDIO},
    }


def _table(title: str, kinds: dict[str, type[Any]]) -> list[str]:
    rows = [f"\n### {title}\n", "| name | fields | meaning |", "|---|---|---|"]
    for name, kind in kinds.items():
        fields = ", ".join(f"`{each.name}`" for each in attrs.fields(kind)) or "-"
        rows.append(f"| `{name}` | {fields} | {_doc(kind)} |")
    return rows


def tables() -> str:
    """The tables for people."""
    rows = [*_table("Events", dict(EVENTS)), *_table("Commands", dict(COMMANDS))]
    rows += ["\n### Timers\n", ", ".join(f"`{each.value}`" for each in Timer) + "."]
    rows += ["\n### Reasons in `Refuse` and `Discard`\n", ", ".join(f"`{each.value}`" for each in Refusal) + "."]
    return "\n".join(rows) + "\n"


def _recorded() -> list[str]:
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        return lines.read().splitlines()


def _barge_in(lines: list[str]) -> tuple[float, float]:
    """When the speech began that cut the agent off, and when the reply to it was asked for."""
    records = [json.loads(line) for line in lines[1:]]
    cut = next(record["t"] for record in records if record.get("command") == "ClearPlayback")
    begin = max(record["t"] for record in records if record.get("event") == "SpeechStarted" and record["t"] <= cut)
    end = min(record["t"] for record in records if record.get("command") == "CreateResponse" and record["t"] > cut)
    return begin, end


def told() -> str:
    """The barge-in as people read it."""
    lines = _recorded()
    begin, end = _barge_in(lines)
    journal = JournalReader(iter(lines))
    dialogue = Dialogue(journal.header.bytes_per_ms)
    rows = [row for line in journal for row in dialogue.take(line)]
    shown = [f"{row.t:9.3f}  {row.who.value:<6}  {row.what}" for row in rows if begin - 0.5 <= row.t <= end]
    return "\n".join(["```text", *shown, "```"]) + "\n"


def as_lines() -> str:
    """The same as it stands in the journal, without the frames around it."""
    lines = _recorded()
    cut = json.loads(next(line for line in lines if '"ClearPlayback"' in line))["t"]
    return "\n".join(["```json", *[line for line in lines if f'{{"t":{cut},' in line], "```"]) + "\n"


SECTIONS = {"the barge-in": told, "the barge-in as lines": as_lines, "the reference": tables}


def page() -> str:
    """The page: what was written by hand, and the sections."""
    return with_sections(PAGE, TOOL, {name: section() for name, section in SECTIONS.items()})


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(schema(), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
