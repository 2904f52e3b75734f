"""The script file: what the embedded server answers, as rules in TOML (documented in docs/realtime-server.md).

A script is read and checked as a whole; every mistake names the file, the place and the fix.
"""

from __future__ import annotations

import json
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from trio_voice.errors import ConfigError
from trio_voice.realtime_server.switches import Switches

Regex = Annotated[str, Meta(description="a regular expression, searched anywhere, upper and lower case alike")]


class When(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conditions of a rule; all that are given must hold."""

    about: Annotated[
        Literal["nothing", "speech", "text", "digits", "function_output", "idle"]
        | list[Literal["nothing", "speech", "text", "digits", "function_output", "idle"]]
        | None,
        Meta(description="what the response answers; nothing: no turn is waiting, idle: the caller was silent"),
    ] = None
    turn: Annotated[int | list[int] | None, Meta(description="the caller's turn, from 1")] = None
    turn_at_least: int | None = None
    turn_at_most: int | None = None
    response: Annotated[int | list[int] | None, Meta(description="the session's response, from 1")] = None
    spoken_at_least_ms: Annotated[int | None, Meta(description="the caller spoke at least so long")] = None
    spoken_at_most_ms: int | None = None
    text: Annotated[Regex | None, Meta(description="over the caller's words or digits; named groups can be used in texts")] = None
    function: Annotated[str | None, Meta(description="the function whose output is answered")] = None
    output: Annotated[Regex | None, Meta(description="over a function's output")] = None
    instructions: Annotated[Regex | None, Meta(description="over the response's own instructions")] = None
    tool: Annotated[str | None, Meta(description="only if the session or the response declares this function")] = None


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output item: a message (`say`) or a function call (`call`)."""

    say: Annotated[str | None, Meta(description="what is said, with placeholders such as {turn}")] = None
    phase: Literal["commentary", "final_answer"] | None = None
    call: Annotated[str | None, Meta(description="the function to call")] = None
    arguments: Annotated[dict[str, Any], Meta(description="its arguments; strings may hold placeholders")] = field(
        default_factory=dict
    )


class Ends(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the response ends, if it does not complete."""

    status: Literal["failed", "incomplete"]
    reason: Annotated[Literal["max_output_tokens", "content_filter"], Meta(description="of an incomplete response")] = (
        "max_output_tokens"
    )
    type: Annotated[str, Meta(description="of a failed response's error")] = "invalid_request_error"
    code: str | None = None
    message: str = "The response failed."
    after_ms: Annotated[int, Meta(ge=0, description="audio that is said before")] = 0


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: if its conditions hold, this is the answer."""

    when: When = When()
    say: Annotated[str | list[str] | None, Meta(description="one message; of several texts each is used in turn")] = None
    parts: Annotated[list[Part], Meta(description="several output items, in order")] = field(default_factory=list)
    delay_ms: Annotated[int, Meta(ge=0, description="the model thinks for so long")] = 0
    times: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="how often it applies in a session")] = None
    ends: Ends | None = None


class Heard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller's spoken turn is taken to say (there may be no recogniser)."""

    transcript: str
    turn: Annotated[int | list[int] | None, Meta(description="none: every turn")] = None


class Script(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole script."""

    name: str = "unnamed"
    rule: Annotated[list[Rule], Meta(description="the first rule whose conditions hold answers")]
    heard: list[Heard] = field(default_factory=list)
    switches: Switches = Switches()


def parse_script(text: str, origin: str) -> Script:
    """Read a script; `origin` names it in errors. Raises ConfigError."""
    try:
        script = msgspec.convert(tomllib.loads(text), Script)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: not valid TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {error}; see docs/realtime-server.md for what a script may say") from None
    for number, rule in enumerate(script.rule, 1):
        _check_rule(rule, f"{origin}: rule {number}")
    return script


def _check_rule(rule: Rule, where: str) -> None:
    for name in ("text", "output", "instructions"):
        pattern = {"text": rule.when.text, "output": rule.when.output, "instructions": rule.when.instructions}[name]
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ConfigError(f"{where}: when.{name} is no regular expression: {error}") from None
    if rule.say is not None and rule.parts:
        raise ConfigError(f"{where}: give either say or parts, not both")
    if rule.say == []:
        raise ConfigError(f"{where}: say is an empty list; give at least one text")
    if rule.say is None and not rule.parts and rule.ends is None:
        raise ConfigError(f"{where}: it says nothing; give say, parts or ends")
    for part in rule.parts:
        if (part.say is None) == (part.call is None):
            raise ConfigError(f"{where}: each of parts needs either say or call")


def read_script(path: Path) -> Script:
    """Read a script file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a script in TOML") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text; give the path of a script in TOML") from None
    return parse_script(text, str(path))


def default_script() -> Script:
    """Return the receptionist."""
    file = resources.files("trio_voice.realtime_server").joinpath("receptionist.toml")
    return parse_script(file.read_text(encoding="utf-8"), "the default script")


def json_schema() -> str:
    """Return the JSON schema of a script."""
    return json.dumps(msgspec.json.schema(Script), indent=2)
