"""A stereo file that is whole at every moment."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
import pytest

from trio_voice.audio.g711 import pcm16_to_ulaw, ulaw_to_pcm16
from trio_voice.recording import wav_file as module
from trio_voice.recording.wav_file import WavFile
from trio_voice.storage.wav_header import HEADER_BYTES, header

LEFT = pcm16_to_ulaw(np.arange(0, 16_000, 100, dtype="<i2").tobytes())
RIGHT = bytes(reversed(LEFT))
SIZE = len(LEFT)


def read(path: Path) -> tuple[int, int, int, bytes]:
    with wave.open(str(path), "rb") as file:
        return file.getnchannels(), file.getsampwidth(), file.getframerate(), file.readframes(file.getnframes())


def sides(left: bytes, right: bytes) -> bytes:
    """Both, in mu-law, as they lie in the file."""
    return np.stack([np.frombuffer(ulaw_to_pcm16(side), "<i2") for side in (left, right)], axis=1).tobytes()


def put(file: WavFile, at: int, left: bytes, right: bytes) -> None:
    """Write both sides, and count them."""
    file.put(0, at, left)
    file.put(1, at, right)
    file.count(at + len(left))


def test_samples_of_both_sides_lie_side_by_side(tmp_path: Path) -> None:
    file = WavFile(tmp_path / "call.wav")
    put(file, 0, b"\xff\x80\x00", b"\x00\xff\xff")
    both = np.frombuffer(read(tmp_path / "call.wav")[3], "<i2").reshape(-1, 2)
    assert both.tolist() == [[0, -32124], [32124, 0], [-32124, 0]]
    file.close()


def test_the_file_is_whole_after_every_write(tmp_path: Path) -> None:
    path = tmp_path / "new" / "call.wav"
    file = WavFile(path)
    assert not path.exists()
    for count in range(3):
        put(file, count * SIZE, LEFT, RIGHT)
        assert read(path) == (2, 2, 8000, sides(LEFT, RIGHT) * (count + 1))
    file.count(3 * SIZE + 80)
    assert read(path)[3] == sides(LEFT, RIGHT) * 3 + bytes(320)
    file.close()
    file.close()
    assert path.stat().st_size == HEADER_BYTES + 4 * (3 * SIZE + 80)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_each_side_is_written_ahead_and_over_and_leaves_the_other_as_it_is(tmp_path: Path) -> None:
    path, silence = tmp_path / "call.wav", b"\xff" * SIZE
    file = WavFile(path)
    file.put(1, SIZE, RIGHT * 2)
    assert read(path)[3] == b""
    file.put(0, 0, LEFT)
    file.count(SIZE)
    assert read(path)[3] == sides(LEFT, silence)
    assert file.read(1, SIZE, 3 * SIZE) == RIGHT * 2 + silence
    file.blank(1, 2 * SIZE, 50 * SIZE)  # farther than anything was written
    file.put(0, SIZE, LEFT)
    file.put(1, SIZE + 10, LEFT[:10])
    file.count(2 * SIZE)
    assert read(path)[3] == sides(LEFT * 2, silence + RIGHT[:10] + LEFT[:10] + RIGHT[20:])
    file.put(1, 3 * SIZE, RIGHT)
    file.count(SIZE)  # it is never shorter than it was
    file.close()
    assert path.stat().st_size == HEADER_BYTES + 4 * 2 * SIZE


def test_more_than_is_written_in_one_go(tmp_path: Path) -> None:
    path, left, right = tmp_path / "call.wav", LEFT * 60, RIGHT * 60
    file = WavFile(path)
    put(file, 7, left, right)
    assert file.read(1, 7, len(right)) == right
    assert read(path)[3] == bytes(28) + sides(left, right)
    file.blank(0, 0, 7 + len(left))
    assert read(path)[3] == bytes(28) + sides(b"\xff" * len(left), right)
    file.close()


def test_r37_a_program_that_dies_between_samples_and_sizes_leaves_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "call.wav"
    file = WavFile(path)
    put(file, 0, LEFT, RIGHT)
    pwrite = os.pwrite

    def die_before_the_sizes(number: int, data: bytes, at: int) -> int:
        if at == 0:
            raise KeyboardInterrupt
        return pwrite(number, data, at)

    monkeypatch.setattr(os, "pwrite", die_before_the_sizes)
    with pytest.raises(KeyboardInterrupt):
        put(file, SIZE, RIGHT, LEFT)
    assert read(path)[3] == sides(LEFT, RIGHT)
    monkeypatch.undo()
    file.close()
    assert path.stat().st_size == HEADER_BYTES + 4 * SIZE


def test_nothing_is_written_to_a_file_whose_head_could_not_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_number: int, _data: bytes, _at: int) -> int:
        raise OSError(28, "No space left on device")

    path = tmp_path / "call.wav"
    file = WavFile(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            file.put(1, 0, RIGHT)
    file.put(1, 0, RIGHT)
    assert path.read_bytes()[:HEADER_BYTES] == header(0)
    file.close()


def test_a_write_that_fails_in_the_middle_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "call.wav"
    file = WavFile(path)
    put(file, 0, LEFT, RIGHT)
    pwrite = os.pwrite

    def fill_up(number: int, data: bytes, at: int) -> int:
        if len(data) <= 10:
            raise OSError(28, "No space left on device")
        return pwrite(number, data[: len(data) // 2], at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fill_up)
        with pytest.raises(OSError, match="No space left"):
            put(file, SIZE, LEFT, LEFT)
    assert read(path)[3] == sides(LEFT, RIGHT)
    put(file, SIZE, RIGHT, RIGHT)
    assert read(path)[3] == sides(LEFT, RIGHT) + sides(RIGHT, RIGHT)
    file.close()


def test_a_file_takes_no_more_than_its_header_can_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    path = tmp_path / "call.wav"
    file = WavFile(path)
    for count in range(3):
        put(file, count * SIZE, LEFT, RIGHT)
        file.blank(1, 2000, 10)
    assert read(path)[3] == (sides(LEFT, RIGHT) * 2)[:1000]
    assert path.stat().st_size == HEADER_BYTES + 1000
    file.close()
    assert len(header(2**32 - 2**16)) == HEADER_BYTES
