"""Arguments for a function that has to be called although no script says with what: the least that its JSON schema admits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEEPEST = 8


def example(schema: Mapping[str, Any], name: str = "value", depth: int = 0) -> Any:
    """Return a small value for a schema: `const`, `default`, `enum` and `examples` first, else by type.

    Only required properties are filled in; a schema that says nothing gives a string.
    """
    given = [schema[key] for key in ("const", "default") if key in schema]
    given += [schema[key][0] for key in ("enum", "examples") if schema.get(key)]
    if given:
        return given[0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key) and depth < _DEEPEST:
            return example(schema[key][0], name, depth + 1)
    return _example_by_type(schema, name, depth)


def _example_by_type(schema: Mapping[str, Any], name: str, depth: int) -> Any:
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    match kind:
        case "object":
            return _example_object(schema, depth)
        case "array":
            items = schema.get("items")
            count = schema.get("minItems", 0) if depth < _DEEPEST else 0
            return [example(items, name, depth + 1) for _ in range(count)] if isinstance(items, Mapping) else []
        case "integer" | "number":
            return _example_number(schema, whole=kind == "integer")
        case "boolean":
            return True
        case "null":
            return None
        case _ if "properties" in schema:
            return _example_object(schema, depth)
        case _:
            return f"some {name}"


def _example_object(schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or depth >= _DEEPEST:
        return {}
    wanted = [each for each in schema.get("required", ()) if isinstance(properties.get(each), Mapping)]
    return {each: example(properties[each], each, depth + 1) for each in wanted}


def _example_number(schema: Mapping[str, Any], *, whole: bool) -> int | float:
    lowest = schema.get("minimum", schema.get("exclusiveMinimum"))
    if not isinstance(lowest, int | float):
        highest = schema.get("maximum", 1)
        lowest = min(1, highest) if isinstance(highest, int | float) else 1
    elif "minimum" not in schema:
        lowest += 1
    return int(lowest) if whole else lowest
