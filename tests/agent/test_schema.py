from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pytest
from attrs import define

from trio_voice.agent.schema import schema_of, unknown_key


class Day(Enum):
    """Which day."""

    MONDAY = "mon"
    TUESDAY = "tue"


@dataclass
class Address:
    street: str
    number: int = 3


@define
class Person:
    name: str
    home: Address


class Place(TypedDict):
    city: str


class Card(msgspec.Struct, tag=True):
    digits: str


class Cash(msgspec.Struct, tag=True):
    coins: list[Address]


class Tree(msgspec.Struct):
    branches: list[Tree]


ADDRESS = {
    "type": "object",
    "properties": {"street": {"type": "string"}, "number": {"type": "integer", "default": 3}},
    "required": ["street"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        (str, {"type": "string"}),
        (
            Annotated[int, msgspec.Meta(ge=1, description="How many.")],
            {"type": "integer", "minimum": 1, "description": "How many."},
        ),
        (Day, {"description": "Which day.", "enum": ["mon", "tue"]}),
        (Literal["a", "b"] | None, {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}),
        (dt.date, {"type": "string", "format": "date"}),
        (Address, ADDRESS),
        (list[Address], {"type": "array", "items": ADDRESS}),
        (dict[str, Address], {"type": "object", "additionalProperties": ADDRESS}),
        (
            Annotated[Day, msgspec.Meta(description="Rather this.")],
            {"description": "Rather this.", "enum": ["mon", "tue"]},
        ),
        (
            Person,
            {
                "type": "object",
                "properties": {"name": {"type": "string"}, "home": ADDRESS},
                "required": ["name", "home"],
                "additionalProperties": False,
            },
        ),
        (
            Place,
            {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_a_types_schema_is_complete_and_strict(wanted: Any, schema: dict[str, Any]) -> None:
    assert schema_of(wanted) == schema


def test_a_key_called_as_a_schemas_keyword_is_kept() -> None:
    class Book(msgspec.Struct):
        title: str
        default: str = "x"

    assert schema_of(Book)["properties"] == {"title": {"type": "string"}, "default": {"type": "string", "default": "x"}}


def test_a_type_may_occur_twice_but_not_in_itself() -> None:
    assert schema_of(tuple[Address, Address])["prefixItems"] == [ADDRESS, ADDRESS]
    with pytest.raises(ValueError, match=r"^Tree contains itself"):
        schema_of(Tree)


@pytest.mark.parametrize("wanted", [complex, Address | Person, object])
def test_a_type_that_cannot_be_read_from_json_is_refused(wanted: Any) -> None:
    with pytest.raises(TypeError):
        schema_of(wanted)


@pytest.mark.parametrize(
    ("wanted", "value", "path"),
    [
        (Address, {"street": "a", "zip": 1}, "zip"),
        (Person, {"name": "n", "home": {"street": "a", "zip": 1}}, "home.zip"),
        (list[Address] | None, [{"street": "a"}, {"street": "a", "zip": 1}], "1.zip"),
        (dict[str, Address], {"zip": {"street": "a", "x": 1}}, "zip.x"),
        (tuple[int, Address], [1, {"street": "a", "x": 1}], "1.x"),
        (tuple[Address, ...], [{"street": "a", "x": 1}], "0.x"),
        (Card | Cash, {"type": "Cash", "coins": [{"street": "a", "x": 1}]}, "coins.0.x"),
        (Card | Cash, {"type": "Card", "digits": "1", "coins": []}, "coins"),
    ],
)
def test_an_unknown_key_is_found_wherever_it_is(wanted: Any, value: Any, path: str) -> None:
    assert unknown_key(schema_of(wanted), value) == path


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (Person, {"name": "n", "home": {"street": "a", "number": 1}}),
        (dict[str, Any], {"any": {"thing": 1}}),
        (dict[str, int], {"any": 1}),
        (Any, {"any": "thing"}),
        (Card | Cash, {"type": "Card", "digits": "1"}),
        (tuple[int, str], [1, "a"]),
        (Person | None, None),
    ],
)
def test_what_is_known_is_let_through(wanted: Any, value: Any) -> None:
    msgspec.convert(value, wanted)
    assert unknown_key(schema_of(wanted), value) is None
