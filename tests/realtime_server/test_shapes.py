from __future__ import annotations

from typing import Any

import pytest

from trio_voice.realtime_server import shapes
from trio_voice.realtime_server.errors_on_the_wire import ClientError
from trio_voice.realtime_server.shapes import Check

POINT = shapes.record({"x": shapes.integer(0, 10), "tags": shapes.array(shapes.text(3), 2)}, ("x",))
EITHER = shapes.tagged("type", {"a": shapes.record({"type": shapes.anything}), "b": POINT})


def mistake(check: Check, value: Any, path: str = "p") -> ClientError:
    with pytest.raises(ClientError) as caught:
        check(value, path)
    return caught.value


def test_what_fits_passes() -> None:
    POINT({"x": 10, "tags": ["abc", ""]}, "p")
    EITHER({"type": "a"}, "p")
    shapes.nullable(shapes.boolean)(None, "p")
    shapes.nullable(shapes.boolean)(False, "p")
    shapes.decimal(0.25, 1.5)(1, "p")
    shapes.text(pattern="[a-z]+")("abc", "p")
    shapes.pairs(1, 3, 3)({"abc": "def"}, "p")


@pytest.mark.parametrize(
    ("check", "value", "code", "param", "message"),
    [
        (POINT, {}, "missing_required_parameter", "p.x", "Missing required parameter: 'p.x'."),
        (POINT, {"x": 1, "y": 2}, "unknown_parameter", "p.y", "Unknown parameter: 'p.y'."),
        (POINT, [], "invalid_type", "p", "Invalid type for 'p': expected an object, but got an array instead."),
        (POINT, {"x": True}, "invalid_type", "p.x", "Invalid type for 'p.x': expected an integer, but got a boolean instead."),
        (POINT, {"x": 1.5}, "invalid_type", "p.x", "Invalid type for 'p.x': expected an integer, but got a decimal instead."),
        (
            POINT,
            {"x": -1},
            "integer_below_min_value",
            "p.x",
            "Invalid 'p.x': integer below minimum value. Expected a value >= 0, but got -1 instead.",
        ),
        (
            POINT,
            {"x": 11},
            "integer_above_max_value",
            "p.x",
            "Invalid 'p.x': integer above maximum value. Expected a value <= 10, but got 11 instead.",
        ),
        (
            shapes.decimal(0.25, 1.5),
            0.1,
            "decimal_below_min_value",
            "p",
            "Invalid 'p': decimal below minimum value. Expected a value >= 0.25, but got 0.1 instead.",
        ),
        (shapes.decimal(0.25, 1.5), float("nan"), "decimal_below_min_value", "p", None),
        (
            POINT,
            {"x": 1, "tags": ["abcd"]},
            "string_above_max_length",
            "p.tags[0]",
            (
                "Invalid 'p.tags[0]': string too long. Expected a string with maximum length 3, "
                "but got a string with length 4 instead."
            ),
        ),
        (POINT, {"x": 1, "tags": ["", "", ""]}, "array_above_max_length", "p.tags", None),
        (EITHER, {}, "missing_required_parameter", "p.type", "Missing required parameter: 'p.type'."),
        (EITHER, {"type": "c"}, "invalid_value", "p.type", "Invalid value: 'c'. Supported values are: 'a' and 'b'."),
        (shapes.one_of("a"), "b", "invalid_value", "p", "Invalid value: 'b'. Value must be 'a'."),
        (shapes.one_of("a", "b", "c"), "d", "invalid_value", "p", "Invalid value: 'd'. Supported values are: 'a', 'b', and 'c'."),
        (shapes.one_of("a"), 3, "invalid_type", "p", None),
        (shapes.boolean, None, "invalid_type", "p", "Invalid type for 'p': expected a boolean, but got null instead."),
        (shapes.text(pattern="[a-z]+"), "A", "invalid_value", "p", None),
        (shapes.text(), 1, "invalid_type", "p", "Invalid type for 'p': expected a string, but got an integer instead."),
        (shapes.pairs(1, 3, 3), {"a": "b", "c": "d"}, "array_above_max_length", "p", None),
        (shapes.pairs(1, 3, 3), {"abcd": ""}, "string_above_max_length", "p.abcd", None),
        (shapes.pairs(1, 3, 3), {"abc": 1}, "invalid_type", "p.abc", None),
    ],
)
def test_each_mistake_has_its_code_param_and_text(check: Check, value: Any, code: str, param: str, message: str | None) -> None:
    error = mistake(check, value)
    assert (error.code, error.param) == (code, param)
    assert message is None or error.message == message


def test_at_the_top_a_field_is_called_by_its_name_alone() -> None:
    assert mistake(POINT, {}, "").param == "x"
