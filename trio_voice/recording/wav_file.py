"""A stereo WAV file that grows, and is whole at every moment: 16 bits, 8000 Hz, the caller left, the agent right.

The sizes in its header are written after the samples that they count. So a program that is killed leaves a file that every player
takes, without what was written last. All methods do I/O and are for a thread.
"""

from __future__ import annotations

import os
import struct
from array import array
from io import FileIO
from pathlib import Path

from attrs import define, field

from trio_voice.audio.g711 import ULAW_SILENCE, ulaw_to_pcm16

SAMPLE_RATE_HZ = 8000
FRAME_BYTES = 4
"""A sample of each side."""
HEADER_BYTES = 44
MOST_BYTES = 2**32 - 2**16
"""A WAV file counts its bytes with 32 bits: that is after 37 hours."""


def header(data_bytes: int) -> bytes:
    """The head of a file with so many bytes of samples."""
    fmt = struct.pack("<HHIIHH", 1, 2, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * FRAME_BYTES, FRAME_BYTES, 16)
    return (
        b"RIFF"
        + struct.pack("<I", HEADER_BYTES - 8 + data_bytes)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + fmt
        + b"data"
        + struct.pack("<I", data_bytes)
    )


def interleaved(left: bytes, right: bytes) -> bytes:
    """Two sides in mu-law, of the same length, as 16-bit stereo."""
    both = array("h", bytes(FRAME_BYTES * len(left)))
    both[::2], both[1::2] = array("h", ulaw_to_pcm16(left)), array("h", ulaw_to_pcm16(right))
    return both.tobytes()


@define(eq=False)
class WavFile:
    """The file; it is made with the first samples, for this user alone."""

    path: Path
    _file: FileIO | None = field(default=None, init=False)
    _size: int = field(default=0, init=False)
    """How many bytes of samples are in it."""

    @property
    def is_full(self) -> bool:
        """It takes no more."""
        return self._size >= MOST_BYTES

    def append(self, left: bytes, right: bytes) -> None:
        """Write samples of both sides, mu-law: all, or none that counts. Raises OSError."""
        if self.is_full:
            return
        if self._file is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = FileIO(self.path, "wb", opener=lambda path, flags: os.open(path, flags, 0o600))
            self._write(header(0), 0)
        data = interleaved(left, right)[: MOST_BYTES - self._size]
        self._write(data, HEADER_BYTES + self._size)
        self._write(header(self._size + len(data)), 0)
        self._size += len(data)

    def append_silence(self, samples: int) -> None:
        """Write silence on both sides, as `append`. Raises OSError."""
        silence = bytes([ULAW_SILENCE]) * samples
        self.append(silence, silence)

    def close(self) -> None:
        """Take no more. Raises OSError."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _write(self, data: bytes, at: int) -> None:
        assert self._file is not None
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._file.fileno(), rest, at)
            rest, at = rest[written:], at + written
