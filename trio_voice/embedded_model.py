"""The model that is there without a key: the embedded Realtime server, in this process, as [model] wants it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from trio_voice.errors import UserError
from trio_voice.realtime_server.audio_formats import be_ready_for_pcm
from trio_voice.realtime_server.script import default_script, read_script
from trio_voice.realtime_server.server import ModelServerSettings, serve_model
from trio_voice.realtime_server.voice import VoiceSettings
from trio_voice.sections import ModelAudioFormat, ModelSettings

START_LIMIT_S = 20.0


async def start_embedded_model(nursery: trio.Nursery, model: ModelSettings, tell_voice: Callable[[str], None]) -> str:
    """Start it in `nursery` and return its URL; `tell_voice` is told, in a sentence, what speaks. Raises UserError."""
    script = default_script() if model.script is None else read_script(model.script)
    if model.audio_format is ModelAudioFormat.PCM:
        be_ready_for_pcm()
    with trio.move_on_after(START_LIMIT_S):
        # Nobody but our own calls has business with it: no /control/.
        settings = ModelServerSettings(control=False, script=script, voice=VoiceSettings(engine=model.voice.value))
        url: str = await nursery.start(partial(serve_model, settings, tell_voice=tell_voice))
        return url
    raise UserError(
        f"the embedded model did not start within {START_LIMIT_S:g} s; see the log lines above, or use another (--model)"
    )
