from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from trio_voice.agent.context import CallContext
from trio_voice.agent.mistakes import AgentError
from trio_voice.agent.tool import OnBargeIn, Tool, WrongArguments, tool
from trio_voice.realtime.settings import FunctionTool


class Meal(Enum):
    LUNCH = "lunch"
    DINNER = "dinner"


@dataclass
class Guest:
    name: str
    age: int = 0


@tool
def book_table(call: CallContext, people: int, meal: Meal = Meal.DINNER, guests: list[Guest] | None = None) -> str:
    """Book a table.

    Args:
        people: How many.
    """
    return f"{people} {meal.value} {guests}"


@tool
async def tell_time() -> str:
    """Tell the time."""
    return "noon"


# --- what becomes of a function ----------------------------------------------------------------------------------------


def test_the_model_is_told_the_name_the_docstring_and_strict_arguments() -> None:
    guest = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "default": 0}},
        "required": ["name"],
        "additionalProperties": False,
    }
    assert book_table.declaration == FunctionTool(
        "book_table",
        "Book a table.",
        {
            "type": "object",
            "properties": {
                "people": {"type": "integer", "description": "How many."},
                "meal": {"enum": ["dinner", "lunch"], "default": "dinner"},
                "guests": {"anyOf": [{"type": "array", "items": guest}, {"type": "null"}], "default": None},
            },
            "required": ["people"],
            "additionalProperties": False,
        },
    )
    assert tell_time.parameters == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def test_a_tool_knows_how_it_is_to_be_run() -> None:
    @tool(name="tell-it", timeout_s=2.5, on_barge_in="cancel", filler="One moment.")
    async def other() -> None:
        """Tell."""

    assert (book_table.is_async, book_table.context, tell_time.is_async, tell_time.context) == (False, "call", True, None)
    assert (book_table.timeout_s, book_table.on_barge_in, book_table.filler) == (None, OnBargeIn.KEEP, None)
    assert (other.name, other.timeout_s, other.on_barge_in, other.filler) == ("tell-it", 2.5, OnBargeIn.CANCEL, "One moment.")


def test_a_tool_can_be_called_as_its_function() -> None:
    @tool
    def add(one: int, two: int = 2) -> int:
        """Add."""
        return one + two

    assert (add(1), add(1, two=1)) == (3, 2)


def test_a_bound_method_can_be_a_tool() -> None:
    class Desk:
        def open(self, day: str) -> str:
            """Tell when the desk is open."""
            return f"{day}: always"

    desk = tool(Desk().open)
    assert (desk.name, desk(**desk.read_arguments('{"day":"Monday"}'))) == ("open", "Monday: always")


# --- what the model gives ----------------------------------------------------------------------------------------------


def test_arguments_become_those_of_the_function_and_its_own_defaults_hold() -> None:
    assert book_table.read_arguments('{"people": 2}') == {"people": 2}
    text = ' {"people":2,"meal":"lunch","guests":[{"name":"Ada"}]}'
    assert book_table.read_arguments(text) == {"people": 2, "meal": Meal.LUNCH, "guests": [Guest("Ada")]}


@pytest.mark.parametrize("text", ["", " ", "{}"])
def test_nothing_is_what_some_models_give_to_a_tool_without_arguments(text: str) -> None:
    assert tell_time.read_arguments(text) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "Object missing required field `people`"),
        ('{"people":"2"}', "Expected `int`, got `str` - at `people`"),
        ('{"people":2.5}', "Expected `int`, got `float` - at `people`"),
        ('{"people":2,"meal":"tea"}', "Invalid enum value 'tea' - at `meal`"),
        ('{"people":2,"day":"Monday"}', "Object contains unknown field `day`"),
        ('{"people":2,"guests":[{"name":"Ada","hat":1}]}', "Object contains unknown field `guests.0.hat`"),
        ('{"people":2,"guests":[{"age":3}]}', "Object missing required field `name` - at `guests[0]`"),
        ("[2]", "Expected `object`, got `array`"),
        ('{"people":2', "the arguments are not valid JSON: Input data was truncated"),
    ],
)
def test_a_mistake_of_the_models_is_said_to_it(text: str, says: str) -> None:
    with pytest.raises(WrongArguments) as error:
        book_table.read_arguments(text)
    assert str(error.value).startswith(says)


def test_deep_nesting_is_a_mistake_of_the_models_too() -> None:
    @tool
    def keep(anything: Any) -> None:
        """Keep it."""

    with pytest.raises(WrongArguments, match="not valid JSON"):
        keep.read_arguments('{"anything":' + "[" * 100_000 + "]" * 100_000 + "}")


# --- mistakes ----------------------------------------------------------------------------------------------------------


def documented(text: str) -> Callable[[], None]:
    def function() -> None: ...

    function.__doc__ = text
    return function


def untyped(day) -> None:  # type: ignore[no-untyped-def] # - that is the mistake
    """Book."""


def yielding() -> Iterator[int]:
    """Count."""
    yield 1


def plain() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: tool(untyped), "tool untyped: the argument 'day' has no type; write one, for instance day: str"),
        (
            lambda: tool(documented("")),
            "tool function: the function has no docstring, and the model learns from it what the tool does; write one",
        ),
        (lambda: tool(documented("Args:\n    x: X.")), "tool function: the function has no docstring, and the model"),
        (lambda: tool(documented(":param x: X.")), "tool function: the docstring is in reStructuredText format"),
        (
            lambda: tool(documented("x" * 1025)),
            (
                "tool function: the docstring's description has 1025 characters, and a model takes 1024; "
                "shorten it, or move parts of it to the arguments"
            ),
        ),
        (
            lambda: tool(name="grüßen")(plain),
            (
                "tool grüßen: a tool's name may have up to 64 characters out of a-z, A-Z, 0-9, _ and -; give another: "
                "@tool(name=...)"
            ),
        ),
        (lambda: tool(name="x" * 65)(plain), f"tool {'x' * 65}: a tool's name may have up to 64"),
        (lambda: tool(name="")(plain), "tool : a tool's name may have up to 64"),
        (lambda: tool(yielding), "tool yielding: the function yields, and a tool returns its answer; collect it and return it"),
        (lambda: tool(timeout_s=0)(plain), "tool plain: timeout_s must be a number of seconds above 0, not 0"),
        (
            lambda: tool(on_barge_in="stop")(plain),  # type: ignore[call-overload] # - that is the mistake
            "tool plain: on_barge_in must be 'keep' or 'cancel', not 'stop'",
        ),
        (
            lambda: tool(on_barge_in="cancel")(plain),
            "tool plain: on_barge_in='cancel' needs an async function: a sync one, in its thread, cannot be cancelled",
        ),
        (lambda: tool(filler=" ")(plain), "tool plain: filler must be a text for the agent to say; leave it out for none"),
        (lambda: tool(Meal), "@tool stands above a function or an async function, not above <enum 'Meal'>"),
    ],
)
def test_a_mistake_is_named_when_the_tool_is_made(make: Callable[[], Tool], says: str) -> None:
    with pytest.raises(AgentError) as error:
        make()
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)


def test_a_description_may_be_as_long_as_the_wire_allows() -> None:
    assert len(tool(documented("x" * 1024)).description) == 1024
    assert tool(name="x" * 64)(plain).name == "x" * 64
