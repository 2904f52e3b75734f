"""The engines that are installed here, loaded once for all tests (espeak-ng allows no more), and a way to hear them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest

from trio_voice.realtime_server.voice_flite import Flite
from trio_voice.realtime_server.voice_names import EngineError

if TYPE_CHECKING:
    from trio_voice.realtime_server.voice_espeak import Espeak

SENTENCE = "Good morning, this is the reception."


@cache
def espeak() -> Espeak:
    """Load espeak-ng, or skip the test."""
    if find_spec("espeakng_loader") is None:
        pytest.skip("espeak-ng is not installed: pip install 'trio-voice[voice]'")
    from trio_voice.realtime_server.voice_espeak import Espeak

    return Espeak.load()


@cache
def flite() -> Flite:
    """Load flite, or skip the test."""
    try:
        return Flite.load()
    except EngineError as missing:
        pytest.skip(f"{missing}: apt install flite")


def heard(speak: Callable[[Callable[[bytes], bool]], object]) -> bytes:
    """Return all that a speaking engine hands out."""
    pieces: list[bytes] = []

    def take(pcm16: bytes) -> bool:
        pieces.append(pcm16)
        return True

    speak(take)
    return b"".join(pieces)


def pitch_hz(pcm16: bytes, rate_hz: int = 24000) -> float:
    """Estimate the median pitch of the voiced frames, by autocorrelation."""
    samples = np.frombuffer(pcm16, "<i2").astype(float)
    power = (samples**2).mean()
    found = []
    for at in range(0, len(samples) - rate_hz // 20, rate_hz // 50):
        frame = samples[at : at + rate_hz // 20]
        if (frame**2).mean() > power:
            spectrum = np.fft.rfft(frame - frame.mean(), 2 * len(frame))
            correlation = np.fft.irfft(np.abs(spectrum) ** 2)
            shortest = rate_hz // 400
            found.append(rate_hz / (shortest + int(correlation[shortest : rate_hz // 60].argmax())))
    return float(np.median(found))


def brightness_hz(pcm16: bytes, rate_hz: int = 24000) -> float:
    """Return the centre of the spectrum up to 4 kHz: it moves with the formants."""
    spectrum = np.abs(np.fft.rfft(np.frombuffer(pcm16, "<i2").astype(float)))
    hz = np.fft.rfftfreq(len(pcm16) // 2, 1 / rate_hz)
    spoken = hz < 4000
    return float((spectrum[spoken] * hz[spoken]).sum() / spectrum[spoken].sum())
