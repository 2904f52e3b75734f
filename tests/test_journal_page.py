"""The journal's page and schema are those that the code writes, and every line is as they say."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from tests.storage.samples import instances_of
from tests.storage.tape import HEADER
from tests.tools.journal_page import PAGE, RECORDED, SCHEMA, page, schema
from trio_voice.core.deadlines import Timer
from trio_voice.storage.journal import COMMANDS, EVENTS, JournalWriter

RUN = "run: python -m tests.tools.journal_page"
WHOLE = schema()
DEFINITIONS = WHOLE["$defs"]


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": DEFINITIONS})


def name_of(record: dict[str, Any]) -> str:
    """Which definition a line is meant to fit."""
    named = record.get("event") or record.get("command")
    return str(named) if named else next(key for key in ("timer", "remark", "lost_lines", "journal") if key in record)


def test_the_page_is_the_one_that_the_code_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), RUN


def test_the_schema_is_the_one_that_the_code_writes() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == WHOLE, RUN


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(WHOLE)


def test_every_class_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in (*EVENTS, *COMMANDS) if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize("name", [*EVENTS, *COMMANDS])
def test_every_line_of_every_class_fits_the_schema(name: str) -> None:
    check = validator(name)

    @settings(max_examples=25)
    @given(instances_of({**EVENTS, **COMMANDS}[name]))
    def fits(value: Any) -> None:
        writer = JournalWriter(keep_audio=True)
        line = writer.event(1.5, value) if name in EVENTS else writer.command(1.5, value)
        check.validate(json.loads(line))

    fits()


def test_the_other_lines_fit_the_schema() -> None:
    writer = JournalWriter()
    whole = Draft202012Validator(WHOLE)
    whole.validate({**json.loads(writer.header(HEADER)), "journal": 1})
    for timer in Timer:
        whole.validate(json.loads(writer.timer(1.5, timer)))
    whole.validate(json.loads(writer.remark(1.5, "the carrier sent something odd")))
    whole.validate({"lost_lines": 12})


@pytest.mark.parametrize(
    "line",
    [
        {"t": 1.0},
        {"t": -1.0, "timer": "watchdog"},
        {"t": 1.0, "timer": "tea"},
        {"t": 1.0, "event": "SpeechStarted", "session": "one", "item_id": "i"},
        {"t": 1.0, "event": "SpeechStarted", "session": 1},
        {"t": 1.0, "event": "CallerAudio", "audio": "AAAA"},
        {"t": 1.0, "command": "Discard", "reason": "bad_mood"},
        {"t": 1.0, "command": "CallerAudio", "audio": {"bytes": 160}},
        {"call_id": "c"},
    ],
)
def test_a_line_that_is_none_does_not_fit_the_schema(line: dict[str, Any]) -> None:
    assert not Draft202012Validator(WHOLE).is_valid(line)


def test_a_recorded_call_fits_the_schema() -> None:
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    checks = {name: validator("header" if name == "journal" else name) for name in map(name_of, records)}
    misfits = [record for record in records if not checks[name_of(record)].is_valid(record)]
    assert misfits == []
