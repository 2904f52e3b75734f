"""The model's voice names, and what each sounds like here.

The ten names are those of the OpenAI Realtime API reference. Each is mapped to a voice of each engine, so that two names never
sound alike: another speaker, another pitch, or another size of the vocal tract (the recording is played at another rate, which
moves formants and pitch together, and its tempo is put right again). A name that is not here is refused: `voice_profile` raises
LocalProtocolError, and a server must check a client's wish against `VOICE_NAMES` before it asks.
"""

from __future__ import annotations

from attrs import frozen

from trio_voice.errors import LocalProtocolError, TrioVoiceError


class EngineError(TrioVoiceError):
    """An engine is not installed, or cannot speak what was asked; the text says what."""


@frozen
class FliteSound:
    """A speaker of flite (`slt`, `rms`, `awb`), its mean pitch in Hz, and the rate that its 16 kHz are played at.

    The pitch of `rms` is its own, 105 Hz, whatever it is asked for; only the rate changes it.
    """

    speaker: str
    pitch_hz: float
    played_at_hz: int = 16000


@frozen
class EspeakSound:
    """A variant of espeak-ng (a file of its folder `voices/!v`), its pitch and pitch range (0 to 100) and words a minute."""

    variant: str
    pitch: int
    pitch_range: int
    words_per_minute: int


@frozen
class VoiceProfile:
    """One name, in each engine."""

    flite: FliteSound
    espeak: EspeakSound
    tone_hz: float


_PROFILES = {
    "alloy": VoiceProfile(FliteSound("slt", 160.0, 15000), EspeakSound("steph3", 40, 45, 152), 165.0),
    "ash": VoiceProfile(FliteSound("rms", 105.0), EspeakSound("adam", 48, 45, 155), 110.0),
    "ballad": VoiceProfile(FliteSound("awb", 124.0), EspeakSound("Reed", 60, 55, 148), 130.0),
    "coral": VoiceProfile(FliteSound("slt", 195.0, 16800), EspeakSound("f3", 62, 55, 158), 205.0),
    "echo": VoiceProfile(FliteSound("awb", 105.0, 15000), EspeakSound("benjamin", 28, 40, 152), 100.0),
    "sage": VoiceProfile(FliteSound("slt", 150.0), EspeakSound("f1", 42, 45, 150), 180.0),
    "shimmer": VoiceProfile(FliteSound("slt", 230.0, 17600), EspeakSound("f5", 68, 55, 158), 235.0),
    "verse": VoiceProfile(FliteSound("rms", 113.0, 17280), EspeakSound("Hugo", 72, 55, 158), 145.0),
    "marin": VoiceProfile(FliteSound("slt", 172.0), EspeakSound("f2", 45, 50, 155), 190.0),
    "cedar": VoiceProfile(FliteSound("rms", 95.0, 14400), EspeakSound("michel", 15, 40, 150), 90.0),
}

VOICE_NAMES = tuple(_PROFILES)


def voice_profile(name: str) -> VoiceProfile:
    """Return what `name` sounds like. Raises LocalProtocolError for a name that is not in `VOICE_NAMES`."""
    try:
        return _PROFILES[name]
    except KeyError:
        raise LocalProtocolError(f"no voice is called {name!r}; the voices are {', '.join(VOICE_NAMES)}") from None
