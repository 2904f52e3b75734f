"""Shapes of JSON: small checks that are put together, and that name what is wrong as the Realtime service does.

A check takes a value and the path by which the protocol calls it (`session.audio.output.format.rate`, `item.content[0].text`);
it returns nothing, or raises `ClientError`. Unknown keys are mistakes: the service refuses them too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from trio_voice.realtime_server import errors_on_the_wire as errors

Check = Callable[[Any, str], None]


def describe(value: object) -> str:
    """Say what a JSON value is, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def anything(value: Any, path: str) -> None:
    """Accept any JSON value."""


def boolean(value: Any, path: str) -> None:
    """Accept true and false."""
    if not isinstance(value, bool):
        raise errors.invalid_type(path, "a boolean", describe(value))


def any_object(value: Any, path: str) -> None:
    """Accept any JSON object."""
    if not isinstance(value, dict):
        raise errors.invalid_type(path, "an object", describe(value))


def text(longest: int | None = None, pattern: str | None = None) -> Check:
    """Accept a string of at most `longest` characters that matches `pattern` as a whole."""
    compiled = re.compile(pattern) if pattern else None

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise errors.invalid_type(path, "a string", describe(value))
        if longest is not None and len(value) > longest:
            raise errors.string_too_long(path, longest, len(value))
        if compiled is not None and not compiled.fullmatch(value):
            text = f"Invalid '{path}': '{value}'. Expected a string that matches the pattern '{pattern}'."
            raise errors.ClientError(text, "invalid_value", path)

    return check


def integer(lowest: int | None = None, highest: int | None = None) -> Check:
    """Accept a whole number within bounds."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise errors.invalid_type(path, "an integer", describe(value))
        if lowest is not None and value < lowest:
            raise errors.out_of_range(path, value, lowest, "integer", below=True)
        if highest is not None and value > highest:
            raise errors.out_of_range(path, value, highest, "integer", below=False)

    return check


def decimal(lowest: float, highest: float) -> Check:
    """Accept a number within bounds."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise errors.invalid_type(path, "a decimal", describe(value))
        if not lowest <= value:
            raise errors.out_of_range(path, value, lowest, "decimal", below=True)
        if not value <= highest:
            raise errors.out_of_range(path, value, highest, "decimal", below=False)

    return check


def one_of(*values: str) -> Check:
    """Accept one of the given strings."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise errors.invalid_type(path, f"one of {', '.join(repr(each) for each in values)}", describe(value))
        if value not in values:
            raise errors.invalid_value(path, value, values)

    return check


def nullable(inner: Check) -> Check:
    """Accept null, or what `inner` accepts."""

    def check(value: Any, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def array(inner: Check, longest: int | None = None) -> Check:
    """Accept an array of what `inner` accepts."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise errors.invalid_type(path, "an array", describe(value))
        if longest is not None and len(value) > longest:
            raise errors.array_too_long(path, longest, len(value))
        for index, each in enumerate(value):
            inner(each, f"{path}[{index}]")

    return check


def record(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """Accept an object with these keys and no others; the path of a top-level event's field is the field's name."""

    def check(value: Any, path: str) -> None:
        any_object(value, path)
        prefix = f"{path}." if path else ""
        for key, each in value.items():
            inner = fields.get(key)
            if inner is None:
                raise errors.unknown_parameter(f"{prefix}{key}")
            inner(each, f"{prefix}{key}")
        for key in required:
            if key not in value:
                raise errors.missing_parameter(f"{prefix}{key}")

    return check


def tagged(tag: str, variants: Mapping[str, Check]) -> Check:
    """Accept an object whose key `tag` names one of the variants, and that this variant accepts."""
    check_tag = one_of(*variants)

    def check(value: Any, path: str) -> None:
        any_object(value, path)
        prefix = f"{path}." if path else ""
        if tag not in value:
            raise errors.missing_parameter(f"{prefix}{tag}")
        check_tag(value[tag], f"{prefix}{tag}")
        variants[value[tag]](value, path)

    return check


def pairs(most: int, longest_key: int, longest_value: int) -> Check:
    """Accept an object of strings: at most `most` pairs, keys and values of bounded length (the protocol's `metadata`)."""
    check_value = text(longest_value)

    def check(value: Any, path: str) -> None:
        any_object(value, path)
        if len(value) > most:
            raise errors.array_too_long(path, most, len(value))
        for key, each in value.items():
            if len(key) > longest_key:
                raise errors.string_too_long(f"{path}.{key}", longest_key, len(key))
            check_value(each, f"{path}.{key}")

    return check
