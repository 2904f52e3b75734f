"""A stereo file that is whole at every moment."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
import pytest

from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.recording import wav_file as module
from trio_voice.recording.wav_file import HEADER_BYTES, WavFile, header, interleaved

LEFT = pcm16_to_ulaw(np.arange(0, 16_000, 100, dtype="<i2").tobytes())
RIGHT = bytes(reversed(LEFT))


def read(path: Path) -> tuple[int, int, int, bytes]:
    with wave.open(str(path), "rb") as file:
        return file.getnchannels(), file.getsampwidth(), file.getframerate(), file.readframes(file.getnframes())


def test_samples_of_both_sides_lie_side_by_side() -> None:
    both = np.frombuffer(interleaved(b"\xff\x80\x00", b"\x00\xff\xff"), "<i2").reshape(-1, 2)
    assert both.tolist() == [[0, -32124], [32124, 0], [-32124, 0]]


def test_the_file_is_whole_after_every_write(tmp_path: Path) -> None:
    path = tmp_path / "new" / "call.wav"
    file = WavFile(path)
    assert not path.exists()
    for count in (1, 2, 3):
        file.append(LEFT, RIGHT)
        assert read(path) == (2, 2, 8000, interleaved(LEFT, RIGHT) * count)
    file.append_silence(80)
    assert read(path)[3] == interleaved(LEFT, RIGHT) * 3 + bytes(320)
    file.close()
    file.close()
    assert path.stat().st_size == HEADER_BYTES + 4 * (3 * len(LEFT) + 80)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_r37_a_program_that_dies_between_samples_and_sizes_leaves_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "call.wav"
    file = WavFile(path)
    file.append(LEFT, RIGHT)
    pwrite = os.pwrite

    def die_before_the_sizes(number: int, data: bytes, at: int) -> int:
        if at == 0:
            raise KeyboardInterrupt
        return pwrite(number, data, at)

    monkeypatch.setattr(os, "pwrite", die_before_the_sizes)
    with pytest.raises(KeyboardInterrupt):
        file.append(RIGHT, LEFT)
    assert read(path)[3] == interleaved(LEFT, RIGHT)
    monkeypatch.undo()
    file.close()


def test_a_write_that_fails_in_the_middle_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "call.wav"
    file = WavFile(path)
    file.append(LEFT, RIGHT)
    pwrite = os.pwrite

    def fill_up(number: int, data: bytes, at: int) -> int:
        if len(data) <= 10:
            raise OSError(28, "No space left on device")
        return pwrite(number, data[: len(data) // 2], at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fill_up)
        with pytest.raises(OSError, match="No space left"):
            file.append(LEFT, LEFT)
    assert read(path)[3] == interleaved(LEFT, RIGHT)
    file.append(RIGHT, RIGHT)
    assert read(path)[3] == interleaved(LEFT, RIGHT) + interleaved(RIGHT, RIGHT)
    file.close()


def test_a_file_takes_no_more_than_its_header_can_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    file = WavFile(tmp_path / "call.wav")
    for _ in range(3):
        file.append(LEFT, RIGHT)
    assert file.is_full
    assert len(read(tmp_path / "call.wav")[3]) == 1000
    file.close()
    assert len(header(2**32 - 2**16)) == HEADER_BYTES
