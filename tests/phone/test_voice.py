"""Utterances: whole frames, the right level, noise where there was digital silence."""

from __future__ import annotations

import numpy as np
import pytest

from trio_voice.audio.g711 import ulaw_silence, ulaw_to_pcm16
from trio_voice.audio.levels import rms_dbfs
from trio_voice.phone.voice import (
    ACTIVE_LEVEL_DBFS,
    comfort_noise,
    frame_levels_dbfs,
    join_utterance,
    prepare_speech,
    to_pcm16,
    voiced_frames,
)


def tone(ms: int, dbfs: float = -12.0) -> bytes:
    at = np.arange(ms * 8) / 8000
    return to_pcm16(np.sin(2 * np.pi * 400 * at) * 2**0.5 * 32768 * 10 ** (dbfs / 20))


def quiet(ms: int) -> bytes:
    return bytes(ms * 16)


def test_an_utterance_is_padded_to_whole_frames_and_knows_where_its_sound_is() -> None:
    speech = prepare_speech(quiet(40) + tone(60) + quiet(35), "hm", noise_dbfs=None)
    assert (speech.frames, speech.onset_ms, speech.end_ms, speech.text) == (7, 40, 100, "hm")
    assert speech.frame(6) == ulaw_silence(20)


def test_nothing_is_one_frame_of_nothing() -> None:
    speech = prepare_speech(b"", noise_dbfs=None)
    assert (speech.ulaw, speech.onset_ms, speech.end_ms) == (ulaw_silence(20), 0, 0)


def test_an_utterance_is_left_as_recorded_or_brought_to_its_active_level() -> None:
    recorded = tone(200, -10) + quiet(600) + tone(200, -10)
    as_it_is = prepare_speech(recorded, noise_dbfs=None)
    assert rms_dbfs(ulaw_to_pcm16(as_it_is.frame(5))) == pytest.approx(-10, abs=0.2)
    brought = prepare_speech(recorded, level_dbfs=-26, noise_dbfs=None)
    assert rms_dbfs(ulaw_to_pcm16(brought.frame(5))) == pytest.approx(-26, abs=0.2)
    assert brought.frame(20) == ulaw_silence(20)


def test_silence_is_not_amplified_to_speech() -> None:
    hiss = tone(400, -60)
    assert prepare_speech(hiss, level_dbfs=-26, noise_dbfs=None) == prepare_speech(hiss, noise_dbfs=None)


def test_the_line_breathes_between_the_words() -> None:
    speech = prepare_speech(tone(100) + quiet(1000))
    levels = frame_levels_dbfs(np.frombuffer(ulaw_to_pcm16(speech.ulaw[160 * 6 :]), "<i2").astype(float))
    assert levels.mean() == pytest.approx(-65, abs=1.0)
    assert levels.min() > -69
    assert rms_dbfs(ulaw_to_pcm16(comfort_noise(-65.0))) == pytest.approx(-65, abs=1.0)  # mu-law's steps add to it
    assert not voiced_frames(comfort_noise(-65.0)).any()
    assert set(comfort_noise(None)) == {0xFF}


def test_the_noise_is_the_same_every_time() -> None:
    assert prepare_speech(tone(40)) == prepare_speech(tone(40))


def test_parts_are_trimmed_levelled_and_joined_with_a_pause() -> None:
    joined = join_utterance([quiet(300) + tone(200, -3) + quiet(100), tone(100, -40)], pause_ms=100)
    levels = frame_levels_dbfs(np.frombuffer(joined, "<i2").astype(float))
    assert len(levels) == 20
    assert levels[:10] == pytest.approx(ACTIVE_LEVEL_DBFS, abs=0.1)
    assert levels[10:15] == pytest.approx(-100, abs=0.1)
    assert levels[15:] == pytest.approx(ACTIVE_LEVEL_DBFS, abs=0.1)
    assert join_utterance([]) == b""


def test_loud_clips_rather_than_wraps() -> None:
    assert np.frombuffer(to_pcm16(np.array([40000.0, -40000.0])), "<i2").tolist() == [32767, -32768]
