"""From a function's signature to the arguments that a model may give, with every mistake named while the module is imported."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
from attrs import frozen

from trio_voice.agent.context import CallContext
from trio_voice.agent.docstring import Docstring
from trio_voice.agent.mistakes import AgentError
from trio_voice.agent.schema import Schema, schema_of

_KINDS = {
    inspect.Parameter.VAR_POSITIONAL: "*{name} cannot be described to a model; name each argument, or take one list",
    inspect.Parameter.VAR_KEYWORD: "**{name} cannot be described to a model; name each argument",
    inspect.Parameter.POSITIONAL_ONLY: "the argument {name!r} must be one that can be given by name; take the / away",
}


@frozen
class Argument:
    """An argument that the model gives."""

    name: str
    wanted: Any
    """Its type."""
    required: bool
    schema: Schema


@frozen
class Signature:
    """What a function takes."""

    arguments: tuple[Argument, ...]
    context: str | None
    """The argument that takes the `CallContext`, if there is one."""


def read_signature(function: Callable[..., Any], docstring: Docstring) -> Signature:
    """Read what a function takes. Raises AgentError, with the name of the argument that is wrong."""
    arguments: list[Argument] = []
    contexts: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in _KINDS:
            raise AgentError(_KINDS[parameter.kind].format(name=parameter.name))
        wanted = _annotation(function, parameter)
        if wanted is CallContext:
            contexts.append(parameter.name)
        else:
            arguments.append(_argument(parameter, wanted, docstring.arguments))
    if len(contexts) > 1:
        raise AgentError(f"the arguments {' and '.join(map(repr, contexts))} are both the CallContext; one is enough")
    names = [argument.name for argument in arguments]
    for name in docstring.arguments:
        if name not in (*names, *contexts):
            raise AgentError(f"the docstring describes an argument {name!r}, which is none of: {', '.join(names) or '(none)'}")
    return Signature(tuple(arguments), contexts[0] if contexts else None)


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Work out the parameter's type, also where annotations are kept as text."""
    name, annotation = parameter.name, parameter.annotation
    if annotation is parameter.empty:
        if name in ("self", "cls"):
            raise AgentError(
                f"the argument {name!r} shows that it is a method; make it a plain function, or wrap the bound method"
            )
        raise AgentError(f"the argument {name!r} has no type; write one, for instance {name}: str")
    scope = inspect.unwrap(function)
    holder = SimpleNamespace(__annotations__={name: annotation})
    try:
        return typing.get_type_hints(holder, globalns=scope.__globals__, include_extras=True)[name]
    except NameError as error:
        raise AgentError(
            f"the type {annotation} of the argument {name!r} is not known when the tool is made ({error}); "
            "import it at the top of the module, not below TYPE_CHECKING"
        ) from None
    except (SyntaxError, TypeError, AttributeError) as error:
        raise AgentError(f"the type {annotation} of the argument {name!r} is none ({error}); write a type") from None


def _argument(parameter: inspect.Parameter, wanted: Any, descriptions: Mapping[str, str]) -> Argument:
    name = parameter.name
    try:
        schema = schema_of(wanted)
    except (TypeError, ValueError, NameError) as error:
        raise AgentError(
            f"the argument {name!r} has the type {inspect.formatannotation(wanted)}, which cannot be read from JSON "
            f"({str(error).splitlines()[-1]}); take str, int, float, bool, an Enum, a Literal, a date, a dataclass, or lists and "
            "dicts of them"
        ) from None
    if descriptions.get(name):
        schema.setdefault("description", descriptions[name])
    required = parameter.default is parameter.empty
    if not required:
        schema["default"] = _default(parameter, wanted)
    return Argument(name, wanted, required, schema)


def _default(parameter: inspect.Parameter, wanted: Any) -> Any:
    """Write the default as JSON; it must fit the type."""
    try:
        default = msgspec.json.decode(msgspec.json.encode(parameter.default))
        msgspec.convert(default, wanted)
    except (TypeError, msgspec.ValidationError):
        name, shown = parameter.name, inspect.formatannotation(wanted)
        fix = f"write {name}: {shown} | None = None" if parameter.default is None else "change one of them"
        raise AgentError(f"the argument {name!r} has the default {parameter.default!r}, which is no {shown}; {fix}") from None
    return default
