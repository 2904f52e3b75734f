"""A moment, hidden in audio.

Latency is measured across processes of one machine, which share its monotonic clock. The sender writes the moment of sending into
the first sixteen bytes of a piece of mu-law audio, four bits a byte, as the quietest values there are (about -50 dBFS): a voice
detector takes it for a quiet line, and every part between sender and receiver takes it for audio.

When it came is told by the kernel, where it can (Linux, SO_TIMESTAMPNS): a receiver that reads late is not the sender's delay.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Sequence

import trio

STAMP_BYTES = 16
NUMBER_BYTES = 4
ANCILLARY_BYTES = 64
"""What `recvmsg` is to be given for the moment of arrival."""
_SO_TIMESTAMPNS = 35  # Linux; the socket module has no name for it
_TIMESPEC = struct.Struct("=qq")
_QUIET = 0xF0
_FROM_DIGITS = bytes.maketrans(b"0123456789abcdef", bytes(range(_QUIET, 256)))
_TO_DIGITS = bytes(_QUIET) + b"0123456789abcdef"
"""To hexadecimal digits; every byte that is in no stamp becomes a zero byte, which is no digit."""


def stamp(audio: bytes) -> bytes:
    """Return the audio with this moment in its first bytes."""
    return (b"%016x" % time.monotonic_ns()).translate(_FROM_DIGITS) + audio[STAMP_BYTES:]


def with_number(audio: bytes, caller: int) -> bytes:
    """Return the audio with a caller's number (of at most 16 bits) behind the place of the moment."""
    told = bytes(_QUIET | (caller >> shift) & 0x0F for shift in range(0, 16, 4))
    return audio[:STAMP_BYTES] + told + audio[STAMP_BYTES + NUMBER_BYTES :]


def number(audio: bytes) -> int:
    """The caller's number in stamped audio; any number where none was put."""
    told = audio[STAMP_BYTES : STAMP_BYTES + NUMBER_BYTES]
    return sum((byte & 0x0F) << shift for byte, shift in zip(told, range(0, 16, 4), strict=True))


def age_ms(audio: bytes, arrived_ns: int) -> float | None:
    """How old the stamp was when the audio came, in milliseconds; None for audio without a stamp."""
    try:
        moment = int(audio[:STAMP_BYTES].translate(_TO_DIGITS), 16)
    except ValueError:
        return None
    age = (arrived_ns - moment) / 1e6
    return age if 0 <= age < 600_000 else None  # speech can look like a stamp, but not like one of these minutes


def tell_arrivals(receiver: socket.socket | trio.socket.SocketType) -> None:
    """Have `recvmsg` of a socket tell when the bytes came that it returns (the last of them)."""
    if sys.platform == "linux":
        receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def clocks_apart_ns() -> int:
    """How far the clock that people read is ahead of the monotonic one. It is set now and then: ask again for each look."""
    return time.time_ns() - time.monotonic_ns()


def arrival_ns(ancillary: Sequence[tuple[int, int, bytes]], apart_ns: int) -> int:
    """When the bytes came, in nanoseconds of the monotonic clock; now, where the kernel does not tell.

    `apart_ns`: what `clocks_apart_ns` says.
    """
    for level, kind, data in ancillary:
        if kind == _SO_TIMESTAMPNS and level == socket.SOL_SOCKET:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)  # of the clock that people read
            return int(seconds) * 1_000_000_000 + int(nanoseconds) - apart_ns
    return time.monotonic_ns()
