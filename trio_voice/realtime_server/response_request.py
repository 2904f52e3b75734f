"""What a response is made with: the session's settings, overlaid by those of its own `response.create`."""

from __future__ import annotations

import zlib
from typing import Any

from attrs import frozen

from trio_voice.realtime_server import errors_on_the_wire as errors
from trio_voice.realtime_server.audio_formats import AudioFormat, format_of
from trio_voice.realtime_server.session_object import VOICES, check_model_supports


@frozen
class ResponseRequest:
    """The effective settings of one response."""

    in_conversation: bool
    """False: `conversation` was "none", an out-of-band response."""
    output_modalities: list[str]
    format: AudioFormat
    wire_format: dict[str, Any]
    voice: str | dict[str, Any]
    speed: float
    instructions: str | None
    """The response's own instructions; None: the session's hold."""
    session_instructions: str
    """What the session is told for all its responses."""
    tools: list[dict[str, Any]]
    tool_choice: str | dict[str, Any]
    max_output_tokens: int | str
    metadata: dict[str, str] | None
    input: list[dict[str, Any]] | None
    """A context of its own instead of the conversation."""
    names_phases: bool
    """Reasoning models say of each message whether it is commentary or the final answer."""

    @property
    def speaks(self) -> bool:
        """Whether messages are spoken (else written)."""
        return self.output_modalities == ["audio"]

    @property
    def voice_name(self) -> str:
        """The voice that speaks; a custom voice (an id) is given one of the ten, always the same."""
        if isinstance(self.voice, str):
            return self.voice
        return VOICES[zlib.crc32(str(self.voice["id"]).encode()) % len(VOICES)]


def resolve(session: dict[str, Any], response: dict[str, Any] | None, *, assistant_audio_seen: bool) -> ResponseRequest:
    """Overlay a `response.create` (its `response`, already checked for shape) on the session.

    Raises ClientError for what this model or this moment does not allow.
    """
    own = response or {}
    check_model_supports(own, session["model"], "response")
    output = {**session["audio"]["output"], **own.get("audio", {}).get("output", {})}
    in_conversation = own.get("conversation") != "none"
    if assistant_audio_seen and in_conversation and output["voice"] != session["audio"]["output"]["voice"]:
        raise errors.cannot_update_voice()
    return ResponseRequest(
        in_conversation=in_conversation,
        output_modalities=own.get("output_modalities", session["output_modalities"]),
        format=format_of(output["format"]),
        wire_format=output["format"],
        voice=output["voice"],
        speed=output["speed"],
        instructions=own.get("instructions"),
        session_instructions=session["instructions"] or "",
        tools=own.get("tools", session["tools"]),
        tool_choice=own.get("tool_choice", session["tool_choice"]),
        max_output_tokens=own.get("max_output_tokens", session["max_output_tokens"]),
        metadata=own.get("metadata"),
        input=own.get("input"),
        names_phases=session["model"].startswith("gpt-realtime-2"),
    )
