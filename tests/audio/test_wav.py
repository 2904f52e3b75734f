"""WAV files of every kind that a person may give to the program."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from trio_voice.audio.g711 import alaw_to_pcm16, ulaw_to_pcm16
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
    assert complaint(tmp_path / "text.wav") == (
        f"{tmp_path}/text.wav: not a WAV file; convert it, for instance with: ffmpeg -i text.wav -ar 8000 -ac 1 out.wav"
    )
    (tmp_path / "empty.wav").write_bytes(b"")
    assert "not a WAV file" in complaint(tmp_path / "empty.wav")
    assert "the file cannot be read (Is a directory)" in complaint(tmp_path)
    assert "samples of a kind that is not read (format 2, 4 bits); convert it" in complaint(raw(tmp_path, 2, 4, bytes(10)))
    assert "samples of a kind that is not read (format 1, 12 bits)" in complaint(raw(tmp_path, 1, 12, bytes(10)))
    assert "it has no sound" in complaint(raw(tmp_path, 1, 16, None))
    (tmp_path / "head.wav").write_bytes(b"RIFF\4\0\0\0WAVEdata\2\0\0\0\0\0")
    assert "it has no header" in complaint(tmp_path / "head.wav")
    damaged = write(tmp_path / "rate.wav", bytes(100))
    head = bytearray(damaged.read_bytes())
    head[24:28] = bytes(4)
    damaged.write_bytes(head)
    assert "0 samples a second" in complaint(damaged)


def raw(folder: Path, kind: int, bits: int, data: bytes | None, extension: bytes = b"") -> Path:
    """A mono file at 8000 Hz of any kind, with a chunk of an odd length before the sound."""
    head = struct.pack("<HHIIHH", kind, 1, 8000, 8000 * bits // 8, max(1, bits // 8), bits) + extension
    chunks = [(b"fmt ", head), (b"LIST", b"odd")] + ([] if data is None else [(b"data", data)])
    body = b"".join(struct.pack("<4sI", name, len(chunk)) + chunk + b"\0" * (len(chunk) % 2) for name, chunk in chunks)
    path = folder / "raw.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)
    return path


SAMPLES = (0, 256, -256, 32512, -32768)


@pytest.mark.parametrize(
    ("kind", "bits", "data"),
    [
        (1, 8, bytes([128, 129, 127, 255, 0])),
        (1, 16, struct.pack("<5h", *SAMPLES)),
        (1, 24, b"".join(struct.pack("<i", sample * 256)[:3] for sample in SAMPLES)),
        (1, 32, struct.pack("<5i", *(sample * 65536 for sample in SAMPLES))),
        (3, 32, struct.pack("<5f", *(sample / 32767 for sample in SAMPLES))),
        (3, 64, struct.pack("<5d", *(sample / 32767 for sample in SAMPLES))),
    ],
)
def test_every_width_and_kind_of_pcm_is_read(kind: int, bits: int, data: bytes, tmp_path: Path) -> None:
    assert struct.unpack("<5h", read_wav_8khz(raw(tmp_path, kind, bits, data))) == SAMPLES
    extensible = struct.pack("<HHIH", 22, bits, 0, kind) + bytes(14)
    assert struct.unpack("<5h", read_wav_8khz(raw(tmp_path, 0xFFFE, bits, data, extensible))) == SAMPLES


def test_telephone_recordings_are_read(tmp_path: Path) -> None:
    every = bytes(range(256))
    assert read_wav_8khz(raw(tmp_path, 7, 8, every)) == ulaw_to_pcm16(every)
    assert read_wav_8khz(raw(tmp_path, 6, 8, every)) == alaw_to_pcm16(every)


def test_sound_that_is_too_loud_is_clipped(tmp_path: Path) -> None:
    assert struct.unpack("<2h", read_wav_8khz(raw(tmp_path, 3, 32, struct.pack("<2f", 2.0, -2.0)))) == (32767, -32768)
