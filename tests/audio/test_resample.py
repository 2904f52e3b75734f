"""Rates: exact lengths, no seams between frames, the passband kept, images and aliases down."""

from __future__ import annotations

import random

import numpy as np
import pytest

from trio_voice.audio.resample import Downsampler24To8, Resampler, Upsampler8To16, Upsampler8To24, resample_pcm16


def sine(hz: float, rate_hz: int, seconds: float = 1.0, amplitude: float = 8000.0) -> bytes:
    return np.rint(amplitude * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype("<i2").tobytes()


def level_db(pcm16: bytes, hz: float, rate_hz: int) -> float:
    """Level of one frequency against an amplitude of 8000, the edges left out."""
    samples = np.frombuffer(pcm16, "<i2").astype(float)[rate_hz // 10 : -rate_hz // 10]
    t = np.arange(len(samples)) / rate_hz
    window = np.hanning(len(samples))
    amplitude = 2 * abs(np.sum(samples * window * np.exp(-2j * np.pi * hz * t))) / window.sum()
    return float(20 * np.log10(amplitude / 8000 + 1e-9))


def in_pieces(pcm16: bytes, seed: int) -> list[bytes]:
    choose = random.Random(seed)
    pieces, at = [], 0
    while at < len(pcm16):
        size = 2 * choose.choice([1, 2, 3, 5, 160, 480, 1000])
        pieces.append(pcm16[at : at + size])
        at += size
    return pieces


@pytest.mark.parametrize(("upsampler", "factor"), [(Upsampler8To24, 3), (Upsampler8To16, 2)])
def test_upsampling_is_even_and_seamless(upsampler: type[Upsampler8To24 | Upsampler8To16], factor: int) -> None:
    audio = sine(1000, 8000)
    whole = upsampler().convert(audio)
    assert len(whole) == factor * len(audio)
    stream = upsampler()
    parts = [stream.convert(piece) for piece in in_pieces(audio, 1)]
    assert [len(part) for part in parts] == [factor * len(piece) for piece in in_pieces(audio, 1)]
    assert b"".join(parts) == whole
    assert stream.convert(b"") == b""


def test_upsampled_speech_keeps_its_band_and_has_no_images() -> None:
    up = Upsampler8To24()
    for hz in (100, 1000, 3000):
        assert level_db(up.convert(sine(hz, 8000)), hz, 24000) == pytest.approx(0.0, abs=0.2)
    assert level_db(Upsampler8To24().convert(sine(3400, 8000)), 3400, 24000) == pytest.approx(-1.3, abs=0.1)
    for hz in (300, 1000, 3000):
        assert level_db(Upsampler8To24().convert(sine(hz, 8000)), 8000 - hz, 24000) < -48


def test_downsampling_is_even_and_seamless() -> None:
    audio = sine(1000, 24000)
    stream = Downsampler24To8()
    assert [len(stream.convert(audio[at : at + 960])) for at in range(0, len(audio), 960)] == [320] * 50
    whole = Downsampler24To8().convert(audio)
    assert len(whole) == len(audio) // 3
    stream = Downsampler24To8()
    assert b"".join(stream.convert(piece) for piece in in_pieces(audio, 2)) == whole


def test_downsampled_speech_keeps_its_band_and_has_no_aliases() -> None:
    for hz in (100, 1000, 3000):
        assert level_db(Downsampler24To8().convert(sine(hz, 24000)), hz, 8000) == pytest.approx(0.0, abs=0.2)
    for hz in (5000, 6000, 7000, 11000):
        assert level_db(Downsampler24To8().convert(sine(hz, 24000)), abs(hz - 8000), 8000) < -50


def test_loud_audio_is_clipped_not_wrapped() -> None:
    square = (b"\xff\x7f" * 40 + b"\x00\x80" * 40) * 50
    expected = np.repeat(np.frombuffer(square, "<i2").astype(int), 3)
    for out, delay in ((Upsampler8To24().convert(square), 24), (resample_pcm16(square, 8000, 24000), 0)):
        samples = np.frombuffer(out, "<i2").astype(int)
        assert samples.max() == 32767
        assert samples.min() == -32768
        agree = np.sign(samples) == np.sign(np.roll(expected, delay))
        assert agree[200:-200].mean() > 0.95  # a wrapped peak would flip the signs


RATES = [(22050, 24000), (16000, 24000), (14400, 24000), (44100, 8000), (48000, 8000), (8000, 22050), (8001, 8000), (8000, 16000)]


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_any_rates(from_hz: int, to_hz: int) -> None:
    audio = sine(1000, from_hz)
    whole = resample_pcm16(audio, from_hz, to_hz)
    assert len(whole) // 2 == to_hz
    error = np.frombuffer(whole, "<i2").astype(float) - np.frombuffer(sine(1000, to_hz), "<i2")
    assert np.abs(error[100:-100]).max() <= 3  # in time and level: no delay, no gain
    stream = Resampler(from_hz, to_hz)
    assert (b"".join(stream.convert(piece) for piece in in_pieces(audio, 3)) + stream.flush())[: len(whole)] == whole
    assert b"".join(stream.convert(piece) for piece in in_pieces(audio, 4)) + stream.flush() != b""  # and it can be used again


def test_a_flushed_stream_begins_afresh() -> None:
    stream = Resampler(16000, 24000)
    first = stream.convert(sine(500, 16000)) + stream.flush()
    assert stream.convert(sine(500, 16000)) + stream.flush() == first


@pytest.mark.parametrize(("from_hz", "to_hz", "hz"), [(48000, 8000, 5000), (24000, 8000, 6000), (16000, 8000, 5000)])
def test_any_rates_without_aliases(from_hz: int, to_hz: int, hz: int) -> None:
    assert level_db(resample_pcm16(sine(hz, from_hz), from_hz, to_hz), 8000 - hz, to_hz) < -60


def test_nothing_and_the_same_rate() -> None:
    assert resample_pcm16(b"", 44100, 8000) == b""
    assert resample_pcm16(b"\x01\x02", 8000, 8000) == b"\x01\x02"
