"""The settings of a Realtime session: how they are sent, and whether the peer took them.

A peer that refuses one field of `session.update` drops the whole update and goes on with its own settings: another audio format,
its own prompt, and its own idea of turns. So the echo in `session.updated` is compared with what was asked for, before the first
audio is sent. Source: OpenAI Realtime API reference, the session object.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import msgspec
from attrs import field, frozen, validators

from trio_voice.realtime.messages import SessionUpdate

_SHOWN_LIMIT = 80


class AudioFormat(Enum):
    """An audio format of a session: G.711 at 8000 Hz, or 16-bit little-endian PCM at 24000 Hz."""

    PCMU = "audio/pcmu"
    PCMA = "audio/pcma"
    PCM = "audio/pcm"


class NoiseReduction(Enum):
    """A filter that the peer puts before its voice detector and the model."""

    NEAR_FIELD = "near_field"
    FAR_FIELD = "far_field"


@frozen
class FunctionTool:
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@frozen(kw_only=True)
class SessionSettings:
    """What we ask of a session. None leaves the peer's own default, where the comment does not say otherwise."""

    instructions: str
    model: str
    """It is part of the session's address: a session cannot change its model."""
    voice: str | None = None
    """It cannot be changed once the session has spoken."""
    input_format: AudioFormat = AudioFormat.PCMU
    output_format: AudioFormat = AudioFormat.PCMU
    vad_threshold: float = field(default=0.5, validator=[validators.ge(0.0), validators.le(1.0)])
    vad_prefix_ms: int = field(default=300, validator=validators.ge(0))
    vad_silence_ms: int = field(default=350, validator=validators.ge(0))
    create_response: bool = False
    """The peer answers by itself when the caller falls silent."""
    interrupt_response: bool = False
    """The peer cancels its reply by itself when the caller speaks."""
    transcription_model: str | None = None
    """What writes down the caller's words; None: nothing does."""
    transcription_language: str | None = None
    """The language that it expects, as an ISO 639-1 code; None: it finds out."""
    noise_reduction: NoiseReduction | None = None
    """None: off."""
    speed: float | None = field(default=None, validator=validators.optional([validators.ge(0.25), validators.le(1.5)]))
    tools: tuple[FunctionTool, ...] = ()


def session_update(settings: SessionSettings, event_id: str) -> str:
    """Write the `session.update` event that asks for these settings."""
    return msgspec.json.encode(SessionUpdate(event_id, _session_object(settings))).decode()


def echo_differences(settings: SessionSettings, session_object: Mapping[str, Any]) -> list[str]:
    """Compare what was asked for with the session that the peer reports; one sentence for each difference.

    A sentence begins with the setting's whole path ("session.audio.input.format.type: ..."), also where the peer reports nothing
    of the kind. What was not asked for is not compared: a peer may report more than we know.
    """
    return list(_differences("session", _session_object(settings), session_object))


def _session_object(settings: SessionSettings) -> dict[str, Any]:
    output: dict[str, Any] = {"format": _format_object(settings.output_format)}
    if settings.voice is not None:
        output["voice"] = settings.voice
    if settings.speed is not None:
        output["speed"] = settings.speed
    return {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": settings.instructions,
        "audio": {"input": _input_object(settings), "output": output},
        "tools": [
            {"type": "function", "name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
            for tool in settings.tools
        ],
    }


def _input_object(settings: SessionSettings) -> dict[str, Any]:
    noise_reduction = settings.noise_reduction
    return {
        "format": _format_object(settings.input_format),
        "transcription": _transcription_object(settings),
        "noise_reduction": None if noise_reduction is None else {"type": noise_reduction.value},
        "turn_detection": {
            "type": "server_vad",
            "threshold": settings.vad_threshold,
            "prefix_padding_ms": settings.vad_prefix_ms,
            "silence_duration_ms": settings.vad_silence_ms,
            "create_response": settings.create_response,
            "interrupt_response": settings.interrupt_response,
        },
    }


def _transcription_object(settings: SessionSettings) -> dict[str, str] | None:
    if settings.transcription_model is None:
        return None
    language = {} if settings.transcription_language is None else {"language": settings.transcription_language}
    return {"model": settings.transcription_model, **language}


def _format_object(audio_format: AudioFormat) -> dict[str, Any]:
    """The rate of PCM is demanded on the wire, and has one legal value; G.711 has none."""
    return {"type": audio_format.value, "rate": 24000} if audio_format is AudioFormat.PCM else {"type": audio_format.value}


def _differences(path: str, asked: object, applied: object) -> Iterator[str]:
    if isinstance(asked, Mapping):
        for key, value in asked.items():
            yield from _differences(f"{path}.{key}", value, applied.get(key) if isinstance(applied, Mapping) else applied)
    elif path == "session.tools":
        asked_names, applied_names = _tool_names(asked), _tool_names(applied)
        if asked_names != applied_names:
            yield _sentence(path, asked_names, applied_names)
    elif not _is_same(asked, applied):
        yield _sentence(path, asked, applied)


def _is_same(asked: object, applied: object) -> bool:
    if isinstance(asked, float) and isinstance(applied, int | float):  # peers that compute with 32 bits report 0.8 as 0.80000001
        return math.isclose(asked, applied, rel_tol=1e-6)
    return asked == applied


def _tool_names(tools: object) -> list[str]:
    return [str(tool.get("name")) for tool in tools if isinstance(tool, Mapping)] if isinstance(tools, list) else []


def _sentence(path: str, asked: object, applied: object) -> str:
    return f"{path}: asked for {_shown(asked)}, the peer applied {_shown(applied)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_LIMIT else f"{text[:_SHOWN_LIMIT]}… ({len(text)} characters)"
