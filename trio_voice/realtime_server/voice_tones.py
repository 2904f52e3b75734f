"""The voice of a machine that has none: tones in the rhythm of speech.

One sound a syllable, made of harmonics under two formants that follow the vowel's letter, with a falling melody, gaps between the
words and pauses at commas and stops. No word of it can be understood, but it lasts as long as the sentence would, a detector of
speech takes it for speech, and it costs nearly nothing: enough for barge-in, for load tests and for tests in virtual time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trio_voice.realtime_server.audio_formats import AudioFormat
from trio_voice.realtime_server.voice_encoding import from_voice
from trio_voice.realtime_server.voice_text import syllables

RATE_HZ = 24000
_SYLLABLE_S = 0.19
_WORD_GAP_S = 0.07
_COMMA_S = 0.22
_STOP_S = 0.4
_HIGHEST_HZ = 3400
_AMPLITUDE = 0.1 * 1.34 * 32768  # -20 dBFS active: the envelope's own active level is 1 / 1.34
_FORMANTS_HZ = {"a": (730, 1240), "e": (530, 1840), "i": (300, 2250), "o": (570, 900), "u": (320, 870), "y": (320, 2000)}


def spoken_in_tones(sentence: str, tone_hz: float, speed: float) -> Iterator[bytes]:
    """Yield a sentence word by word as signed 16-bit PCM at 24000 Hz; the same sentence always gives the same bytes."""
    words = sentence.split()
    for index, word in enumerate(words):
        pitch_hz = round(tone_hz * (1.12 - 0.24 * index / max(1, len(words) - 1)), 1)
        vowels = [c for c in word.lower() if c in _FORMANTS_HZ] or ["e"]
        sounds = [_syllable(vowels[k % len(vowels)], pitch_hz, speed) for k in range(syllables(word))]
        gap_s = _STOP_S if word[-1] in ".!?…" else _COMMA_S if word[-1] in ",;:" else _WORD_GAP_S
        yield b"".join(sounds) + bytes(2 * round(gap_s / speed * RATE_HZ))


def tones_in_format(sentence: str, tone_hz: float, speed: float, audio_format: AudioFormat) -> Iterator[bytes]:
    """Yield the same in a format of the wire."""
    return map(from_voice(audio_format).convert, spoken_in_tones(sentence, tone_hz, speed))


@lru_cache(maxsize=512)
def _syllable(vowel: str, pitch_hz: float, speed: float) -> bytes:
    samples = round(_SYLLABLE_S / speed * RATE_HZ)
    t = np.arange(samples) / RATE_HZ
    sound: npt.NDArray[np.float64] = np.zeros(samples)
    power = 0.0
    for harmonic in range(1, int(_HIGHEST_HZ / pitch_hz) + 1):
        at_hz = harmonic * pitch_hz
        weight = sum(1 / (1 + ((at_hz - formant_hz) / 120) ** 2) for formant_hz in _FORMANTS_HZ[vowel]) + 0.05
        sound += weight * np.sin(2 * np.pi * at_hz * t + harmonic**2)  # the phases keep the peaks low
        power += weight**2 / 2
    envelope = np.sin(np.pi * np.arange(samples) / samples) ** 0.7
    scaled: npt.NDArray[np.float64] = sound / np.sqrt(power) * envelope * _AMPLITUDE
    return np.rint(np.clip(scaled, -32000, 32000)).astype("<i2").tobytes()
