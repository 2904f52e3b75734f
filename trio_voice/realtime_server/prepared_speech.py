"""Speech that is there before anybody asks: for load tests with hundreds of sessions, where a voice would cost too much.

One minute of tones in the rhythm of speech, made once per format and shared; a text gets a slice as long as it would take to say.
"""

from __future__ import annotations

from functools import cache

from attrs import frozen

from trio_voice.realtime_server.audio_formats import AudioFormat
from trio_voice.realtime_server.speech_stream import TOKEN_MS
from trio_voice.realtime_server.voice_encoding import from_voice
from trio_voice.realtime_server.voice_tones import spoken_in_tones

LONGEST_MS = 60_000
MS_A_CHARACTER = 65
_TONE_HZ = 150.0
_SENTENCE = "The quick brown fox jumps over the lazy dog, and then it sleeps until the morning comes."


@frozen
class PreparedSpeech:
    """Speech in any of the formats; it has no state."""

    def audio(self, text: str, target: AudioFormat) -> bytes:
        """Return audio in that format, a multiple of 50 ms, at most a minute."""
        duration_ms = min(LONGEST_MS, max(TOKEN_MS, len(text) * MS_A_CHARACTER // TOKEN_MS * TOKEN_MS))
        return _minute(target)[: duration_ms * target.bytes_per_ms]


@cache
def _minute(target: AudioFormat) -> bytes:
    sentence = b"".join(spoken_in_tones(_SENTENCE, _TONE_HZ, 1.0))
    converter = from_voice(target)
    length = LONGEST_MS * target.bytes_per_ms
    audio = bytearray()
    while len(audio) < length:
        audio += converter.convert(sentence)
    return bytes(audio[:length])
