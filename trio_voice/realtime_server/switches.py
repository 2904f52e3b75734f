"""Everything about the server's behaviour that can be switched: timing, what the real service leaves open, faults and races.

One flat list of names, the same in the script's `[switches]` table, on the command line (`--set NAME=VALUE`) and in the control
call. Durations are in the unit that the name says. The defaults are the documented service's behaviour.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class Switches(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All switches; a changed copy comes from `msgspec.structs.replace`."""

    # --- timing
    pace: Annotated[float, Meta(ge=0, description="audio is sent this many times faster than it is heard; 0: at once")] = 12.0
    first_transcript_ms: Annotated[int, Meta(ge=0, description="response.created to the first transcript delta")] = 310
    first_audio_ms: Annotated[int, Meta(ge=0, description="response.created to the first audio delta")] = 430
    delta_ms: Annotated[int, Meta(ge=50, le=1000, multiple_of=50, description="audio in one delta")] = 250
    tail_silence_ms: Annotated[int, Meta(ge=0, multiple_of=50, description="near silence at the end of a message")] = 100
    cancel_ms: Annotated[int, Meta(ge=0, description="response.cancel to its response.done")] = 180
    rate_limits_ms: Annotated[int, Meta(ge=0, description="response.done to rate_limits.updated")] = 35
    transcription_least_ms: Annotated[int, Meta(ge=0, description="commit to the caller's transcript, at least")] = 80
    transcription_most_ms: Annotated[int, Meta(ge=0, description="commit to the caller's transcript, at most")] = 900
    longest_session_s: Annotated[float, Meta(gt=0, description="then session_expired and CLOSE 1001")] = 3600.0
    voice_timeout_s: Annotated[float, Meta(gt=0, description="the voice may be silent that long; then the response fails")] = 15.0

    # --- what the service leaves open, or does oddly
    obfuscation: Annotated[bool, Meta(description="text deltas carry obfuscation")] = True
    rate_limits: Annotated[bool, Meta(description="rate_limits.updated follows response.done")] = True
    first_predecessor_is_null: Annotated[
        bool, Meta(description="item.done says previous_item_id null when the predecessor is the conversation's first item")
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
    conversation_created: Annotated[bool, Meta(description="conversation.created follows session.created")] = False
    error_event_ids: Annotated[bool, Meta(description="error.event_id repeats the client's event_id")] = True


DEFAULT_SWITCHES = Switches()
