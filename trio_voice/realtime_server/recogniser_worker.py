"""The process that understands: `python -m trio_voice.realtime_server.recogniser_worker`, started by the embedded server alone.

A process of its own, because recognising takes tens of milliseconds of processor time, in which no session would be served. It
reads JSON lines: first `{"phrases": [...]}`, answered by `{"ready": true}` or `{"problem": "..."}`, then `{"pcm16": "<base64>"}`
(8000 Hz), each answered by `{"text": "..."}`, empty when it was none of the phrases. It ends when its input does.

The recogniser is pocketsphinx with its own English model. Free speech over a telephone is beyond it (two words of three are
wrong); one phrase of a list is not, which is why there is a list.
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import BinaryIO

import msgspec

from trio_voice.audio.resample import resample_pcm16
from trio_voice.errors import how_to_install

if find_spec("pocketsphinx") is not None:  # the extra [recogniser]
    from pocketsphinx import Decoder

RATE_HZ = 16000
LEAST_SCORE = 0.4
"""Phrases of the list scored 0.42 to 0.80 in four voices, clean and noisy; most that was none of them scored less than 0.6."""
_WORD = re.compile(r"[^a-z' ]+")


def plain_words(phrase: str) -> str:
    """Return a phrase as the recogniser's dictionary writes it: small letters, no punctuation."""
    return " ".join(_WORD.sub(" ", phrase.lower()).split())


def grammar(phrases: Sequence[str]) -> str:
    """Return a JSGF grammar that accepts any one of the (plain) phrases."""
    choices = " | ".join(f"( {phrase} )" for phrase in phrases)
    return f"#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = {choices} ;\n"


def problem_of(phrases: Sequence[str]) -> str | None:
    """Say why these phrases cannot be recognised, if they cannot."""
    if find_spec("pocketsphinx") is None:
        return f"the recogniser is not installed: {how_to_install('pocketsphinx')}"
    for phrase in phrases:
        if not plain_words(phrase):
            return f"the phrase {phrase!r} has no words"
    return None


class PhraseRecogniser:
    """Recognises one phrase of a list in a caller's turn."""

    __slots__ = ("_decoder", "_phrases")

    def __init__(self, phrases: Sequence[str]) -> None:
        """Load the model. Raises ValueError when it is not installed, or its dictionary lacks a word."""
        if (problem := problem_of(phrases)) is not None:
            raise ValueError(problem)
        self._phrases = {plain_words(phrase): phrase for phrase in phrases}
        self._decoder = Decoder(lm=None, samprate=RATE_HZ, loglevel="FATAL")
        for plain in self._phrases:
            for word in plain.split():
                if self._decoder.lookup_word(word) is None:
                    raise ValueError(f"the recogniser does not know the word {word!r} of {self._phrases[plain]!r}")
        self._decoder.add_jsgf_string("phrases", grammar(list(self._phrases)))
        self._decoder.activate_search("phrases")

    def recognise(self, pcm16_8khz: bytes) -> str:
        """Return the phrase as the list writes it, or nothing."""
        self._decoder.start_utt()
        self._decoder.process_raw(resample_pcm16(pcm16_8khz, 8000, RATE_HZ), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        if found is None or found.score < LEAST_SCORE:
            return ""
        return self._phrases.get(found.hypstr, "")


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""

    def answer(**fields: object) -> None:
        answers.write(msgspec.json.encode(fields) + b"\n")
        answers.flush()

    phrases = msgspec.json.decode(requests.readline())["phrases"]
    try:
        recogniser = PhraseRecogniser(phrases)
    except ValueError as error:
        answer(problem=str(error))
        return
    answer(ready=True)
    for line in requests:
        answer(text=recogniser.recognise(base64.b64decode(msgspec.json.decode(line)["pcm16"])))


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
