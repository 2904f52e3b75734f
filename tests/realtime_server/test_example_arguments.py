from __future__ import annotations

from typing import Any

import pytest

from trio_voice.realtime_server.example_arguments import example


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 3}, 3),
        ({"type": "string", "default": "d"}, "d"),
        ({"enum": ["a", "b"]}, "a"),
        ({"examples": [1.5]}, 1.5),
        ({"anyOf": [{"type": "integer", "minimum": 7}, {"type": "null"}]}, 7),
        ({"type": ["null", "string"]}, None),
        ({"type": "integer", "exclusiveMinimum": 0}, 1),
        ({"type": "number", "maximum": 0.5}, 0.5),
        ({"type": "boolean"}, True),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "array"}, []),
        ({}, "some value"),
        ({"type": "object"}, {}),
    ],
)
def test_the_least_that_a_schema_admits(schema: dict[str, Any], value: Any) -> None:
    assert example(schema) == value


def test_only_required_properties_are_filled_in() -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "guests": {"type": "integer"}, "note": {"type": "string"}},
        "required": ["name", "guests", "unknown"],
    }
    assert example(schema) == {"name": "some name", "guests": 1}


def test_a_schema_without_end_ends() -> None:
    endless: dict[str, Any] = {"type": "object", "required": ["next"]}
    endless["properties"] = {"next": endless}
    assert str(example(endless)).count("next") == 8
