"""The input audio buffer: the clock of appended audio, and what has not been committed yet.

The clock counts audio, not wall time: every `audio_*_ms` of the protocol is a position on it. While the server detects turns,
silence is thrown away except the prefix padding; without detection everything is kept until commit or clear.
Source: OpenAI Realtime API reference.
"""

from __future__ import annotations

from attrs import define, field

from trio_voice.realtime_server import errors_on_the_wire as errors
from trio_voice.realtime_server.audio_formats import AudioFormat

LEAST_COMMIT_MS = 100
_DETECTION_SLACK_MS = 500
"""Speech is dated back to its first frame, so a little more than the padding is kept."""


@define
class InputAudio:
    """The buffer of one session. `limit_bytes` bounds what is kept: beyond it the oldest audio is lost."""

    format: AudioFormat
    limit_bytes: int
    _kept: bytearray = field(factory=bytearray, init=False)
    _clock_before_ms: float = field(default=0.0, init=False)  # audio in formats that the session had before
    _format_bytes: int = field(default=0, init=False)  # appended in the present format
    committed_at_ms: float = field(default=0.0, init=False)

    @property
    def clock_ms(self) -> float:
        """Audio appended since the session began."""
        return self._clock_before_ms + self._format_bytes / self.format.bytes_per_ms

    @property
    def kept_ms(self) -> float:
        """Audio that is in the buffer."""
        return len(self._kept) / self.format.bytes_per_ms

    def append(self, audio: bytes) -> None:
        """Add audio; the oldest makes room when the buffer is full."""
        self._kept += audio
        self._format_bytes += len(audio)
        if len(self._kept) > self.limit_bytes:
            del self._kept[: len(self._kept) - self.limit_bytes]

    def keep_last(self, padding_ms: int) -> None:
        """Throw silence away: all but the padding before a turn that may begin now."""
        excess = len(self._kept) - (padding_ms + _DETECTION_SLACK_MS) * self.format.bytes_per_ms
        if excess >= _DETECTION_SLACK_MS * self.format.bytes_per_ms:  # in larger steps: moving bytes costs
            del self._kept[:excess]

    def buffered_ms(self, padding_ms: int | None) -> float:
        """Audio that a commit would take; with `padding_ms` no more than that (detection is on and nobody speaks)."""
        return self.kept_ms if padding_ms is None else min(self.kept_ms, padding_ms)

    def take(self, start_ms: float | None, end_ms: float | None = None) -> bytes:
        """Take a turn out of the buffer, and what came before it; positions on the clock, None: all there is."""
        first_ms = self.clock_ms - self.kept_ms
        begin = 0 if start_ms is None else max(0, round((start_ms - first_ms) * self.format.bytes_per_ms))
        end = len(self._kept) if end_ms is None else max(begin, round((end_ms - first_ms) * self.format.bytes_per_ms))
        taken = bytes(self._kept[begin:end])
        del self._kept[:end]
        return taken

    def clear(self) -> None:
        """Drop everything; the clock goes on."""
        self._kept.clear()

    def change_format(self, new: AudioFormat) -> None:
        """Read what comes from now on as `new`; audio that is not committed is dropped, the clock goes on."""
        if new is self.format:
            return
        self._clock_before_ms, self._format_bytes = self.clock_ms, 0
        self._kept.clear()
        self.format = new

    def check_commit(self, padding_ms: int | None) -> None:
        """Raise ClientError when there is too little audio to commit."""
        buffered_ms = self.buffered_ms(padding_ms)
        if buffered_ms < LEAST_COMMIT_MS:
            raise errors.commit_empty(buffered_ms)
