"""The three audio formats of a session, and the way from each of them to what hearing listens to, 8 kHz PCM16.

Converters keep state between calls, so that pieces join. What resamples PCM wants numpy, which weighs 10 MB and takes 0.1 s to
import: it is there when a client sends PCM (see `be_ready_for_pcm`). The way from the voice is in voice_encoding.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field, frozen

from trio_voice.audio import g711

if TYPE_CHECKING:
    from trio_voice.audio.resample import Downsampler24To8


@frozen
class AudioFormat:
    """A format of the wire: `name` in session objects, `item_name` inside retrieved items."""

    name: str
    item_name: str
    bytes_per_ms: int
    silence: bytes
    """One sample of silence."""

    def silence_of(self, duration_ms: int) -> bytes:
        """Return silence of that length."""
        return self.silence * (self.bytes_per_ms * duration_ms // len(self.silence))


PCM = AudioFormat("audio/pcm", "pcm16", 48, b"\0\0")
PCMU = AudioFormat("audio/pcmu", "g711_ulaw", 8, bytes([g711.ULAW_SILENCE]))
PCMA = AudioFormat("audio/pcma", "g711_alaw", 8, bytes([g711.ALAW_SILENCE]))
FORMATS = {each.name: each for each in (PCM, PCMU, PCMA)}


def format_of(wire: dict[str, Any]) -> AudioFormat:
    """Return the format that a session object's `format` names."""
    return FORMATS[wire["type"]]


class Converter(Protocol):
    """Converts a stream of audio, piece by piece."""

    def convert(self, audio: bytes) -> bytes:
        """Return what this piece makes of it."""
        ...


@define
class _Ulaw8ToHearing:
    def convert(self, audio: bytes) -> bytes:
        return g711.ulaw_to_pcm16(audio)


@define
class _Alaw8ToHearing:
    def convert(self, audio: bytes) -> bytes:
        return g711.alaw_to_pcm16(audio)


@define
class _Pcm24ToHearing:
    """Keeps half a sample back, since a client may cut 16-bit audio anywhere."""

    _half: bytes = field(default=b"", init=False)
    _down: Downsampler24To8 | None = field(default=None, init=False)  # every session begins as PCM, and most never send any

    def convert(self, audio: bytes) -> bytes:
        if self._down is None:
            self._down = _downsampler()
        joined = self._half + audio
        even = len(joined) & ~1
        self._half = joined[even:]
        return self._down.convert(joined[:even])


def _downsampler() -> Downsampler24To8:
    from trio_voice.audio.resample import Downsampler24To8  # noqa: PLC0415 - see above

    return Downsampler24To8()


def be_ready_for_pcm() -> None:
    """Import what sessions in PCM need, so that none of them waits for it."""
    _downsampler()


def to_hearing(source: AudioFormat) -> Converter:
    """Return a converter from a caller's audio to 8 kHz PCM16."""
    if source is PCMU:
        return _Ulaw8ToHearing()
    return _Alaw8ToHearing() if source is PCMA else _Pcm24ToHearing()


def to_pcm16_8khz(audio: bytes, source: AudioFormat) -> bytes:
    """Convert a whole recording."""
    return to_hearing(source).convert(audio)
