"""What is said in the bench: the agent's replies, the caller's utterances, and sounds that are not words.

The voices are the recorded prompts that `make speech` fetches (one woman's, so agent, caller and babble share a voice); where
there are none, synthetic speech takes their place and `recorded` says so. Coughs and bumps are synthetic in any case.
"""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from attrs import frozen

from bench.barge_in_lines import FRAME_SAMPLES, RATE_HZ, Samples
from trio_voice.audio.active_level import active_level_dbfs
from trio_voice.phone.synthetic import synthetic_speech
from trio_voice.phone.voice import frame_levels_dbfs, to_pcm16

AGENT_DBFS = -20.0
CALLER_DBFS = -26.0
PAUSE_MS = 300
REPLY_S, GREETING_S, REPLIES = 16.0, 5.0, 24
SPEECH_RANGE_DB = 26.0
COUGHS = 40
_NO_SPEECH_IN = ("silence/", "beep", "tone", "ascending", "monkeys", "scream", "moo", "dir-multi", "jingle")
_SHORTEST_S, _LONGEST_UTTERANCE_S, _SENTENCE_S, _LONGEST_S = 0.4, 4.0, 1.5, 8.0


@frozen(eq=False)
class Sound:
    """Something that a caller lets be heard: 8000 Hz, in whole frames of 20 ms, and from when to when it is sound."""

    samples: Samples
    onset_ms: int
    end_ms: int

    @property
    def frames(self) -> int:
        """How many frames it lasts."""
        return len(self.samples) // FRAME_SAMPLES


@frozen(eq=False)
class Voices:
    """The agent says replies, the caller utterances; `talk` is what bystanders say. `recorded`: by a person."""

    recorded: bool
    greeting: Samples
    replies: list[Samples]
    utterances: list[Sound]
    coughs: list[Sound]
    talk: list[Samples]


def load_voices(prompts: Path | None, half: int, seed: int) -> Voices:
    """Read one half (0 or 1) of the prompts of a folder, level them, and deal them out by a seed.

    The halves share no prompt. None, or a folder without prompts: synthetic voices.
    """
    source = np.random.default_rng(seed)
    recorded = [] if prompts is None else _recorded(prompts)
    said = (recorded or _synthetic())[half::2]
    order = source.permutation(len(said))
    agents = [said[index] for index in order[::2]]
    callers = [_levelled(band_passed(said[index]), CALLER_DBFS) for index in order[1::2]]
    sentences = [_levelled(samples, AGENT_DBFS) for samples in agents if len(samples) >= _SENTENCE_S * RATE_HZ]
    utterances = [labelled(samples) for samples in callers if len(samples) <= _LONGEST_UTTERANCE_S * RATE_HZ]
    return Voices(
        recorded=bool(recorded),
        greeting=_reply(source, sentences, GREETING_S),
        replies=[_reply(source, sentences, REPLY_S) for _ in range(REPLIES)],
        utterances=[sound for sound in utterances if sound.end_ms - sound.onset_ms >= 1000 * _SHORTEST_S],
        coughs=[made for _ in range(COUGHS // 2) for made in (_cough(source), _bump(source))],
        talk=[sound.samples[sound.onset_ms * 8 : sound.end_ms * 8] for sound in map(labelled, callers)],
    )


def _recorded(folder: Path) -> list[Samples]:
    found = []
    for path in sorted(folder.rglob("*.wav")):
        if not any(part in path.relative_to(folder).as_posix() for part in _NO_SPEECH_IN):
            with wave.open(str(path)) as file:
                samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
            if _SHORTEST_S <= len(samples) / RATE_HZ <= _LONGEST_S:
                found.append(samples)
    return found


def _synthetic() -> list[Samples]:
    lengths_s = np.linspace(0.6, 5.0, 120)
    return [np.frombuffer(synthetic_speech(seed, length_s), "<i2").astype(np.float64) for seed, length_s in enumerate(lengths_s)]


def band_passed(samples: Samples) -> Samples:
    """300 to 3400 Hz, as a telephone's microphone and network leave it."""
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    spectrum[(hz < 300) | (hz > 3400)] = 0
    return np.fft.irfft(spectrum, len(samples))


def _levelled(samples: Samples, level_dbfs: float) -> Samples:
    return samples * 10 ** ((level_dbfs - active_level_dbfs(to_pcm16(samples))) / 20)


def labelled(samples: Samples) -> Sound:
    """Find where the sound is: frames within 26 dB of its active level that have such a neighbour; padded to whole frames."""
    whole = np.concatenate([samples, np.zeros(-len(samples) % FRAME_SAMPLES)])
    loud = frame_levels_dbfs(whole) > active_level_dbfs(to_pcm16(whole)) - SPEECH_RANGE_DB
    padded = np.concatenate([[False], loud, [False]])
    at = np.flatnonzero(loud & (padded[:-2] | padded[2:]))
    return Sound(whole, int(at[0]) * 20, int(at[-1]) * 20 + 20) if len(at) else Sound(whole, 0, 0)


def _reply(source: np.random.Generator, sentences: Sequence[Samples], seconds: float) -> Samples:
    """Sentences with short pauses, as a model speaks them, until they fill the time."""
    pause = np.zeros(PAUSE_MS * RATE_HZ // 1000)
    parts: list[Samples] = []
    while sum(map(len, parts)) < seconds * RATE_HZ:
        parts += [sentences[int(source.integers(len(sentences)))], pause]
    return np.concatenate(parts)


def _cough(source: np.random.Generator) -> Sound:
    """A burst of breath, 180 to 320 ms: noise around two resonances that starts at once and dies away."""
    samples = round(source.uniform(0.18, 0.32) * RATE_HZ)
    spectrum = np.fft.rfft(source.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / RATE_HZ)
    shape = sum(gain / (1 + ((hz - middle) / 250) ** 2) for middle, gain in ((source.uniform(400, 700), 1.0), (1500.0, 0.6)))
    made = np.fft.irfft(spectrum * shape, samples) * np.exp(-4.0 * np.arange(samples) / samples)
    return labelled(_levelled(band_passed(made), CALLER_DBFS))


def _bump(source: np.random.Generator) -> Sound:
    """A handset that is put down, 60 to 180 ms: a thump with a rattle."""
    samples = round(source.uniform(0.06, 0.18) * RATE_HZ)
    at_s = np.arange(samples) / RATE_HZ
    thump = np.sin(2 * np.pi * source.uniform(150, 350) * at_s) + 0.3 * source.standard_normal(samples)
    return labelled(_levelled(thump * np.exp(-3.0 * np.arange(samples) / samples), CALLER_DBFS))
