"""espeak-ng, where the extra [voice] is installed: voices, languages (it refuses silently), tempo, abort by callback.

It is not deterministic, so that nothing here compares bytes.
"""

from __future__ import annotations

import ast
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import trio_voice.realtime_server
from tests.realtime_server.engines import SENTENCE, brightness_hz, espeak, heard, pitch_hz
from trio_voice.audio.active_level import active_level_dbfs
from trio_voice.realtime_server.voice_names import VOICE_NAMES, EngineError, voice_profile


def spoken(name: str = "marin", text: str = SENTENCE, speed: float = 1.0, language: str = "en-us") -> bytes:
    return heard(partial(espeak().speak, text, voice_profile(name), speed, language))


@pytest.mark.parametrize("name", VOICE_NAMES)
def test_every_voice_is_equally_loud_and_not_clipped(name: str) -> None:
    audio = spoken(name)
    assert 1.5 < len(audio) / 48000 < 4.0
    assert active_level_dbfs(audio, 24000) == pytest.approx(-20.0, abs=3.0)  # sentences differ by 2 dB
    assert np.abs(np.frombuffer(audio, "<i2").astype(int)).max() < 32768 * 0.985


def test_the_voices_are_audibly_different() -> None:
    sounds = {name: (pitch_hz(audio), brightness_hz(audio)) for name in VOICE_NAMES for audio in [spoken(name)]}
    for one in VOICE_NAMES:
        for other in VOICE_NAMES:
            pitch, brightness = sounds[one][0] / sounds[other][0], sounds[one][1] / sounds[other][1]
            assert one == other or abs(pitch - 1) > 0.06 or abs(brightness - 1) > 0.06, (one, other)
    assert max(pitch for pitch, _ in sounds.values()) > 2 * min(pitch for pitch, _ in sounds.values())


@pytest.mark.parametrize("speed", [0.25, 0.3, 0.5, 0.75, 1.25, 1.5])
def test_tempo(speed: float) -> None:
    """Below 80 words a minute it is slowed down by gaps between the words."""
    assert len(spoken(speed=speed)) == pytest.approx(len(spoken()) / speed, rel=0.12)


@pytest.mark.parametrize("language", ["en-us", "en-gb", "en", "fr-fr", "fr", "de", "es", "it", "ru", "zh"])
def test_each_language_is_really_the_one_that_speaks(language: str) -> None:
    """`en-gb`, `fr-fr` and `zh` are refused by name with the code 2, and the voice before them silently stays."""
    spoken(language="pl")
    assert len(spoken(text="1 2 3", language=language)) > 24000
    current = espeak()._library.espeak_GetCurrentVoice().contents
    assert current.identifier.decode().endswith(f"+{voice_profile('marin').espeak.variant}")
    family = {"en": b"en", "fr": b"fr", "de": b"de", "es": b"es", "it": b"it", "ru": b"ru", "zh": b"cmn"}[language[:2]]
    assert current.languages[1:].startswith(family)


def test_an_unknown_language_is_refused_and_the_next_sentence_is_whole() -> None:
    with pytest.raises(EngineError, match="does not speak 'xx'"):
        spoken(language="xx")
    assert len(spoken()) > 48000


def test_it_stops_when_nobody_listens_and_the_next_sentence_is_whole() -> None:
    whole = len(spoken())
    for _ in range(20):
        pieces: list[bytes] = []

        def take(pcm16: bytes, pieces: list[bytes] = pieces) -> bool:
            pieces.append(pcm16)
            return len(pieces) < 2

        espeak().speak(SENTENCE, voice_profile("marin"), 1.0, "en-us", take)
        assert len(pieces) == 2
        assert len(spoken()) == pytest.approx(whole, rel=0.02)


def test_it_streams_in_small_pieces() -> None:
    sizes: list[int] = []

    def take(pcm16: bytes) -> bool:
        sizes.append(len(pcm16))
        return True

    espeak().speak(SENTENCE, voice_profile("marin"), 1.0, "en-us", take)
    assert len(sizes) > 20
    assert max(sizes[:-1]) <= 61 * 48


def test_it_rests_after_a_sentence() -> None:
    audio = np.abs(np.frombuffer(spoken(), "<i2").astype(int))
    assert len(audio) - np.flatnonzero(audio > 300)[-1] == pytest.approx(0.31 * 24000, abs=0.1 * 24000)


def test_only_the_worker_may_load_it() -> None:
    """Its licence is the GPL-3: it must not come into the server's process."""
    package = Path(trio_voice.realtime_server.__file__).parents[1]
    importers: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                importers.setdefault(name, set()).add(path.relative_to(package).as_posix())
    assert importers["espeakng_loader"] == {"realtime_server/voice_espeak.py"}
    assert importers["trio_voice.realtime_server.voice_espeak"] == {"realtime_server/voice_worker.py"}
    assert importers.get("trio_voice.realtime_server.voice_worker", set()) == set()
