"""Recorded prompts in line noise, with the times at which somebody speaks: what a detector of speech is measured on.

Reference times are energy labels of the clean recording (20 ms frames within 26 dB of its active level, bursts under 30 ms left
out). The callers are band-passed as a telephone does (300 to 3400 Hz), the noise is that of the line itself (0 to 4000 Hz), the
mix goes through mu-law, and nobody speaks in its first 3 s. Starts in the first 2.5 s are counted apart: the detector's noise
floor is capped until it has heard 2 s, so that loud noise begins one turn when a call begins.

    .venv/bin/python -m tests.realtime_server.noisy_calls            # the whole table (needs the recordings of `make speech`)
    .venv/bin/python -m tests.realtime_server.noisy_calls --silero
    .venv/bin/python -m tests.realtime_server.noisy_calls 0.3 0.8    # other thresholds
"""

from __future__ import annotations

import random
import sys
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from trio_voice.audio.active_level import active_level_dbfs
from trio_voice.audio.g711 import pcm16_to_ulaw, ulaw_to_pcm16
from trio_voice.phone.speech import speech_folder
from trio_voice.realtime_server.hearing import Hearing, HearingSettings, SpeechBegan
from trio_voice.realtime_server.hearing_silero import SileroModel

Samples = npt.NDArray[np.float64]
SPEECH_DBFS = -26.0
STEP_BYTES = 320
FIRST_MS = 2500
NOISES = ("white", "pink", "hum", "babble")
NO_SPEECH_IN = ("silence/", "beep", "tone", "ascending", "monkeys", "screams", "moo", "dir-multi")  # folders and names


@frozen
class Prompt:
    """One recording at -26 dBFS, and where in it somebody begins and stops speaking (milliseconds)."""

    name: str
    samples: Samples
    onset_ms: int
    offset_ms: int


def find_recordings(folder: Path, longest_s: float = 8.0) -> list[Path]:
    """Every 8 kHz recording of 0.4 to `longest_s` seconds, in a fixed order."""
    found = []
    for path in sorted(folder.rglob("*.wav")):
        if any(part in path.as_posix() for part in NO_SPEECH_IN):
            continue
        with wave.open(str(path)) as file:
            form = (file.getframerate(), file.getsampwidth(), file.getnchannels())
            if form == (8000, 2, 1) and 0.4 <= file.getnframes() / 8000 <= longest_s:
                found.append(path)
    return found


def load_prompts(paths: list[Path]) -> list[Prompt]:
    """Read, level and label recordings; those in which hardly anything is heard are left out."""
    found = []
    for path in paths:
        with wave.open(str(path)) as file:
            prompt = _labelled(path.stem, file.readframes(file.getnframes()))
        if prompt is not None:
            found.append(prompt)
    return found


def _labelled(name: str, pcm16: bytes) -> Prompt | None:
    samples = band_passed(np.frombuffer(pcm16, "<i2").astype(np.float64))
    active_dbfs = active_level_dbfs(np.rint(samples).clip(-32768, 32767).astype("<i2").tobytes())
    samples *= 10 ** ((SPEECH_DBFS - active_dbfs) / 20)
    whole = len(samples) // 160 * 160
    powers = np.square(samples[:whole] / 32768).reshape(-1, 160).mean(axis=1)
    loud = powers > 10 ** ((SPEECH_DBFS - 26) / 10)
    lasting = loud & (np.roll(loud, 1) | np.roll(loud, -1))
    at = np.flatnonzero(lasting)
    return Prompt(name, samples, int(at[0]) * 20, int(at[-1]) * 20 + 20) if len(at) >= 5 else None


def band_passed(samples: Samples) -> Samples:
    """300 to 3400 Hz, by the spectrum of the whole (padded to a length that is quick to transform)."""
    padded = -(-len(samples) // 4000) * 4000
    spectrum = np.fft.rfft(samples, padded)
    hz = np.fft.rfftfreq(padded, 1 / 8000)
    spectrum[(hz < 280) | (hz > 3450)] = 0
    return np.fft.irfft(spectrum, padded)[: len(samples)]


def noise(kind: str, samples: int, level_dbfs: float, seed: int, prompts: list[Prompt]) -> Samples:
    """Line noise of a kind at an rms level."""
    source = np.random.default_rng(seed)
    if kind == "hum":  # 50 Hz and its odd harmonics, as rectifiers make them
        t = np.arange(samples) / 8000
        made = sum((np.sin(2 * np.pi * 50 * k * t + k) / k**0.7 for k in (1, 2, 3, 5, 7, 9, 11)), np.zeros(samples))
        made += 0.01 * source.standard_normal(samples)
    elif kind == "babble":  # eight talkers without a pause
        made = np.zeros(samples)
        for _ in range(8):
            made += _talk(samples, random.Random(int(source.integers(1 << 31))), prompts)
    else:
        made = source.standard_normal(samples)
        if kind == "pink":
            spectrum = np.fft.rfft(made)
            spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(samples, 1 / 8000), 20))  # flat below 20 Hz
            made = np.fft.irfft(spectrum, samples)
    return np.asarray(made * (10 ** (level_dbfs / 20) * 32768 / np.sqrt(np.mean(made**2))))


def _talk(samples: int, choose: random.Random, prompts: list[Prompt]) -> Samples:
    parts: list[Samples] = []
    while sum(map(len, parts)) < samples + 8000:
        prompt = choose.choice(prompts)
        parts.append(prompt.samples[prompt.onset_ms * 8 : prompt.offset_ms * 8])
    begin = choose.randrange(8000)
    return np.concatenate(parts)[begin : begin + samples]


@frozen
class NoisyCall:
    """8 kHz PCM16 of a call, and the times (onset, offset) at which its caller speaks."""

    pcm16: bytes
    utterances_ms: list[tuple[int, int]]


def noisy_call(callers: list[Prompt], kind: str | None, snr_db: float, seed: int, babblers: list[Prompt]) -> NoisyCall:
    """One call in which the prompts are said one after the other, 1.2 to 3 s apart; `kind` None: a quiet line (-65 dBFS)."""
    choose = random.Random(seed)
    at_ms, placed = 3000, []
    for prompt in callers:
        placed.append((at_ms, prompt))
        at_ms += len(prompt.samples) // 8 + choose.randrange(1200, 3000)
    line = noise(kind or "white", at_ms * 8, SPEECH_DBFS - snr_db if kind else -65.0, seed, babblers)
    for begin_ms, prompt in placed:
        line[begin_ms * 8 : begin_ms * 8 + len(prompt.samples)] += prompt.samples
    pcm16 = ulaw_to_pcm16(pcm16_to_ulaw(np.clip(np.rint(line), -32768, 32767).astype("<i2").tobytes()))
    return NoisyCall(pcm16, [(begin_ms + prompt.onset_ms, begin_ms + prompt.offset_ms) for begin_ms, prompt in placed])


@define
class Score:
    """What a detector made of a call."""

    utterances: int = 0
    hits: int = 0
    stuck: int = 0  # already "speaking" since before the utterance: its beginning is not told
    calls: int = 0
    first_starts: int = 0  # in the first 2.5 s of a call
    false_starts: int = 0  # later, while nobody speaks
    silent_minutes: float = 0.0
    onset_delays_ms: list[int] = field(factory=list)  # from the onset to the moment at which it was told

    @property
    def missed(self) -> int:
        return self.utterances - self.hits - self.stuck

    @property
    def hit_percent(self) -> float:
        return 100 * self.hits / self.utterances

    @property
    def false_starts_a_minute(self) -> float:
        """Of the time in which nobody speaks."""
        return self.false_starts / self.silent_minutes

    def __str__(self) -> str:
        delays = sorted(self.onset_delays_ms) or [0]
        p50, p90 = delays[len(delays) // 2], delays[len(delays) * 9 // 10]
        counts = f"{self.utterances:4d} said  {self.hit_percent:5.1f} % hit  {self.stuck:3d} stuck  {self.missed:3d} missed"
        false = f"{self.false_starts_a_minute:5.2f} false starts/min (+ {self.first_starts} at the start of {self.calls} calls)"
        return f"{counts}  {false}  told after {p50:3d} ms (p90 {p90:3d})"


def measure(call: NoisyCall, make_hearing: Callable[[], Hearing], score: Score) -> None:
    """Let a detector hear a call in frames of 20 ms and add what came of it to `score`."""
    hearing = make_hearing()
    told: list[tuple[int, bool]] = []  # (when, began?)
    for at in range(0, len(call.pcm16), STEP_BYTES):
        events = hearing.hear(call.pcm16[at : at + STEP_BYTES])
        told += [(hearing.audio_ms, isinstance(event, SpeechBegan)) for event in events]
    begins = [when for when, began in told if began]
    for onset_ms, offset_ms in call.utterances_ms:
        score.utterances += 1
        inside = [when for when in begins if onset_ms <= when <= offset_ms + 160]
        before = [began for when, began in told if when < onset_ms]
        if before and before[-1]:
            score.stuck += 1
        elif inside:
            score.hits += 1
            score.onset_delays_ms.append(inside[0] - onset_ms)
    score.calls += 1
    score.first_starts += sum(when <= FIRST_MS for when in begins)
    score.false_starts += sum(
        when > FIRST_MS and not any(onset_ms <= when <= offset_ms + 160 for onset_ms, offset_ms in call.utterances_ms)
        for when in begins
    )
    spoken_ms = sum(offset_ms - onset_ms for onset_ms, offset_ms in call.utterances_ms)
    score.silent_minutes += (len(call.pcm16) / 16 - spoken_ms - FIRST_MS) / 60000


def choose_callers(prompts: list[Prompt], sentences: int, words: int, seed: int) -> list[Prompt]:
    """So many prompts of 1.2 s and more, and so many single words (shorter ones), shuffled."""
    choose = random.Random(seed)
    spoken_ms = {id(prompt): prompt.offset_ms - prompt.onset_ms for prompt in prompts}
    chosen = choose.sample([prompt for prompt in prompts if spoken_ms[id(prompt)] >= 1200], sentences)
    chosen += choose.sample([prompt for prompt in prompts if spoken_ms[id(prompt)] < 1200], words)
    choose.shuffle(chosen)
    return chosen


def rates(
    prompts: list[Prompt],
    kind: str | None,
    snr_db: float,
    make_hearing: Callable[[], Hearing],
    *,
    calls: int,
    said: int,
    seed: int,
) -> Score:
    """Score `calls` calls of `said` utterances each (three sentences to two words)."""
    score = Score()
    for number in range(calls):
        callers = choose_callers(prompts, said * 3 // 5, said - said * 3 // 5, seed + number)
        measure(noisy_call(callers, kind, snr_db, seed + number, prompts), make_hearing, score)
    return score


def main() -> None:
    recordings = find_recordings(speech_folder())
    prompts = load_prompts(recordings)
    print(f"{len(prompts)} recordings from {speech_folder()}")
    model = SileroModel.load() if "--silero" in sys.argv else None
    for threshold in [float(text) for text in sys.argv[1:] if not text.startswith("-")] or [0.5]:
        settings = HearingSettings(threshold)
        print(f"{'Silero' if model else 'webrtcvad and level'}, threshold {threshold:g}")
        for kind, snr_db in [(None, 0.0), *((kind, snr_db) for kind in NOISES for snr_db in (10.0, 5.0, 0.0))]:
            make = partial(Hearing, settings) if model is None else partial(_with_silero, settings, model)
            score = rates(prompts, kind, snr_db, make, calls=10, said=25, seed=1)
            print(f"{kind or 'quiet':7s} {snr_db if kind else '':4}  {score}", flush=True)


def _with_silero(settings: HearingSettings, model: SileroModel) -> Hearing:
    return Hearing(settings, judge=model.judge())


if __name__ == "__main__":
    main()
