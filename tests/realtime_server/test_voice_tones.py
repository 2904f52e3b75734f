"""Tones in the rhythm of speech: as long as speech, heard as speech, level and tempo right, the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from trio_voice.audio.active_level import active_level_dbfs
from trio_voice.audio.resample import resample_pcm16
from trio_voice.realtime_server.audio_formats import PCMA
from trio_voice.realtime_server.hearing import Hearing, HearingSettings, SpeechBegan, SpeechEnded
from trio_voice.realtime_server.voice_encoding import from_voice
from trio_voice.realtime_server.voice_names import VOICE_NAMES, voice_profile
from trio_voice.realtime_server.voice_tones import RATE_HZ, spoken_in_tones, tones_in_format

SENTENCE = "Good morning, this is the reception."


def spoken(sentence: str = SENTENCE, tone_hz: float = 140.0, speed: float = 1.0) -> bytes:
    return b"".join(spoken_in_tones(sentence, tone_hz, speed))


def test_one_piece_a_word_and_the_length_of_speech() -> None:
    pieces = list(spoken_in_tones(SENTENCE, 140.0, 1.0))
    assert len(pieces) == 6
    # nine syllables, four gaps between words, a comma, a stop
    assert len(b"".join(pieces)) == 2 * round((9 * 0.19 + 4 * 0.07 + 0.22 + 0.4) * RATE_HZ)


def test_it_is_the_same_every_time() -> None:
    assert spoken() == spoken()
    assert spoken(tone_hz=200.0) != spoken()


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.5])
def test_tempo(speed: float) -> None:
    assert len(spoken(speed=speed)) == pytest.approx(len(spoken()) / speed, rel=0.001)


@pytest.mark.parametrize("name", VOICE_NAMES)
def test_level_without_clipping(name: str) -> None:
    audio = spoken(tone_hz=voice_profile(name).tone_hz)
    assert active_level_dbfs(audio, RATE_HZ) == pytest.approx(-20.0, abs=0.5)
    assert np.abs(np.frombuffer(audio, "<i2").astype(int)).max() < 32000


@pytest.mark.parametrize("name", VOICE_NAMES)
def test_a_detector_takes_it_for_one_turn_of_speech(name: str) -> None:
    line = np.random.default_rng(1).normal(0, 20, 48000).astype("<i2").tobytes()  # 2 s at -64 dBFS, then at its end 1 s
    voice = resample_pcm16(spoken(tone_hz=voice_profile(name).tone_hz), RATE_HZ, 8000)
    hearing = Hearing(HearingSettings(0.5, 0, 500))
    events = hearing.hear(line[:32000] + voice + line[:16000])
    assert [type(event) for event in events] == [SpeechBegan, SpeechEnded]


def test_in_a_format_of_the_wire_it_is_the_same_word_by_word() -> None:
    converter = from_voice(PCMA)
    expected = [converter.convert(piece) for piece in spoken_in_tones(SENTENCE, 140.0, 1.25)]
    assert list(tones_in_format(SENTENCE, 140.0, 1.25, PCMA)) == expected
