"""From settings to what a call needs: the model's address, its session, the call's numbers and words."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files

from trio_voice.agent.context import ModelApi
from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.config import Settings
from trio_voice.core.settings import Turns
from trio_voice.realtime.providers import OPENAI, http_api_url, session_url, upgrade_headers
from trio_voice.realtime.settings import AudioFormat, SessionSettings
from trio_voice.server.call_plan import CallPlan
from trio_voice.server.dial import Target
from trio_voice.server.model import ModelEndpoint
from trio_voice.server.transcoding import be_ready_for

_COMFORT_PEAK, _BEEP_PEAK = 2500, 6000
_TONE_SAMPLES = 1600
"""0.2 s."""


def call_plan(settings: Settings, base_url: str, version: str) -> CallPlan:
    """Make the plan of all calls with the model at `base_url`."""
    return CallPlan(
        endpoint=ModelEndpoint(
            url=session_url(base_url, settings.model.name),
            headers=upgrade_headers(settings.access.api_key),
            ping_every_s=settings.model.ping_every_s if settings.access.base_url is not None else 0.0,
            ping_limit_s=settings.model.ping_limit_s,
            append_ms=settings.model.append_ms,
        ),
        session=_session(settings),
        toolbox=settings.agent.toolbox,
        agent_name=settings.agent.name,
        api=ModelApi(base_url=http_api_url(base_url), key=settings.access.api_key),
        settings=settings.call,
        wording=settings.wording,
        apology=_apology(),
        comfort=_comfort(),
        beep=_beep() if settings.recording.enabled and settings.recording.beep else b"",
        version=version,
    )


def _session(settings: Settings) -> SessionSettings:
    audio_format = AudioFormat(f"audio/{settings.model.audio_format.value}")
    be_ready_for(audio_format, audio_format)
    model_has_the_turns = settings.call.turns is Turns.MODEL
    return settings.agent.session(
        SessionSettings(
            instructions="",  # the agent's business
            model=settings.model.name,
            input_format=audio_format,
            output_format=audio_format,
            vad_threshold=settings.call.vad_threshold,
            vad_prefix_ms=settings.call.vad_prefix_ms,
            vad_silence_ms=settings.call.vad_silence_ms,
            create_response=model_has_the_turns,
            interrupt_response=model_has_the_turns,
            transcription_model=settings.model.transcription_model,
            noise_reduction=settings.model.noise_reduction,
            speed=settings.model.speed,
        )
    )


@cache
def _apology() -> bytes:
    """What a caller hears when nothing else works any more: mu-law at 8000 Hz."""
    return files("trio_voice.server").joinpath("apology.ulaw").read_bytes()


@cache
def _comfort() -> bytes:
    """What a caller hears now and then who waits for a model: two short, soft tones."""
    return pcm16_to_ulaw(_tone(440, _COMFORT_PEAK) + _tone(554, _COMFORT_PEAK))


@cache
def _beep() -> bytes:
    """What a caller hears at the begin of a call that is recorded: one tone, as recorders have made it since there are any."""
    return pcm16_to_ulaw(_tone(1400, _BEEP_PEAK))


def _tone(pitch_hz: int, peak: int) -> bytes:
    """A tone that fades in and out: 16 bits at 8000 Hz."""
    return b"".join(
        round(peak * math.sin(math.pi * at / _TONE_SAMPLES) * math.sin(2 * math.pi * pitch_hz * at / 8000)).to_bytes(
            2, "little", signed=True
        )
        for at in range(_TONE_SAMPLES)
    )


def model_in_words(settings: Settings) -> str:
    """Say which model answers, and how to have another."""
    base_url = settings.access.base_url
    if base_url is None:
        return f"the embedded Realtime server: a script, no key, no internet (for OpenAI: {OPENAI.key_variable}=... make run)"
    address = Target.of(session_url(base_url, settings.model.name))
    return f"{settings.model.name} at {address} (for the embedded one: --model embedded)"
