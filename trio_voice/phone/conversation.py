"""What `make call` says: a caller with a plausible trouble, made of recorded prompts, of WAV files, or of arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trio_voice.audio.wav import read_wav_8khz
from trio_voice.errors import UserError
from trio_voice.phone.scenario import AfterAgent, DuringAgent, HangUp, Press, Say, Scenario, Step
from trio_voice.phone.speech import Prompts
from trio_voice.phone.synthetic import synthetic_speech
from trio_voice.phone.voice import Speech, prepare_speech

_SENTENCES = (
    ("hello", "something-terribly-wrong", "tt-weasels"),
    ("vm-num-i-have", "digits/5", "digits/5", "digits/5", "digits/oh", "digits/1", "digits/4", "digits/2"),
    ("vm-sorry", "please-try-again"),
    ("auth-thankyou", "goodbye"),
)
_INTERRUPTION = ("one-moment-please", "im-sorry", "vm-nonumber")
_SYNTHETIC_S = (5.5, 6.0, 3.5, 1.5)
_SYNTHETIC_INTERRUPTION_S = 4.0
_LAST_PAUSE_S = 2.5


def recorded_sentences(prompts: Prompts) -> list[Speech]:
    """Return the caller's sentences in real recorded speech: a trouble, a telephone number, a question, a goodbye."""
    return [prompts.say(*names) for names in _SENTENCES]


def recorded_interruption(prompts: Prompts) -> Speech:
    """Return what the caller says to interrupt, in real recorded speech."""
    return prompts.say(*_INTERRUPTION)


def synthetic_sentences() -> list[Speech]:
    """Return sentences of about the same lengths that nobody understands."""
    return [_synthetic(seed, duration_s) for seed, duration_s in enumerate(_SYNTHETIC_S)]


def synthetic_interruption() -> Speech:
    """Return an interruption that nobody understands."""
    return _synthetic(len(_SYNTHETIC_S), _SYNTHETIC_INTERRUPTION_S)


def sentences_from_files(paths: Sequence[Path]) -> list[Speech]:
    """Return one utterance for each WAV file, as loud as it was recorded. Raises UserError for a file that cannot be used."""
    sentences = []
    for path in paths:
        recording = read_wav_8khz(path)
        if not recording:
            raise UserError(f"{path}: an empty recording; give a WAV file with somebody's voice in it")
        sentences.append(prepare_speech(recording, path.name))
    return sentences


def conversation(
    sentences: Sequence[Speech],
    *,
    interruption: Speech | None = None,
    barge_in_at_s: float | None = None,
    digits: str = "",
    hang_up_at_s: float | None = None,
) -> Scenario:
    """Let the caller listen to the greeting, say a sentence, listen to the answer, and so on; then hang up.

    With `barge_in_at_s` the interruption is spoken that many seconds into the first answer (the greeting is not one). `digits`
    are pressed after the greeting.
    """
    steps: list[Step] = [Press(digits, AfterAgent())] if digits else []
    for number, sentence in enumerate(sentences):
        steps.append(Say(sentence, AfterAgent()))
        if number == 0 and barge_in_at_s is not None and interruption is not None:
            steps.append(Say(interruption, DuringAgent(barge_in_at_s)))
    steps.append(HangUp(AfterAgent(_LAST_PAUSE_S)))
    return Scenario(steps, hang_up_at_s=hang_up_at_s)


def _synthetic(seed: int, duration_s: float) -> Speech:
    return prepare_speech(synthetic_speech(seed, duration_s), "(synthetic speech)")
