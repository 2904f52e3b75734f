"""Levels of signals whose level is known."""

from __future__ import annotations

import numpy as np
import pytest

from trio_voice.audio.levels import SILENCE_DBFS, active_level_dbfs, band_level_dbfs, rms_dbfs


def sine(hz: float, dbfs: float, samples: int = 160, rate_hz: int = 8000) -> bytes:
    """A sine whose rms level is `dbfs`."""
    amplitude = 32768 * np.sqrt(2) * 10 ** (dbfs / 20)
    t = np.arange(samples) / rate_hz
    return bytes(np.rint(amplitude * np.sin(2 * np.pi * hz * t)).astype("<i2").tobytes())


def test_full_scale_is_0_dbfs_and_silence_the_lowest() -> None:
    assert rms_dbfs(b"\x00\x80" * 160) == 0.0
    assert rms_dbfs(bytes(320)) == SILENCE_DBFS
    assert rms_dbfs(b"") == SILENCE_DBFS
    assert band_level_dbfs(bytes(320)) == SILENCE_DBFS


@pytest.mark.parametrize("dbfs", [-4.0, -20.0, -40.0, -60.0])
def test_a_sine_has_its_level_in_both_measures(dbfs: float) -> None:
    assert rms_dbfs(sine(1000, dbfs)) == pytest.approx(dbfs, abs=0.6)  # audioop's rms is a whole number: coarse below -50 dBFS
    assert band_level_dbfs(sine(1000, dbfs)) == pytest.approx(dbfs, abs=0.1)


@pytest.mark.parametrize("hz", [300, 425, 800, 1633, 2500, 3400, 3700])
def test_the_band_is_flat(hz: int) -> None:
    assert band_level_dbfs(sine(hz, -20.0)) == pytest.approx(-20.0, abs=0.4)


@pytest.mark.parametrize("hz", [0.0001, 50, 60, 100, 120])
def test_hum_and_offset_are_outside_the_band(hz: float) -> None:
    assert band_level_dbfs(sine(hz, -20.0)) < -50.0


def level_by_fft(pcm16: bytes) -> float:
    """The definition of the band level."""
    window = np.hanning(160)
    spectrum = np.fft.rfft(np.frombuffer(pcm16, "<i2") * window / np.sqrt((window**2).mean()))[5:76]
    return float(10 * np.log10(np.sum(np.abs(spectrum) ** 2) * 2 / 160**2 / 32768.0**2 + 1e-10))


@pytest.mark.parametrize("hum_dbfs", [-3.0, -30.0, -200.0])
@pytest.mark.parametrize("speech_dbfs", [-3.1, -40.0, -75.0, -200.0])
def test_the_band_level_is_that_of_an_fft(hum_dbfs: float, speech_dbfs: float) -> None:
    for hz in (100.0, 249.0, 251.0, 1234.5, 3749.0, 3900.0):
        both = np.frombuffer(sine(50, hum_dbfs), "<i2") / 2 + np.frombuffer(sine(hz, speech_dbfs), "<i2") / 2
        pcm16 = both.astype("<i2").tobytes()
        assert band_level_dbfs(pcm16) == pytest.approx(level_by_fft(pcm16), abs=1e-6)


@pytest.mark.parametrize("length", [0, 2, 318, 322, 640])
def test_the_band_level_is_of_exactly_one_frame(length: int) -> None:
    with pytest.raises(ValueError, match="160 samples"):
        band_level_dbfs(bytes(length))


def test_the_active_level_leaves_pauses_out() -> None:
    talk = sine(1000, -20.0, 8000)
    assert active_level_dbfs(talk) == pytest.approx(-20.0, abs=0.01)
    assert active_level_dbfs(talk + bytes(16000 * 9)) == pytest.approx(-20.0, abs=0.01)
    assert active_level_dbfs(talk + sine(300, -50.0, 80000)) == pytest.approx(-20.0, abs=0.01)
    assert rms_dbfs(talk + bytes(16000 * 9)) == pytest.approx(-30.0, abs=0.01)


def test_the_active_level_at_another_rate() -> None:
    assert active_level_dbfs(sine(1000, -12.0, 24000, 24000) + bytes(48000), 24000) == pytest.approx(-12.0, abs=0.01)


@pytest.mark.parametrize("recording", [b"", bytes(100), bytes(16000)])
def test_nothing_has_no_active_level(recording: bytes) -> None:
    assert active_level_dbfs(recording) == SILENCE_DBFS
