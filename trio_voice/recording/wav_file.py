"""A stereo WAV file that is whole at every moment: 16 bits, 8000 Hz, the caller left, the agent right.

Each side is written where it belongs, in any order; what nothing was written to is silence. The sizes in the header say how far
the file counts, and are written after the samples that they count. So a program that is killed leaves a file that every player
takes; what is behind its sizes is part of no recording. All methods do I/O and are for a thread.
"""

from __future__ import annotations

import os
from array import array
from io import FileIO
from pathlib import Path

from attrs import define, field

from trio_voice.audio.g711 import pcm16_to_ulaw, ulaw_to_pcm16
from trio_voice.storage.wav_header import FRAME_BYTES, HEADER_BYTES, header

MOST_BYTES = 2**32 - 2**16
"""A WAV file counts its bytes with 32 bits: that is after 37 hours."""
_AT_ONCE = 2000
"""So many samples are written in one go: each thread keeps what it once needed."""


@define(eq=False)
class WavFile:
    """The file; it is made with the first samples, for this user alone. Places and lengths are in samples of one side."""

    path: Path
    _file: FileIO | None = field(default=None, init=False)
    _counted: int = field(default=0, init=False)
    """How many bytes of samples its header counts."""
    _reached: int = field(default=0, init=False)
    """How many bytes of samples are in it, or may be."""

    def put(self, side: int, at: int, audio: bytes) -> None:
        """Write mu-law to one side (0: left), and leave the other as it is. Raises OSError."""
        audio = audio[: max(0, MOST_BYTES // FRAME_BYTES - at)]
        for begin in range(0, len(audio), _AT_ONCE):
            self._put(side, at + begin, ulaw_to_pcm16(audio[begin : begin + _AT_ONCE]))

    def blank(self, side: int, at: int, samples: int) -> None:
        """Write silence to one side, where anything was written. Raises OSError."""
        end = min(at + samples, -(-self._reached // FRAME_BYTES))
        for begin in range(at, end, _AT_ONCE):
            self._put(side, begin, bytes(2 * min(_AT_ONCE, end - begin)))

    def read(self, side: int, at: int, samples: int) -> bytes:
        """Read one side back, as mu-law. Raises OSError."""
        parts = []
        for begin in range(at, at + samples, _AT_ONCE):
            both = self._both(begin, min(_AT_ONCE, at + samples - begin))
            parts.append(pcm16_to_ulaw(both[side::2].tobytes()))
        return b"".join(parts)

    def count(self, samples: int) -> None:
        """Have the file be so long: what was written before there is in it from now on. Raises OSError."""
        size = min(samples * FRAME_BYTES, MOST_BYTES)
        if size > self._counted:
            file = self._opened()
            if size > self._reached:
                os.ftruncate(file.fileno(), HEADER_BYTES + size)
                self._reached = size
            self._write(header(size), 0)
            self._counted = size

    def close(self) -> None:
        """Take no more, and forget what is not counted. Raises OSError."""
        if self._file is not None:
            file, self._file = self._file, None
            with file:
                os.ftruncate(file.fileno(), HEADER_BYTES + self._counted)

    def _opened(self) -> FileIO:
        if self._file is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = FileIO(self.path, "w+b", opener=lambda path, flags: os.open(path, flags, 0o600))
            try:
                _write_all(file, header(0), 0)
            except OSError:  # without its head nothing may be in it
                file.close()
                raise
            self._file = file
        return self._file

    def _put(self, side: int, at: int, pcm16: bytes) -> None:
        both = self._both(at, len(pcm16) // 2)
        both[side::2] = array("h", pcm16)
        self._reached = max(self._reached, at * FRAME_BYTES + len(pcm16) * 2)
        self._write(memoryview(both).cast("B"), HEADER_BYTES + at * FRAME_BYTES)

    def _both(self, at: int, samples: int) -> array[int]:
        """What both sides have there; silence where nothing was written."""
        size, data = samples * FRAME_BYTES, b""
        if at * FRAME_BYTES < self._reached:
            data = os.pread(self._opened().fileno(), size, HEADER_BYTES + at * FRAME_BYTES)
        return array("h", data.ljust(size, b"\0"))

    def _write(self, data: bytes | memoryview, at: int) -> None:
        _write_all(self._opened(), data, at)


def _write_all(file: FileIO, data: bytes | memoryview, at: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file.fileno(), rest, at)
        rest, at = rest[written:], at + written
