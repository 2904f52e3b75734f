"""Tools: Python functions that the model may call."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Literal, overload

import msgspec
from attrs import field, frozen

from trio_voice.agent.docstring import parse_docstring
from trio_voice.agent.mistakes import AgentError
from trio_voice.agent.schema import unknown_key
from trio_voice.agent.signature import Signature, read_signature
from trio_voice.realtime.settings import FunctionTool

MOST_DESCRIPTION_CHARACTERS = 1024
NAME_PATTERN = r"[a-zA-Z0-9_-]{1,64}"
"""What the wire allows. Source of both: OpenAI API reference, function tools."""


class ToolError(Exception):
    """Raise it in a tool to tell the model what went wrong: its text is what the model gets.

    Of any other exception the model only learns that the tool failed.
    """


class WrongArguments(Exception):  # noqa: N818 - whose error it is: the model's, and it is told
    """What the model gave does not fit the tool's arguments; the text says where."""


class OnBargeIn(Enum):
    """What becomes of a running tool when the caller interrupts the agent."""

    KEEP = "keep"
    """It goes on, and the model gets its answer."""
    CANCEL = "cancel"
    """It is cancelled, and the model is told so."""


@frozen(eq=False, kw_only=True)
class Tool:
    """A function with what the model is told of it. It can be called as the function that it is made of."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """The JSON schema of the arguments."""
    function: Callable[..., Any]
    is_async: bool
    timeout_s: float | None
    """How long it may take from the model's call to its answer; None: `call.tool_limit_s`."""
    on_barge_in: OnBargeIn
    filler: str | None
    """What the agent says when the answer takes a while."""
    context: str | None
    """The argument that takes the call's context."""
    _decoder: msgspec.json.Decoder[Any] = field(repr=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    @property
    def declaration(self) -> FunctionTool:
        """What a Realtime session is told."""
        return FunctionTool(self.name, self.description, self.parameters)

    def read_arguments(self, text: str) -> dict[str, Any]:
        """Read the model's arguments, JSON text, into those of the function. Raises WrongArguments."""
        text = text.strip() or "{}"  # what some models give to a function without arguments
        try:
            given = self._decoder.decode(text)
            unknown = unknown_key(dict(self.parameters), msgspec.json.decode(text))
        except msgspec.ValidationError as error:
            raise WrongArguments(str(error).replace("`$.", "`")) from None
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            raise WrongArguments(f"the arguments are not valid JSON: {error}") from None
        if unknown is not None:
            raise WrongArguments(f"Object contains unknown field `{unknown}`")
        return {name: value for name, value in msgspec.structs.asdict(given).items() if value is not msgspec.UNSET}


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...


@overload
def tool(
    *,
    name: str | None = None,
    timeout_s: float | None = None,
    on_barge_in: Literal["keep", "cancel"] = "keep",
    filler: str | None = None,
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    timeout_s: float | None = None,
    on_barge_in: Literal["keep", "cancel"] = "keep",
    filler: str | None = None,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function, sync or async: `@tool` or `@tool(timeout_s=5)`.

    The model learns the function's name (or `name`), its docstring, and its arguments with their types. An argument of type
    `CallContext` is filled in by us. `timeout_s` None: the call's `tool_limit_s`. Raises AgentError where the function is made.
    """

    def make(function: Callable[..., Any]) -> Tool:
        shown = name if name is not None else _name_of(function)
        try:
            return _make_tool(function, shown, timeout_s, on_barge_in, filler)
        except AgentError as error:
            raise AgentError(f"tool {shown}: {error}") from None

    return make if function is None else make(function)


def _name_of(function: Callable[..., Any]) -> str:
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise AgentError(f"@tool stands above a function or an async function, not above {function!r}")
    return function.__name__


def _make_tool(
    function: Callable[..., Any],
    name: str,
    timeout_s: float | None,
    on_barge_in: str,
    filler: str | None,
) -> Tool:
    _check_name(name)
    _check_options(function, timeout_s, on_barge_in, filler)
    try:
        docstring = parse_docstring(function.__doc__ or "")
    except ValueError as error:
        raise AgentError(str(error)) from None
    _check_description(docstring.description)
    signature = read_signature(function, docstring)
    return Tool(
        name=name,
        description=docstring.description,
        parameters=_parameters(signature),
        function=function,
        is_async=inspect.iscoroutinefunction(function),
        timeout_s=timeout_s,
        on_barge_in=OnBargeIn(on_barge_in),
        filler=filler,
        context=signature.context,
        decoder=_decoder(signature),
    )


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise AgentError(
            "a tool's name may have up to 64 characters out of a-z, A-Z, 0-9, _ and -; give another: @tool(name=...)"
        )


def _check_description(description: str) -> None:
    if not description:
        raise AgentError("the function has no docstring, and the model learns from it what the tool does; write one")
    if len(description) > MOST_DESCRIPTION_CHARACTERS:
        raise AgentError(
            f"the docstring's description has {len(description)} characters, and a model takes {MOST_DESCRIPTION_CHARACTERS}; "
            "shorten it, or move parts of it to the arguments"
        )


def _check_options(function: Callable[..., Any], timeout_s: float | None, on_barge_in: str, filler: str | None) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise AgentError("the function yields, and a tool returns its answer; collect it and return it")
    if timeout_s is not None and not 0 < timeout_s < math.inf:
        raise AgentError(f"timeout_s must be a number of seconds above 0, not {timeout_s!r}")
    if on_barge_in not in ("keep", "cancel"):
        raise AgentError(f"on_barge_in must be 'keep' or 'cancel', not {on_barge_in!r}")
    if on_barge_in == "cancel" and not inspect.iscoroutinefunction(function):
        raise AgentError("on_barge_in='cancel' needs an async function: a sync one, in its thread, cannot be cancelled")
    if filler is not None and not filler.strip():
        raise AgentError("filler must be a text for the agent to say; leave it out for none")


def _parameters(signature: Signature) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {argument.name: argument.schema for argument in signature.arguments},
        "required": [argument.name for argument in signature.arguments if argument.required],
        "additionalProperties": False,
    }


def _decoder(signature: Signature) -> msgspec.json.Decoder[Any]:
    """Make what reads the arguments; one that is left out stays unset, and the function's own default holds."""
    fields = [
        (argument.name, argument.wanted)
        if argument.required
        else (argument.name, argument.wanted | msgspec.UnsetType, msgspec.UNSET)
        for argument in signature.arguments
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True))
