"""Everything about the server's behaviour that can be switched: timing, what the real service leaves open, faults and races.

One flat list of names, the same in the script's `[switches]` table, on the command line (`--set NAME=VALUE`) and in the control
call. Durations are in the unit that the name says. The defaults are the documented service's behaviour, without faults. Counts
(`refuse_creates = 2`) mean: the first so many of each session.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from trio_voice.errors import ConfigError


class Switches(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All switches; a changed copy comes from `changed`."""

    # --- timing
    pace: Annotated[
        float, Meta(ge=0, description="audio leaves so many times faster than it is heard; 1: real time, 0: at once")
    ] = 12.0
    first_transcript_ms: Annotated[int, Meta(ge=0, description="response.created to the first transcript delta")] = 310
    first_audio_ms: Annotated[int, Meta(ge=0, description="response.created to the first audio delta")] = 430
    delta_ms: Annotated[int, Meta(ge=50, le=1000, multiple_of=50, description="audio in one delta")] = 250
    tail_silence_ms: Annotated[int, Meta(ge=0, multiple_of=50, description="near silence at the end of a message")] = 100
    cancel_ms: Annotated[int, Meta(ge=0, description="response.cancel to its response.done")] = 180
    rate_limits_ms: Annotated[int, Meta(ge=0, description="response.done to rate_limits.updated")] = 35
    transcription_least_ms: Annotated[int, Meta(ge=0, description="commit to the caller's transcript, at least")] = 80
    transcription_most_ms: Annotated[int, Meta(ge=0, description="commit to the caller's transcript, at most")] = 900
    longest_session_s: Annotated[float, Meta(gt=0, description="then session_expired and CLOSE 1001")] = 3600.0
    voice_timeout_s: Annotated[float, Meta(gt=0, description="the voice may be silent so long; then the response fails")] = 15.0

    # --- what the service leaves open, or does oddly
    obfuscation: Annotated[bool, Meta(description="text deltas carry obfuscation")] = True
    rate_limits: Annotated[bool, Meta(description="rate_limits.updated follows response.done")] = True
    first_predecessor_is_null: Annotated[
        bool, Meta(description="conversation.item.done says previous_item_id null if that is the conversation's first item")
    ] = True
    done_order: Annotated[
        Literal["conversation_first", "output_first"],
        Meta(description="conversation.item.done before response.output_item.done (seen), or after it (documented)"),
    ] = "conversation_first"
    overlapping_items: Annotated[bool, Meta(description="item n+1 is added before item n is done")] = True
    duplicate_item_ids: Annotated[
        Literal["accept", "refuse"], Meta(description="an item created with an id that exists already")
    ] = "accept"
    truncate_error_code: Annotated[
        Literal["invalid_value", "none"], Meta(description='code of the error "already shorter than"')
    ] = "invalid_value"
    reply_while_active: Annotated[
        Literal["refuse", "defer"], Meta(description="a turn ends while a response runs (interrupt_response false)")
    ] = "refuse"
    parts_done_when_cancelled: Annotated[bool, Meta(description="open parts of a cancelled response get their .done events")] = (
        True
    )
    retrieved_parts: Annotated[
        Literal["typed", "audio"],
        Meta(description='type of audio parts in conversation.item.retrieved; "audio" as in an example'),
    ] = "typed"
    conversation_created: Annotated[bool, Meta(description="conversation.created follows session.created")] = False
    error_event_ids: Annotated[bool, Meta(description="error.event_id repeats the client's event_id")] = True
    refuse_beta: Annotated[bool, Meta(description="clients that ask for the beta interface are refused")] = True

    # --- faults and races: responses
    stragglers: Annotated[int, Meta(ge=0, le=100, description="audio deltas that follow a cancel")] = 0
    late_done: Annotated[
        bool, Meta(description="a cancelled response's response.done comes after the next response.created (or 2 s later)")
    ] = False
    missing_done: Annotated[int, Meta(ge=0, description="so many responses never get their response.done")] = 0
    refuse_creates: Annotated[int, Meta(ge=0, description="so many response.create are refused, with no response active")] = 0
    fail_responses: Annotated[int, Meta(ge=0, description="so many responses fail at once (see fail_code)")] = 0
    fail_code: Annotated[
        Literal["rate_limit_exceeded", "insufficient_quota", "server_error", "inference_rate_limit_exceeded", "model_not_found"],
        Meta(description="the error of fail_responses"),
    ] = "rate_limit_exceeded"
    stall_after_ms: Annotated[int, Meta(ge=0, description="after so much of a response's audio the server stalls")] = 0
    stall_ms: Annotated[int, Meta(ge=0, description="for so long")] = 0
    surplus_pcm_ms: Annotated[int, Meta(ge=0, le=5000, description="PCM that an item does not count (85 was seen)")] = 0
    reject_updates: Annotated[int, Meta(ge=0, description="so many session.update are rejected as a whole")] = 0
    late_item_acks: Annotated[bool, Meta(description="items created during a response are added after its response.done")] = False

    # --- faults and races: the wire
    jitter_ms: Annotated[int, Meta(ge=0, description="every event is late by up to so much; the order stays")] = 0
    duplicate_every: Annotated[int, Meta(ge=0, description="every n-th event is sent twice; 0: none")] = 0
    reorder_every: Annotated[int, Meta(ge=0, description="every n-th event changes places with the one after it; 0: none")] = 0
    unknown_every: Annotated[int, Meta(ge=0, description="after every n-th event one of an unknown type; 0: none")] = 0
    close_after_s: Annotated[
        float, Meta(ge=0, description="the connection ends so long after it began (see close_code); 0: not")
    ] = 0.0
    close_code: Annotated[
        int, Meta(ge=1000, le=4999, description="of close_after_s; 1006: without CLOSE, 1011 and 1013: an error event before it")
    ] = 1011
    reset_after_s: Annotated[float, Meta(ge=0, description="the TCP connection is reset so long after it began; 0: not")] = 0.0
    silent_after_s: Annotated[float, Meta(ge=0, description="half-open: nothing is read or written any more; 0: not")] = 0.0
    refuse_upgrades: Annotated[int, Meta(ge=0, description="so many upgrades of the server get HTTP status upgrade_status")] = 0
    upgrade_status: Annotated[int, Meta(ge=400, le=599, description="of refuse_upgrades")] = 500
    no_quota: Annotated[bool, Meta(description="connections end at once with insufficient_quota and CLOSE 1013")] = False

    def changed(self, changes: Mapping[str, Any], where: str) -> Switches:
        """Return a copy with some switches set. Raises ConfigError, which says `where` the changes came from."""
        known = Switches.__struct_fields__  # not structs.fields: it evaluates all annotations, 1.5 ms for each rule of a script
        for name in changes:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else "the switches are listed by: trio-voice model --switches"
                raise ConfigError(f"{where}: there is no switch {name}; {hint}")
        try:
            return msgspec.convert({**msgspec.structs.asdict(self), **changes}, Switches)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{where}: {_in_words(str(error), changes)}") from None


DEFAULT_SWITCHES = Switches()


_TYPES = {"`int`": "a whole number", "`float`": "a number", "`bool`": "true or false", "`str`": "a text"}


def _in_words(error: str, changes: Mapping[str, Any]) -> str:
    """Say "stragglers = 'x': must be a whole number" for msgspec's "Expected `int`, got `str` - at `$.stragglers`"."""
    problem, _, path = error.partition(" - at `$.")
    name = path.rstrip("`").partition("[")[0]
    must_be, _, _ = problem.partition(", got ")
    for type_, words in _TYPES.items():
        must_be = must_be.replace(type_, words)
    sentence = must_be.replace("Expected ", "must be ", 1)
    return f"{name} = {changes[name]!r}: {sentence}" if name in changes else sentence


def parse_assignments(assignments: tuple[str, ...]) -> dict[str, Any]:
    """Read `NAME=VALUE`s of a command line. Raises ConfigError."""
    changes: dict[str, Any] = {}
    for each in assignments:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set {each}: write it as NAME=VALUE, for instance --set stragglers=2")
        try:
            changes[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            changes[name] = value
    return changes


def describe_switches() -> list[tuple[str, str, str]]:
    """Return each switch's name, default (as JSON) and meaning, with the values of a choice."""
    schema = msgspec.json.schema(Switches)["$defs"]["Switches"]["properties"]
    return [(name, json.dumps(each["default"]), _meaning(each)) for name, each in schema.items()]


def _meaning(schema: Mapping[str, Any]) -> str:
    choices = f" ({', '.join(schema['enum'])})" if "enum" in schema else ""
    return f"{schema['description']}{choices}"


def switch_table() -> str:
    """Return the switches as the table of docs/realtime-server.md."""
    rows = [f"| `{name}` | `{default}` | {meaning} |" for name, default, meaning in describe_switches()]
    return "\n".join(["| switch | default | meaning |", "|---|---|---|", *rows, ""])
