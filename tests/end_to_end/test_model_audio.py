"""What the embedded server says, in its three audio formats, over real sockets: the same speech at a telephone's level."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from trio_voice.audio import g711
from trio_voice.audio.levels import rms_dbfs
from trio_voice.audio.resample import Downsampler24To8
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.server import ModelServerSettings, serve_model
from trio_voice.realtime_server.voice import VoiceSettings

SENTENCE = "Good morning, you have reached the practice of Doctor Green."
SCRIPT = parse_script(f'switches = {{ pace = 0 }}\n[[rule]]\nsay = "{SENTENCE}"', "test")
FORMATS: dict[str, dict[str, Any]] = {
    "pcm": {"type": "audio/pcm", "rate": 24000},
    "pcmu": {"type": "audio/pcmu"},
    "pcma": {"type": "audio/pcma"},
}


async def spoken(url: str, wire_format: dict[str, Any]) -> bytes:
    """Have the sentence spoken once, and return the audio as it came."""
    audio = bytearray()
    async with open_websocket_url(f"{url}?model=gpt-realtime") as socket:
        output = {"format": wire_format, "voice": "cedar"}
        await send(socket, {"type": "session.update", "session": {"type": "realtime", "audio": {"output": output}}})
        await send(socket, {"type": "response.create"})
        while True:
            event = json.loads(await socket.get_message())
            if event["type"] == "response.output_audio.delta":
                audio += base64.b64decode(event["delta"])
            elif event["type"] == "response.done":
                assert event["response"]["status"] == "completed"
                return bytes(audio)


async def send(socket: WebSocketConnection, event: dict[str, Any]) -> None:
    await socket.send_message(json.dumps(event))


def samples(pcm16: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(pcm16, "<i2").astype(np.float64)


def loudness(pcm16: bytes) -> npt.NDArray[np.float64]:
    """The level of each 20 ms: not every engine says a sentence twice in the same samples."""
    frames = samples(pcm16[: len(pcm16) // 320 * 320]).reshape(-1, 160)
    return np.asarray(np.sqrt(np.square(frames).mean(axis=1)), np.float64)


@pytest.mark.parametrize(("engine", "features"), [("auto", loudness), ("tones", samples)])
async def test_the_three_formats_say_the_same(engine: Any, features: Callable[[bytes], npt.NDArray[np.float64]]) -> None:
    """`auto` is the best voice of this machine; tones are everywhere."""
    heard: dict[str, bytes] = {}
    settings = ModelServerSettings(script=SCRIPT, voice=VoiceSettings(engine=engine))
    for name, wire_format in FORMATS.items():  # each its process: a sentence that flite has said is 40 ms longer the next time
        async with trio.open_nursery() as nursery:
            url = await nursery.start(serve_model, settings)
            with trio.fail_after(20):
                heard[name] = await spoken(url, wire_format)
            nursery.cancel_scope.cancel()
    at_8_khz = {
        "pcm": Downsampler24To8().convert(heard["pcm"]),
        "pcmu": g711.ulaw_to_pcm16(heard["pcmu"]),
        "pcma": g711.alaw_to_pcm16(heard["pcma"]),
    }
    assert {len(audio) % 800 for name, audio in at_8_khz.items() if name != "pcm"} == {0}  # whole tokens of 50 ms
    duration_s = len(at_8_khz["pcmu"]) / 16000
    assert 2.0 < duration_s < 8.0
    for name, audio in at_8_khz.items():
        assert -32 < rms_dbfs(audio) < -12, name
        length = min(len(audio), len(at_8_khz["pcmu"])) // 2 * 2
        one, other = features(audio[:length]), features(at_8_khz["pcmu"][:length])
        assert np.corrcoef(one, other)[0, 1] > 0.98, name
