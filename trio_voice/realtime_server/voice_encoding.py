"""From what the voice's engines speak, 24 kHz PCM16, to the format of the wire.

It wants numpy, and is at work where the engines are: in the voice worker, so that the server's own process does without.
"""

from __future__ import annotations

from attrs import define, field

from trio_voice.audio import g711
from trio_voice.audio.resample import Downsampler24To8
from trio_voice.realtime_server.audio_formats import PCM, PCMA, AudioFormat, Converter


@define
class _VoiceToPcm24:
    def convert(self, audio: bytes) -> bytes:
        return audio


@define
class _VoiceToG711:
    _alaw: bool
    _down: Downsampler24To8 = field(factory=Downsampler24To8)

    def convert(self, audio: bytes) -> bytes:
        pcm16 = self._down.convert(audio)
        return g711.pcm16_to_alaw(pcm16) if self._alaw else g711.pcm16_to_ulaw(pcm16)


def from_voice(target: AudioFormat) -> Converter:
    """Return a converter of one sentence, piece by piece, to a session's output format.

    A sentence ends with a pause, so that nothing is heard of the two samples and the millisecond that a filter keeps back.
    """
    return _VoiceToPcm24() if target is PCM else _VoiceToG711(alaw=target is PCMA)
