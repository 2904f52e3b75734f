"""What a function takes, and every mistake in it as one sentence that names the argument."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import pytest

from trio_voice.agent.context import CallContext
from trio_voice.agent.docstring import parse_docstring
from trio_voice.agent.mistakes import AgentError
from trio_voice.agent.signature import Signature, read_signature

if TYPE_CHECKING:
    from decimal import Decimal


class Meal(Enum):
    LUNCH = "lunch"
    DINNER = "dinner"


@dataclass
class Guest:
    name: str
    children: list[str] = field(default_factory=list)


def read(function: Callable[..., Any]) -> Signature:
    return read_signature(function, parse_docstring(function.__doc__ or ""))


def schemas(function: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    return {argument.name: argument.schema for argument in read(function).arguments}


def mistake(function: Callable[..., Any]) -> str:
    with pytest.raises(AgentError) as error:
        read(function)
    text = str(error.value)
    assert "\n" not in text
    return text


# --- what is read ------------------------------------------------------------------------------------------------------


def test_each_argument_has_a_schema_with_its_description() -> None:
    def book(
        day: dt.date,
        people: Annotated[int, msgspec.Meta(ge=1, le=12, description="How many people.")],
        *,
        meal: Literal["lunch", "dinner"],
        guests: list[Guest],
    ) -> None:
        """Book.

        Args:
            day: When.
            people: Said better there.
            meal: Which meal.
        """

    guest = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"type": "string"}}},
        "required": ["name"],
        "additionalProperties": False,
    }
    assert schemas(book) == {
        "day": {"type": "string", "format": "date", "description": "When."},
        "people": {"type": "integer", "minimum": 1, "maximum": 12, "description": "How many people."},
        "meal": {"enum": ["dinner", "lunch"], "description": "Which meal."},
        "guests": {"type": "array", "items": guest},
    }
    assert all(argument.required for argument in read(book).arguments)


def test_an_argument_with_a_default_may_be_left_out() -> None:
    def book(meal: Meal = Meal.DINNER, note: str | None = None, days: tuple[dt.date, ...] = (dt.date(2026, 11, 21),)) -> None:
        pass

    assert [argument.required for argument in read(book).arguments] == [False, False, False]
    assert {name: schema["default"] for name, schema in schemas(book).items()} == {
        "meal": "dinner",
        "note": None,
        "days": ["2026-11-21"],
    }


def test_the_context_is_not_part_of_what_the_model_gives() -> None:
    def first(call: CallContext, day: str) -> None:
        """Book.

        Args:
            call: May be described, for people.
            day: When.
        """

    def last(day: str, *, context: CallContext) -> None:
        pass

    def without(day: str) -> None:
        pass

    assert [read(function).context for function in (first, last, without)] == ["call", "context", None]
    assert [list(schemas(function)) for function in (first, last, without)] == [["day"], ["day"], ["day"]]


def test_a_bound_method_is_a_function() -> None:
    class Desk:
        def book(self, day: str) -> None: ...

    assert list(schemas(Desk().book)) == ["day"]


def test_a_decorated_function_is_read_through_its_decorator() -> None:
    def book(day: dt.date) -> None: ...

    @functools.wraps(book)
    def logged(*args: object, **kwargs: object) -> None: ...

    assert schemas(logged) == {"day": {"type": "string", "format": "date"}}


# --- mistakes ----------------------------------------------------------------------------------------------------------


def no_type(day, people: int) -> None: ...  # type: ignore[no-untyped-def] # - that is the mistake


def a_method(self, day: str) -> None: ...  # type: ignore[no-untyped-def] # - as read from a class


def star(*days: str) -> None: ...


def two_stars(day: str, **more: str) -> None: ...


def by_place(day: str, /) -> None: ...


def two_contexts(one: CallContext, two: CallContext) -> None: ...


def strange(day: complex) -> None: ...


def unknown(price: Decimal) -> None: ...


def misspelt(day: "strr") -> None: ...  # type: ignore[name-defined] # noqa: F821, UP037 - that is the mistake


def no_type_at_all(day: 3) -> None: ...  # type: ignore[valid-type] # - that is the mistake


def no_default(day: str = None) -> None: ...  # type: ignore[assignment] # noqa: RUF013 - that is the mistake


def wrong_default(people: int = "two") -> None: ...  # type: ignore[assignment] # - that is the mistake


def not_there(day: str) -> None:
    """Book.

    Args:
        date: When.
    """


def not_there_at_all() -> None:
    """Book.

    Args:
        date: When.
    """


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (no_type, "the argument 'day' has no type; write one, for instance day: str"),
        (a_method, "the argument 'self' shows that it is a method; make it a plain function, or wrap the bound method"),
        (star, "*days cannot be described to a model; name each argument, or take one list"),
        (two_stars, "**more cannot be described to a model; name each argument"),
        (by_place, "the argument 'day' must be one that can be given by name; take the / away"),
        (two_contexts, "the arguments 'one' and 'two' are both the CallContext; one is enough"),
        (
            strange,
            (
                "the argument 'day' has the type complex, which cannot be read from JSON "
                "(type <class 'complex'> is not supported); "
                "take str, int, float, bool, an Enum, a Literal, a date, a dataclass, or lists and dicts of them"
            ),
        ),
        (
            unknown,
            (
                "the type Decimal of the argument 'price' is not known when the tool is made (name 'Decimal' is not defined); "
                "import it at the top of the module, not below TYPE_CHECKING"
            ),
        ),
        (
            misspelt,
            (
                "the type 'strr' of the argument 'day' is not known when the tool is made (name 'strr' is not defined); "
                "import it at the top of the module, not below TYPE_CHECKING"
            ),
        ),
        (no_default, "the argument 'day' has the default None, which is no str; write day: str | None = None"),
        (wrong_default, "the argument 'people' has the default 'two', which is no int; change one of them"),
        (not_there, "the docstring describes an argument 'date', which is none of: day"),
        (not_there_at_all, "the docstring describes an argument 'date', which is none of: (none)"),
    ],
)
def test_a_mistake_names_the_argument_and_the_fix(function: Callable[..., Any], says: str) -> None:
    assert mistake(function) == says


def test_what_is_no_type_is_said() -> None:
    def book(day: str) -> None: ...

    book.__annotations__["day"] = "str str"
    assert mistake(book).startswith("the type str str of the argument 'day' is none (")
    assert mistake(no_type_at_all).startswith("the argument 'day' has the type 3, which cannot be read from JSON")
