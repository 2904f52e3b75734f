"""JSON schemas of tools' arguments: complete in themselves, and strict on every level.

msgspec writes the schema of a type with references (`$ref`) to definitions beside it. Here they are put in place, so that a peer
needs to know nothing of references, and every object with declared keys says that it has no others. msgspec itself lets unknown
keys of nested dataclasses pass, so `unknown_key` finds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

_DROPPED = frozenset({"title", "discriminator"})
"""Names of Python classes, and a table of references: nothing for a model to read."""

Schema = dict[str, Any]


def schema_of(wanted: Any) -> Schema:
    """Write the schema of a type.

    Raises TypeError for a type that has none or that msgspec cannot read, and ValueError for one that contains itself.
    """
    msgspec.json.Decoder(wanted)  # it refuses some types that have a schema, for instance unions that cannot be told apart
    (schema,), definitions = msgspec.json.schema_components([wanted], ref_template="{name}")
    written = _in_place(schema, definitions, ())
    assert isinstance(written, dict)
    return written


def _in_place(schema: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    if isinstance(schema, list):
        return [_in_place(each, definitions, inside) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"]
        if name in inside:
            raise ValueError(f"{name} contains itself")
        others = {key: value for key, value in schema.items() if key != "$ref"}
        return _in_place({**definitions[name], **others}, definitions, (*inside, name))
    written = {key: _value(key, each, definitions, inside) for key, each in schema.items() if key not in _DROPPED}
    if "properties" in written:
        written.setdefault("additionalProperties", False)
    return written


def _value(key: str, value: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    """Write what stands under a schema's keyword: schemas, by name for `properties`, and values that must stay as they are."""
    match key:
        case "properties":
            return {name: _in_place(each, definitions, inside) for name, each in value.items()}
        case "default" | "enum" | "const" | "examples":
            return value
        case _:
            return _in_place(value, definitions, inside)


def unknown_key(schema: Schema, value: Any, path: str = "") -> str | None:
    """Find a key that the schema does not know in a value that fits it otherwise; the answer is its path, `address.zip`."""
    return next(_unknown_keys(schema, value, path), None)


def _unknown_keys(schema: Schema, value: Any, path: str) -> Iterator[str]:
    for variant in schema.get("anyOf", [schema]):
        match value, variant:
            case dict(), {"type": "object", "properties": properties} if _is_meant(variant, value):
                for key, each in value.items():
                    if key not in properties:
                        yield f"{path}{key}"
                    else:
                        yield from _unknown_keys(properties[key], each, f"{path}{key}.")
            case dict(), {"type": "object", "additionalProperties": dict() as values}:
                for key, each in value.items():
                    yield from _unknown_keys(values, each, f"{path}{key}.")
            case list(), {"type": "array"}:
                fixed = variant.get("prefixItems", [])
                rest = variant.get("items") or {}
                for index, each in enumerate(value):
                    yield from _unknown_keys(fixed[index] if index < len(fixed) else rest, each, f"{path}{index}.")
            case _:
                pass


def _is_meant(variant: Schema, value: Mapping[str, Any]) -> bool:
    """Whether an object is of this variant of a union: no key that can have only one value has another."""
    return all(
        key not in value or len(each.get("enum", ())) != 1 or value[key] in each["enum"]
        for key, each in variant["properties"].items()
    )
