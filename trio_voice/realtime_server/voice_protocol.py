"""What the embedded server and its voice worker say to each other, over the worker's standard input and output.

Each message is msgpack with a 4-byte big-endian length before it. The server sends `Speak`, one at a time, and `Stop` when nobody
listens any more. The worker says `Ready` once, then for each job `Piece` as often as it likes and at last exactly one `Finished`
(also after a `Stop`) or `Failed`. The end of its input ends the worker.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from trio_voice.errors import RemoteProtocolError

LONGEST_MESSAGE_BYTES = 1 << 20
_HEAD_BYTES = 4


class Speak(msgspec.Struct, frozen=True, tag="speak"):
    """Speak one sentence. `speed` 1.0 is the voice's own tempo; `language` is a tag such as `en-us`.

    `audio_format` is what the pieces are to be in, by the wire's name (`audio/pcm`: signed 16 bits at 24000 Hz).
    """

    job: int
    text: str
    voice: str
    speed: float
    language: str
    audio_format: str


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Nobody listens to this job any more."""

    job: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker's engines (`flite`, `espeak-ng`), preferred first; none when nothing is installed."""

    engines: list[str]


class Piece(msgspec.Struct, frozen=True, tag="piece"):
    """Audio of a job, in the format that it asked for, mono."""

    job: int
    audio: bytes


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The job is over: spoken, or stopped."""

    job: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The engine refused the job."""

    job: int
    reason: str


Request = Speak | Stop
Report = Ready | Piece | Finished | Failed

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Request | Report] = msgspec.msgpack.Decoder(Request | Report)


def pack(message: Request | Report) -> bytes:
    """Return the bytes of one message."""
    body = _encoder.encode(message)
    return len(body).to_bytes(_HEAD_BYTES, "big") + body


class MessageBuffer:
    """Bytes in, as they come; whole messages out. Holds at most one message of 1 MiB beyond what was fed last."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Request | Report]:
        """Take bytes in and yield the messages that are complete now (iterate to the end).

        Raises RemoteProtocolError when the bytes are no such messages; nothing after that can be trusted.
        """
        self._bytes += data
        while len(self._bytes) >= _HEAD_BYTES:
            length = int.from_bytes(self._bytes[:_HEAD_BYTES], "big")
            if length > LONGEST_MESSAGE_BYTES:
                raise RemoteProtocolError(f"a message of {length} bytes on the voice worker's pipe")
            if len(self._bytes) < _HEAD_BYTES + length:
                return
            body = bytes(self._bytes[_HEAD_BYTES : _HEAD_BYTES + length])
            del self._bytes[: _HEAD_BYTES + length]
            try:
                yield _decoder.decode(body)
            except msgspec.MsgspecError as error:
                raise RemoteProtocolError(f"no message of the voice worker's pipe: {error}") from None
