"""A caller made of arithmetic, for machines where no recorded speech can be had.

Voiced pulses with three moving formants, a falling melody, the rhythm of syllables and a hiss before some of them: nobody
understands it, but voice detectors take it for speech, which a tone or noise would not achieve. The same seed speaks the same.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from trio_voice.audio.g711 import SAMPLE_RATE_HZ
from trio_voice.phone.voice import ACTIVE_LEVEL_DBFS, Samples, to_pcm16, with_active_level

_FORMANTS_HZ = np.array(  # five vowels of an adult speaker: the first three resonances of the vocal tract
    [[730, 1090, 2440], [530, 1840, 2480], [270, 2290, 3010], [570, 840, 2410], [300, 870, 2240]], dtype=np.float64
)
_BANDWIDTHS_HZ = np.array([80.0, 110.0, 160.0])
_FORMANT_GAINS = np.array([1.0, 0.6, 0.3])
_HIGHEST_HZ = 3700.0
_SYLLABLE_S = 0.19
_SYLLABLES_A_PHRASE = 7
_PAUSE_S = 0.16


def synthetic_speech(seed: int, duration_s: float) -> bytes:
    """Return speech-like sound as signed 16-bit PCM at 8000 Hz: phrases of a few syllables with short pauses between them."""
    generator = np.random.default_rng(seed)
    pitch_hz = generator.uniform(95.0, 210.0)
    pieces: list[Samples] = []
    while sum(map(len, pieces)) < duration_s * SAMPLE_RATE_HZ:
        syllables = int(generator.integers(_SYLLABLES_A_PHRASE - 2, _SYLLABLES_A_PHRASE + 3))
        pieces += [_phrase(generator, pitch_hz, syllables), np.zeros(round(_PAUSE_S * SAMPLE_RATE_HZ))]
    samples = np.concatenate(pieces)[: round(duration_s * SAMPLE_RATE_HZ)]
    return to_pcm16(with_active_level(samples / np.abs(samples).max() * 20000.0, ACTIVE_LEVEL_DBFS))


def _phrase(generator: np.random.Generator, pitch_hz: float, syllables: int) -> Samples:
    lengths = np.rint(generator.uniform(0.75, 1.35, syllables) * _SYLLABLE_S * SAMPLE_RATE_HZ).astype(int)
    edges = np.concatenate([[0], np.cumsum(lengths)])
    total = int(edges[-1])
    at = np.arange(total)
    middles = (edges[:-1] + edges[1:]) / 2
    vowels = _FORMANTS_HZ[generator.integers(0, len(_FORMANTS_HZ), syllables)]
    formants = np.stack([np.interp(at, middles, vowels[:, number]) for number in range(3)])
    melody = pitch_hz * np.interp(at, [0, total * 0.3, total], [1.0, 1.15, 0.8])
    melody *= 1.0 + 0.04 * np.interp(at, middles, generator.standard_normal(syllables))
    loudness = np.zeros(total)
    hiss = np.zeros(total)
    for begin, end in pairwise(edges):
        length = int(end - begin)
        rise = np.sin(np.linspace(0.0, np.pi, length)) ** 0.6
        loudness[begin:end] = generator.uniform(0.6, 1.0) * (0.12 + 0.88 * rise)
        if generator.random() < 0.4:
            burst = length // 3
            hiss[begin : begin + burst] = np.hanning(burst)
    return _voiced(melody, formants) * loudness + 0.05 * hiss * np.diff(generator.standard_normal(total + 1))


def _voiced(melody_hz: Samples, formants_hz: Samples) -> Samples:
    """Add up the harmonics of a melody, each as loud as the formants let it through."""
    phase = 2 * np.pi * np.cumsum(melody_hz) / SAMPLE_RATE_HZ
    sound = np.zeros(len(melody_hz))
    for harmonic in range(1, int(_HIGHEST_HZ / melody_hz.min()) + 1):
        frequency = harmonic * melody_hz
        resonances = _FORMANT_GAINS[:, None] / (1.0 + ((frequency - formants_hz) / (_BANDWIDTHS_HZ[:, None] / 2)) ** 2)
        audible = frequency < _HIGHEST_HZ
        sound += np.sin(harmonic * phase) * (resonances.sum(axis=0) + 0.02) * audible / harmonic**0.3
    return sound
