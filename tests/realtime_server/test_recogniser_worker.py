from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from typing import Any

import pytest

from trio_voice.errors import how_to_install
from trio_voice.realtime_server import recogniser_worker
from trio_voice.realtime_server.recogniser_worker import grammar, plain_words, problem_of, serve


class Deaf:
    """Stands for the model, which takes a while to load: it hears the number of milliseconds."""

    def __init__(self, phrases: Sequence[str]) -> None:
        if "Xyzzy" in phrases:
            raise ValueError("the recogniser does not know the word 'xyzzy' of 'Xyzzy'")

    def recognise(self, pcm16_8khz: bytes) -> str:
        return f"{len(pcm16_8khz) // 16} ms"


def answers(*requests: dict[str, Any]) -> list[Any]:
    out = io.BytesIO()
    serve(io.BytesIO(b"".join(json.dumps(each).encode() + b"\n" for each in requests)), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_phrases_become_a_grammar() -> None:
    assert plain_words("I'd like a Table -- for 2, please!") == "i'd like a table for please"
    assert grammar(["yes", "no thank you"]) == ("#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = ( yes ) | ( no thank you ) ;\n")


def test_lines_in_and_lines_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recogniser_worker, "PhraseRecogniser", Deaf)
    audio = base64.b64encode(bytes(1600)).decode()
    assert answers({"phrases": ["Yes"]}, {"pcm16": audio}, {"pcm16": ""}) == [
        {"ready": True},
        {"text": "100 ms"},
        {"text": "0 ms"},
    ]
    assert answers({"phrases": ["Xyzzy"]}) == [{"problem": "the recogniser does not know the word 'xyzzy' of 'Xyzzy'"}]


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recogniser_worker, "find_spec", lambda name: None)
    assert answers({"phrases": ["Yes"]}) == [{"problem": problem_of(["Yes"])}]
    assert problem_of(["Yes"]) == f"the recogniser is not installed: {how_to_install('pocketsphinx')}"


def test_a_phrase_needs_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recogniser_worker, "find_spec", lambda name: object())
    assert problem_of(["Yes", "?!"]) == "the phrase '?!' has no words"
    assert problem_of(["Yes"]) is None
