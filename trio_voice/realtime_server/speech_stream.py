"""One message's audio on its way from the voice to the wire: cut into deltas, its length a multiple of 50 ms.

The voice delivers as fast as it can speak; the deltas leave at the response's pace. Nothing here knows the time.
"""

from __future__ import annotations

from attrs import define, field

from trio_voice.realtime_server.audio_formats import AudioFormat

TOKEN_MS = 50
"""One output audio token; every message is as long as a whole number of them."""


@define
class SpeechStream:
    """A queue of audio in the session's output format."""

    format: AudioFormat
    delta_ms: int
    tail_silence_ms: int
    _queue: bytearray = field(factory=bytearray, init=False)
    _taken_bytes: int = field(default=0, init=False)
    ended: bool = field(default=False, init=False)

    def add(self, audio: bytes) -> None:
        """Take a piece of the voice in."""
        self._queue += audio

    def end(self) -> None:
        """Say that the voice has finished: fill up to a multiple of 50 ms and add the silence at the end."""
        if self.ended:
            return
        self.ended = True
        token_bytes = TOKEN_MS * self.format.bytes_per_ms
        missing = -(self._taken_bytes + len(self._queue)) % token_bytes
        sample = len(self.format.silence)
        self._queue += self.format.silence * (missing // sample) + self.format.silence_of(self.tail_silence_ms)

    @property
    def total_ms(self) -> int:
        """The audio known so far, sent or not; once `ended`, the message's whole length."""
        return (self._taken_bytes + len(self._queue)) // self.format.bytes_per_ms

    @property
    def finished(self) -> bool:
        """Whether everything has been taken."""
        return self.ended and not self._queue

    def next_delta(self) -> bytes | None:
        """Take the next delta's audio; None when the voice has to speak on first (or everything is taken)."""
        wanted = self.delta_ms * self.format.bytes_per_ms
        if len(self._queue) < wanted and not self.ended:
            return None
        delta = bytes(self._queue[:wanted])
        del self._queue[:wanted]
        self._taken_bytes += len(delta)
        return delta or None
