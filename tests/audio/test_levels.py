"""Levels of signals whose level is known."""

from __future__ import annotations

import numpy as np
import pytest

from trio_voice.audio.levels import SILENCE_DBFS, band_level_dbfs, rms_dbfs


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


@pytest.mark.parametrize("hz", [260, 300, 425, 800, 1633, 2500, 3400, 3700])
def test_the_band_is_flat(hz: int) -> None:
    assert band_level_dbfs(sine(hz, -20.0)) == pytest.approx(-20.0, abs=0.8)


@pytest.mark.parametrize("hz", [0.0001, 50, 60, 100, 120])
def test_hum_and_offset_are_outside_the_band(hz: float) -> None:
    assert band_level_dbfs(sine(hz, -20.0)) < -50.0


def level_by_least_squares(pcm16: bytes) -> float:
    """The definition of the band level: what is left of a frame when what slow waves can make of it is taken away."""
    at = (np.arange(160) - 79.5) / 8000
    slow = [np.ones(160)] + [wave(2 * np.pi * hz * at) for hz in (40, 80, 120, 160, 200) for wave in (np.cos, np.sin)]
    samples = np.frombuffer(pcm16, "<i2").astype(float)
    waves = np.linalg.qr(np.array(slow).T)[0]
    rest = samples - waves @ (waves.T @ samples)
    return float(10 * np.log10((rest**2).mean() / 32768.0**2 + 1e-10))


@pytest.mark.parametrize("hum_dbfs", [-6.0, -30.0, -200.0])
@pytest.mark.parametrize("speech_dbfs", [-6.0, -40.0, -75.0, -200.0])
def test_the_band_level_is_what_slow_waves_leave(hum_dbfs: float, speech_dbfs: float) -> None:
    for hz in (100.0, 249.0, 251.0, 1234.5, 3749.0, 3900.0):
        both = np.frombuffer(sine(50, hum_dbfs), "<i2") / 2 + np.frombuffer(sine(hz, speech_dbfs), "<i2") / 2
        pcm16 = both.astype("<i2").tobytes()
        power, wanted = (10 ** (level_dbfs / 10) for level_dbfs in (band_level_dbfs(pcm16), level_by_least_squares(pcm16)))
        frame = 10 ** (rms_dbfs(pcm16) / 10)
        assert power == pytest.approx(wanted, rel=1e-9, abs=1e-5 * frame + 1e-9)  # the waves are whole numbers


@pytest.mark.parametrize(
    ("hz", "least_db"), [(10, 40), (50, 40), (60, 38), (100, 35), (120, 60), (150, 33), (180, 24), (240, 2.9)]
)
def test_so_much_less_is_left_of_a_hum_at_every_phase(hz: int, least_db: float) -> None:
    turns = 2 * np.pi * hz * np.arange(160) / 8000
    for phase in np.linspace(0, np.pi, 16, endpoint=False):
        hum = np.rint(30000 * np.sin(turns + phase)).astype("<i2").tobytes()
        assert band_level_dbfs(hum) < 20 * np.log10(30000 / 32768) - 3.01 - least_db


@pytest.mark.parametrize("length", [0, 2, 318, 322, 640])
def test_the_band_level_is_of_exactly_one_frame(length: int) -> None:
    with pytest.raises(ValueError, match="160 samples"):
        band_level_dbfs(bytes(length))
