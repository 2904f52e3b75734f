"""The script file: what the embedded server answers, as rules in TOML (documented in docs/realtime-server.md).

A script is read and checked as a whole; every mistake names the file, the place and the fix.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from trio_voice.errors import ConfigError
from trio_voice.realtime_server.switches import Switches

AboutName = Literal["nothing", "speech", "text", "digits", "function_output", "approval", "idle"]
Regex = Annotated[str, Meta(description="a regular expression, searched anywhere, upper and lower case alike")]
Numbers = int | list[int] | None


class When(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conditions of a rule; all that are given must hold."""

    about: Annotated[
        AboutName | list[AboutName] | None,
        Meta(description="what the response answers; nothing: no turn is waiting, idle: the caller was silent"),
    ] = None
    turn: Annotated[Numbers, Meta(description="the caller's turn, from 1")] = None
    turn_at_least: int | None = None
    turn_at_most: int | None = None
    response: Annotated[Numbers, Meta(description="the session's response, from 1")] = None
    spoken_at_least_ms: Annotated[int | None, Meta(description="the caller spoke at least so long")] = None
    spoken_at_most_ms: int | None = None
    text: Annotated[Regex | None, Meta(description="over the caller's words or digits; named groups are placeholders")] = None
    function: Annotated[str | None, Meta(description="the function (or MCP tool) whose output is answered")] = None
    output: Annotated[Regex | None, Meta(description="over a function's output")] = None
    approved: Annotated[bool | None, Meta(description="about an approval: what the client said")] = None
    instructions: Annotated[Regex | None, Meta(description="over the response's own instructions")] = None
    session: Annotated[Regex | None, Meta(description="over the session's instructions: who the model is told to be")] = None
    note: Annotated[Regex | None, Meta(description="over the system messages that no answer has followed")] = None
    tool: Annotated[str | None, Meta(description="only if the session or the response declares this function")] = None


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output item: a message (`say`), a function call (`call`), or an MCP call (`call` and `mcp`)."""

    say: Annotated[str | None, Meta(description="what is said, with placeholders such as {turn}")] = None
    phase: Literal["commentary", "final_answer"] | None = None
    call: Annotated[str | None, Meta(description="the function, or the MCP server's tool, to call")] = None
    mcp: Annotated[str | None, Meta(description="the label of the MCP server whose tool is called")] = None
    arguments: Annotated[dict[str, Any], Meta(description="of the call; strings may hold placeholders")] = field(
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
    switches: Annotated[dict[str, Any], Meta(description="switches that are set for this response only")] = field(
        default_factory=dict
    )


class Utterance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller's spoken turn is taken to say (where nothing recognises it)."""

    transcript: str = ""
    turn: Annotated[Numbers, Meta(description="none: every turn")] = None
    fails: Annotated[bool, Meta(description="the transcription fails instead")] = False
    speakers: Annotated[list[tuple[str, str]], Meta(description="(speaker, text) pairs, for models that tell speakers apart")] = (
        field(default_factory=list)
    )


class McpTool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool of a pretended MCP server, and what a call of it gives."""

    name: str
    description: str | None = None
    input_schema: dict[str, Any] = field(default_factory=lambda: {"type": "object"})
    output: Annotated[str, Meta(description="what a call returns")] = ""
    error: Annotated[str | None, Meta(description="a call fails with this message instead")] = None


class McpServer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pretended MCP server; one that a session declares and no script knows cannot be reached."""

    server_label: str
    tool: list[McpTool] = field(default_factory=list)


class ChatWhen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conditions of a rule for chat completions; all that are given must hold."""

    text: Annotated[Regex | None, Meta(description="over the last user message; named groups are placeholders")] = None
    system: Annotated[Regex | None, Meta(description="over the system and developer messages; named groups too")] = None


class ChatError(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An error that a chat completion is answered with."""

    status: Annotated[int, Meta(ge=400, le=599)] = 500
    type: str = "server_error"
    code: str | None = None
    message: str = "The server had an error while processing your request. Sorry about that!"


class ChatRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule for `POST /v1/chat/completions`: if its conditions hold, this is the answer."""

    when: ChatWhen = ChatWhen()
    say: Annotated[str, Meta(description="the message, with placeholders: {text}, {words}, and named groups")] = ""
    error: ChatError | None = None
    delay_ms: Annotated[int, Meta(ge=0, description="the model thinks for so long")] = 0
    times: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="how often it applies, while the server runs")] = None


class Script(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole script."""

    name: str = "unnamed"
    rule: Annotated[list[Rule], Meta(description="the first rule whose conditions hold answers")]
    heard: list[Utterance] = field(default_factory=list)
    phrases: Annotated[
        list[str], Meta(description="what a local recogniser listens for in the caller's turns; needs the extra [recogniser]")
    ] = field(default_factory=list)
    mcp: list[McpServer] = field(default_factory=list)
    chat: Annotated[list[ChatRule], Meta(description="what chat completions are answered; the first rule that fits")] = field(
        default_factory=list
    )
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
        _check_rule(rule, script, f"{origin}: rule {number}")
    for number, chat in enumerate(script.chat, 1):
        where = f"{origin}: chat {number}"
        _check_patterns({"text": chat.when.text, "system": chat.when.system}, where)
        if not chat.say and chat.error is None:
            raise ConfigError(f"{where}: it says nothing; give say or error")
    return script


def _check_patterns(patterns: Mapping[str, str | None], where: str) -> None:
    for name, pattern in patterns.items():
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ConfigError(f"{where}: when.{name} is no regular expression: {error}") from None


def _check_rule(rule: Rule, script: Script, where: str) -> None:
    when = rule.when
    _check_patterns({"text": when.text, "output": when.output, "instructions": when.instructions}, where)
    _check_patterns({"session": when.session, "note": when.note}, where)
    if rule.say is not None and rule.parts:
        raise ConfigError(f"{where}: give either say or parts, not both")
    if rule.say == []:
        raise ConfigError(f"{where}: say is an empty list; give at least one text")
    if rule.say is None and not rule.parts and rule.ends is None:
        raise ConfigError(f"{where}: it says nothing; give say, parts or ends")
    script.switches.changed(rule.switches, f"{where}: switches")
    tools = {(server.server_label, tool.name) for server in script.mcp for tool in server.tool}
    for part in rule.parts:
        if (part.say is None) == (part.call is None):
            raise ConfigError(f"{where}: each of parts needs either say or call")
        if part.mcp is not None and (part.mcp, part.call) not in tools:
            raise ConfigError(f"{where}: no [[mcp]] server '{part.mcp}' with a tool '{part.call}'; declare it in the script")


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


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a script."""
    schema = msgspec.json.schema(Script)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A script of the embedded server", **schema}
