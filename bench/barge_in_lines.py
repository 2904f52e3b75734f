"""Telephone lines: what is on them before anybody speaks, and what they send back of what they play.

Line noise of five kinds, and five echo paths. A path delays what was played, spreads it (a random impulse response that decays),
returns it at a set *echo return loss* (the agent's level minus its echo's, in dB, over real speech), and one overdrives its
loudspeaker first, which no linear filter undoes. Everything is a function of a seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

Samples = npt.NDArray[np.float64]
RATE_HZ = 8000
FRAME_SAMPLES = 160
FRAME_S = 0.02
FULL_SCALE = 32768.0
QUIET_DBFS = -65.0
NOISES = ("white", "pink", "hum", "babble")
BABBLERS = 8
MAINS_HZ = 50.0
LOUDSPEAKER_LIMIT = 0.12 * FULL_SCALE
"""Where the overdriven loudspeaker bends: about the rms of speech at -20 dBFS, so that every loud syllable is distorted."""


def scaled(samples: Samples, level_dbfs: float) -> Samples:
    """The same at an rms level."""
    rms = float(np.sqrt(np.mean(samples**2)))
    return np.asarray(samples * (FULL_SCALE * 10 ** (level_dbfs / 20) / rms)) if rms else samples


# --- noise -------------------------------------------------------------------------------------------------------------


def noise(kind: str, seconds: float, level_dbfs: float, seed: int, talk: Sequence[Samples]) -> Samples:
    """Line noise at an rms level. `talk` is what the babblers say, in any order; other kinds do not need it."""
    source = np.random.default_rng(seed)
    samples = round(seconds * RATE_HZ)
    match kind:
        case "white":
            made = source.standard_normal(samples)
        case "pink":
            made = _pink(source, samples)
        case "hum":
            made = _hum(source, samples)
        case "babble":
            made = _babble(source, samples, talk)
        case _:
            raise ValueError(f"no noise is called {kind!r}")
    return scaled(made, level_dbfs)


def _pink(source: np.random.Generator, samples: int) -> Samples:
    spectrum = np.fft.rfft(source.standard_normal(samples))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(samples, 1 / RATE_HZ), 20.0))  # flat below 20 Hz
    return np.fft.irfft(spectrum, samples)


def _hum(source: np.random.Generator, samples: int) -> Samples:
    """The mains and its harmonics, as rectifiers make them, with a breath of hiss."""
    at_s = np.arange(samples) / RATE_HZ
    harmonics = [np.sin(2 * np.pi * MAINS_HZ * number * at_s + number) / number**0.7 for number in (1, 2, 3, 5, 7, 9, 11)]
    return np.asarray(np.sum(harmonics, axis=0) + 0.01 * source.standard_normal(samples), dtype=np.float64)


def _babble(source: np.random.Generator, samples: int, talk: Sequence[Samples]) -> Samples:
    """Eight talkers who never pause."""
    made = np.zeros(samples)
    for _ in range(BABBLERS):
        said: list[Samples] = []
        while sum(map(len, said)) < samples + RATE_HZ:
            said.append(talk[int(source.integers(len(talk)))])
        begin = int(source.integers(RATE_HZ))
        made += np.concatenate(said)[begin : begin + samples]
    return made


# --- echo --------------------------------------------------------------------------------------------------------------


@frozen(eq=False)
class EchoPath:
    """One way from the agent's voice back to us. `delay_ms` counts from the carrier's playing to the echo's arrival."""

    name: str
    delay_ms: int
    response: Samples
    """The impulse response after the delay, at 8000 Hz."""
    overdriven: bool = False

    def returned(self, played: Samples) -> Samples:
        """What comes back, without the delay, of a whole recording; as long as the recording."""
        return np.convolve(self.distorted(played), self.response)[: len(played)]

    def distorted(self, played: Samples) -> Samples:
        """What leaves the loudspeaker."""
        return LOUDSPEAKER_LIMIT * np.tanh(played / LOUDSPEAKER_LIMIT) if self.overdriven else played

    def with_return_loss(self, return_loss_db: float, speech: Samples) -> EchoPath:
        """The same path, so loud that the echo of this speech is `return_loss_db` below it."""
        played, came_back = np.mean(speech**2), np.mean(self.returned(speech) ** 2)
        gain = np.sqrt(played / came_back) * 10 ** (-return_loss_db / 20)
        return EchoPath(self.name, self.delay_ms, self.response * gain, self.overdriven)


def echo_paths(seed: int) -> list[EchoPath]:
    """The five paths, at no particular loudness."""
    source = np.random.default_rng(seed)
    return [
        EchoPath("handset, 40 ms", 40, _dispersive(source, 8)),
        EchoPath("loudspeaker in a room, 90 ms", 90, _dispersive(source, 60)),
        EchoPath("overdriven loudspeaker, 120 ms", 120, _dispersive(source, 30), overdriven=True),
        EchoPath("mobile network, 160 ms", 160, _dispersive(source, 24)),
        EchoPath("far end of the world, 300 ms", 300, _dispersive(source, 40)),
    ]


def _dispersive(source: np.random.Generator, length_ms: int) -> Samples:
    """Random taps that decay by 30 dB over the length."""
    taps = length_ms * RATE_HZ // 1000
    return source.standard_normal(taps) * 10 ** (-1.5 * np.arange(taps) / taps)


@define(eq=False)
class Echo:
    """A path at work: what is played goes in frame by frame, what comes back comes out."""

    path: EchoPath
    _past: Samples = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._past = np.zeros(self.path.delay_ms * RATE_HZ // 1000 + len(self.path.response) - 1 + FRAME_SAMPLES)

    def frame(self, played: Samples) -> Samples:
        """The 160 samples that arrive while these 160 are played."""
        self._past = np.concatenate([self._past[FRAME_SAMPLES:], self.path.distorted(played)])
        heard = self._past[: len(self.path.response) - 1 + FRAME_SAMPLES]
        return np.convolve(heard, self.path.response, "valid")
