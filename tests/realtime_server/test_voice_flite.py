"""flite, where it is installed: every voice, level, tempo, and what it does with letters that it does not know.

Its voices have some chance in them, so that nothing here compares bytes.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.realtime_server.engines import SENTENCE, brightness_hz, flite, heard, pitch_hz
from trio_voice.audio.active_level import active_level_dbfs
from trio_voice.realtime_server.voice_flite import Flite
from trio_voice.realtime_server.voice_names import VOICE_NAMES, voice_profile


def spoken(name: str = "marin", text: str = SENTENCE, speed: float = 1.0) -> bytes:
    return heard(partial(flite().speak, text, voice_profile(name), speed))


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


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.5])
def test_tempo(speed: float) -> None:
    assert len(spoken(speed=speed)) == pytest.approx(len(spoken()) / speed, rel=0.1)


def test_it_begins_at_once_and_rests_at_the_end() -> None:
    audio = np.abs(np.frombuffer(spoken(), "<i2").astype(int))
    loud = np.flatnonzero(audio > 300)
    assert loud[0] < 0.08 * 24000
    assert len(audio) - loud[-1] == pytest.approx(0.34 * 24000, abs=0.1 * 24000)


def test_it_stops_when_nobody_listens() -> None:
    pieces: list[bytes] = []

    def take(pcm16: bytes) -> bool:
        pieces.append(pcm16)
        return len(pieces) < 3

    flite().speak(SENTENCE, voice_profile("ash"), 1.0, take)
    assert len(pieces) == 3
    assert len(spoken("ash")) == pytest.approx(len(spoken("ash")), rel=0.03)  # and the next sentence is whole


def test_what_it_can_speak() -> None:
    assert Flite.can_speak("Hello.", "en-us")
    assert Flite.can_speak("Señor Müller\u2019s café \u2014 no. 5", "en")
    assert not Flite.can_speak("Hello.", "de")
    assert not Flite.can_speak("Здравствуйте.", "en-us")


def test_letters_of_others_are_folded() -> None:
    assert len(spoken(text="The café is open.")) == pytest.approx(len(spoken(text="The cafe is open.")), rel=0.05)
