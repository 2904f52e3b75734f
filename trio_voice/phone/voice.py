"""A caller's utterances as a telephone line carries them: mu-law at 8000 Hz, in whole 20 ms frames, with a breath of line noise.

Recorded prompts are digitally silent between their words and louder than people on the telephone, and both make a voice
detector's work too easy: so an utterance can be brought to an active level (the level while somebody speaks), and comfort noise
is mixed in and goes on between the utterances.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from attrs import frozen

from trio_voice.audio.g711 import FRAME_BYTES, FRAME_MS, SAMPLE_RATE_HZ, pcm16_to_ulaw, ulaw_to_pcm16

ACTIVE_LEVEL_DBFS = -26.0
NOISE_DBFS = -65.0
VOICED_DBFS = -50.0
"""A 20 ms frame louder than this counts as sound on either side of the line: well above the comfort noise."""
_ACTIVE_RANGE_DB = 25.0
_AUDIBLE_RANGE_DB = 30.0
_NOISE_LOOP_S = 4
_FULL_SCALE = 32768.0

Samples = npt.NDArray[np.float64]


@frozen
class Speech:
    """An utterance, ready to be spoken. `onset_ms` and `end_ms` bound what is voiced in it; `text` is what it says, if known."""

    ulaw: bytes
    text: str
    onset_ms: int
    end_ms: int

    @property
    def frames(self) -> int:
        """How many 20 ms frames it lasts."""
        return len(self.ulaw) // FRAME_BYTES

    def frame(self, number: int) -> bytes:
        """Return frame `number`, 160 bytes."""
        return self.ulaw[number * FRAME_BYTES : (number + 1) * FRAME_BYTES]


def prepare_speech(
    pcm16: bytes, text: str = "", *, level_dbfs: float | None = None, noise_dbfs: float | None = NOISE_DBFS
) -> Speech:
    """Make an utterance of signed 16-bit PCM at 8000 Hz, padded to whole frames (at least one).

    `level_dbfs`: the active level to bring it to; None leaves it as it was recorded. `noise_dbfs` None: no comfort noise.
    """
    samples = _floats(pcm16)
    if level_dbfs is not None:
        samples = with_active_level(samples, level_dbfs)
    samples = np.concatenate([samples, np.zeros(-len(samples) % FRAME_BYTES if len(samples) else FRAME_BYTES)])
    voiced = np.flatnonzero(frame_levels_dbfs(samples) > VOICED_DBFS)
    onset_ms, end_ms = (int(voiced[0]) * FRAME_MS, (int(voiced[-1]) + 1) * FRAME_MS) if len(voiced) else (0, 0)
    if noise_dbfs is not None:
        samples = samples + _noise(len(samples), noise_dbfs)
    return Speech(pcm16_to_ulaw(to_pcm16(samples)), text, onset_ms, end_ms)


def join_utterance(parts: Sequence[bytes], pause_ms: int = 40) -> bytes:
    """Join recordings (signed 16-bit PCM at 8000 Hz) into one utterance.

    Silence at both ends of each part is cut off, each is brought to the same active level, and the pause is put between them.
    """
    pause = np.zeros(pause_ms * SAMPLE_RATE_HZ // 1000)
    pieces: list[Samples] = []
    for part in parts:
        pieces += [pause, with_active_level(_trimmed(_floats(part)), ACTIVE_LEVEL_DBFS)]
    return to_pcm16(np.concatenate(pieces[1:])) if pieces else b""


@lru_cache(maxsize=8)
def comfort_noise(noise_dbfs: float | None) -> bytes:
    """Return four seconds of line noise in mu-law, to be repeated; None: silence."""
    samples = np.zeros(_NOISE_LOOP_S * SAMPLE_RATE_HZ)
    return pcm16_to_ulaw(to_pcm16(samples if noise_dbfs is None else _noise(len(samples), noise_dbfs)))


def frame_levels_dbfs(samples: Samples, frame_samples: int = FRAME_BYTES) -> Samples:
    """Return the level of each whole frame of samples (-32768 to 32767), in dBFS."""
    frames = samples[: len(samples) // frame_samples * frame_samples].reshape(-1, frame_samples)
    return np.asarray(10.0 * np.log10((frames**2).mean(axis=1) / _FULL_SCALE**2 + 1e-10), dtype=np.float64)


def voiced_frames(ulaw: bytes, frame_ms: int = FRAME_MS) -> npt.NDArray[np.bool_]:
    """Return which frames of a mu-law recording carry sound."""
    levels = frame_levels_dbfs(_floats(ulaw_to_pcm16(ulaw)), frame_ms * SAMPLE_RATE_HZ // 1000)
    return np.asarray(levels > VOICED_DBFS, dtype=np.bool_)


def with_active_level(samples: Samples, level_dbfs: float) -> Samples:
    """Scale samples so that their active level (the mean power of all but the quiet frames) is `level_dbfs`."""
    levels = frame_levels_dbfs(samples)
    if not len(levels) or levels.max() <= VOICED_DBFS:
        return samples
    active = levels[levels > levels.max() - _ACTIVE_RANGE_DB]
    active_dbfs = 10.0 * np.log10((10.0 ** (active / 10.0)).mean())
    return np.asarray(samples * 10.0 ** ((level_dbfs - active_dbfs) / 20.0), dtype=np.float64)


def to_pcm16(samples: Samples) -> bytes:
    """Return samples as signed 16-bit PCM, clipped."""
    return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()


def _floats(pcm16: bytes) -> Samples:
    return np.frombuffer(pcm16[: len(pcm16) // 2 * 2], "<i2").astype(np.float64)


def _noise(samples: int, noise_dbfs: float) -> Samples:
    generator = np.random.default_rng(8000)  # the same noise in every run: a caller can be compared with the last one
    return generator.normal(0.0, _FULL_SCALE * 10.0 ** (noise_dbfs / 20.0), samples)


def _trimmed(samples: Samples) -> Samples:
    levels = frame_levels_dbfs(samples)
    if not len(levels):
        return samples
    loud = np.flatnonzero(levels > levels.max() - _AUDIBLE_RANGE_DB)
    if not len(loud):
        return samples
    return samples[int(loud[0]) * FRAME_BYTES : (int(loud[-1]) + 1) * FRAME_BYTES]
