"""WAV files of every kind that a person may give to the program."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from trio_voice.audio.wav import read_wav_8khz, write_wav_8khz
from trio_voice.errors import UserError


def write(path: Path, data: bytes, *, rate_hz: int = 8000, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate_hz)
        file.writeframes(data)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    audio = np.arange(-1000, 1000, dtype="<i2").tobytes()
    write_wav_8khz(tmp_path / "a.wav", audio)
    assert read_wav_8khz(tmp_path / "a.wav") == audio
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (1, 2, 8000, 2000)


def test_two_channels_are_written_interleaved(tmp_path: Path) -> None:
    write_wav_8khz(tmp_path / "a.wav", struct.pack("<4h", 1, -1, 2, -2), channels=2)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (2, 2, 8000, 2)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", struct.pack("<6h", 100, 300, -100, -300, 32767, 32767), channels=2)
    assert struct.unpack("<3h", read_wav_8khz(path)) == (200, -200, 32767)


def test_other_rates_are_resampled(tmp_path: Path) -> None:
    tone = np.rint(8000 * np.sin(2 * np.pi * 500 * np.arange(44100) / 44100)).astype("<i2").tobytes()
    audio = np.frombuffer(read_wav_8khz(write(tmp_path / "a.wav", tone, rate_hz=44100)), "<i2")
    assert len(audio) == 8000
    assert np.abs(audio - 8000 * np.sin(2 * np.pi * 500 * np.arange(8000) / 8000))[100:-100].max() < 3


def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", struct.pack("<4h", 1, 1, 2, 2), channels=2)
    path.write_bytes(path.read_bytes()[:-3])
    assert struct.unpack("<1h", read_wav_8khz(path)) == (1,)


def test_an_empty_recording(tmp_path: Path) -> None:
    assert read_wav_8khz(write(tmp_path / "a.wav", b"", rate_hz=16000)) == b""


def test_mistakes_are_told_in_one_line_each(tmp_path: Path) -> None:
    def complaint(path: Path) -> str:
        with pytest.raises(UserError) as told:
            read_wav_8khz(path)
        assert "\n" not in str(told.value)
        return str(told.value)

    assert "no such file" in complaint(tmp_path / "missing.wav")
    (tmp_path / "text.wav").write_text("this is no WAV file at all, whatever its name says")
    assert "not a readable WAV file" in complaint(tmp_path / "text.wav")
    (tmp_path / "empty.wav").write_bytes(b"")
    assert "not a readable WAV file" in complaint(tmp_path / "empty.wav")
    assert "not a readable WAV file" in complaint(tmp_path)  # a folder
    assert "8-bit samples" in complaint(write(tmp_path / "8.wav", bytes(100), width=1))
    assert "24-bit samples" in complaint(write(tmp_path / "24.wav", bytes(99), width=3))
    damaged = write(tmp_path / "rate.wav", bytes(100))
    head = bytearray(damaged.read_bytes())
    head[24:28] = bytes(4)
    damaged.write_bytes(head)
    assert "0 Hz" in complaint(damaged)
