"""How much of a call's WAV file counts: as much as its head says, and of any other kind of file all."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import pytest

from trio_voice.storage.wav_header import HEADER_BYTES, counted_bytes, cut_off_what_is_not_counted, header


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "call.wav"


@pytest.mark.parametrize("frames", [0, 1, 8000])
def test_the_head_is_the_one_that_is_usual(frames: int) -> None:
    with io.BytesIO() as written, wave.open(written, "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(4 * frames))
        assert written.getvalue() == header(4 * frames) + bytes(4 * frames)


@pytest.mark.parametrize(("data_bytes", "behind"), [(8, b"not heard"), (0, b"not heard"), (8, b"")])
def test_what_is_behind_the_end_that_the_head_tells_does_not_count_and_is_cut_off(
    path: Path, data_bytes: int, behind: bytes
) -> None:
    whole = header(data_bytes) + b"12345678"[:data_bytes]
    path.write_bytes(whole + behind)
    assert counted_bytes(path) == len(whole)
    cut_off_what_is_not_counted(path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"R" * 100,
        header(8)[:-1],
        header(100) + b"less than that",
        header(8)[:22] + b"\1\0" + header(8)[24:] + b"of one channel",
        header(8)[:40] + b"\4\0\0\0" + b"two sizes",
    ],
)
def test_of_any_other_file_all_counts_and_nothing_is_cut_off(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert counted_bytes(path) == len(content)
    cut_off_what_is_not_counted(path)
    assert path.read_bytes() == content


def test_a_file_that_is_gone_is_an_error(path: Path) -> None:
    for look in (counted_bytes, cut_off_what_is_not_counted):
        with pytest.raises(FileNotFoundError):
            look(path)
    assert len(header(0)) == HEADER_BYTES
