"""The real embedded Realtime server at the model's end of a `Rig`, over memory streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from trio_voice.realtime_server.script import Script
from trio_voice.realtime_server.server import ModelServer, ModelServerSettings
from trio_voice.realtime_server.voice import VoicePool, VoiceSettings


@asynccontextmanager
async def embedded_model(script: Script) -> AsyncIterator[Callable[[trio.abc.HalfCloseableStream], Awaitable[None]]]:
    """What answers a connection to the model; it speaks in tones, which cost nothing."""
    settings = ModelServerSettings(script=script, voice=VoiceSettings(engine="tones"), seed=1)
    async with VoicePool(settings.voice) as voice:
        yield ModelServer(settings, voice, script.switches).handle
