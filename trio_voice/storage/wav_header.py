"""The head of a stereo WAV file of a call, 16 bits at 8000 Hz, and how much of such a file it counts.

What is behind that is in the file, but not part of the recording: it was not heard yet, and may never be.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

SAMPLE_RATE_HZ = 8000
FRAME_BYTES = 4
"""A sample of each side."""
HEADER_BYTES = 44


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


def counted_bytes(path: Path) -> int:
    """How many bytes of a file count, its head among them; of any other kind of file all do. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        size, head = os.fstat(file.fileno()).st_size, os.pread(file.fileno(), HEADER_BYTES, 0)
    data_bytes = int.from_bytes(head[-4:], "little")
    is_ours = len(head) == HEADER_BYTES and data_bytes <= size and head == header(data_bytes)
    return min(size, HEADER_BYTES + data_bytes) if is_ours else size


def cut_off_what_is_not_counted(path: Path) -> None:
    """Have a file end where its head says; any other kind of file is left as it is. Raises OSError."""
    counted = counted_bytes(path)
    if counted < path.stat().st_size:
        os.truncate(path, counted)
