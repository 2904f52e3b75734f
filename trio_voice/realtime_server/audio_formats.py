"""The three audio formats of a session, and the way between each of them and what hearing and voice speak.

Hearing listens to 8 kHz PCM16, the voice speaks 24 kHz PCM16. Converters keep state between calls, so that pieces join.
"""

from __future__ import annotations

from typing import Any, Protocol

from attrs import define, field, frozen

from trio_voice.audio import g711
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
class _WholeSamples:
    """Keeps half a sample back, since a client may cut 16-bit audio anywhere."""

    _half: bytes = b""

    def join(self, pcm16: bytes) -> bytes:
        joined = self._half + pcm16
        even = len(joined) & ~1
        self._half = joined[even:]
        return joined[:even]


@define
class _Pcm24ToHearing:
    _samples: _WholeSamples = field(factory=_WholeSamples)
    _down: Downsampler24To8 = field(factory=Downsampler24To8)

    def convert(self, audio: bytes) -> bytes:
        return self._down.convert(self._samples.join(audio))


@define
class _VoiceToPcm24:
    _samples: _WholeSamples = field(factory=_WholeSamples)

    def convert(self, audio: bytes) -> bytes:
        return self._samples.join(audio)


@define
class _VoiceToG711:
    _alaw: bool
    _samples: _WholeSamples = field(factory=_WholeSamples)
    _down: Downsampler24To8 = field(factory=Downsampler24To8)

    def convert(self, audio: bytes) -> bytes:
        pcm16 = self._down.convert(self._samples.join(audio))
        return g711.pcm16_to_alaw(pcm16) if self._alaw else g711.pcm16_to_ulaw(pcm16)


def to_hearing(source: AudioFormat) -> Converter:
    """Return a converter from a caller's audio to 8 kHz PCM16."""
    if source is PCMU:
        return _Ulaw8ToHearing()
    return _Alaw8ToHearing() if source is PCMA else _Pcm24ToHearing()


def to_pcm16_8khz(audio: bytes, source: AudioFormat) -> bytes:
    """Convert a whole recording."""
    return to_hearing(source).convert(audio)


def from_voice(target: AudioFormat) -> Converter:
    """Return a converter from the voice's 24 kHz PCM16 to a session's output format."""
    return _VoiceToPcm24() if target is PCM else _VoiceToG711(alaw=target is PCMA)
