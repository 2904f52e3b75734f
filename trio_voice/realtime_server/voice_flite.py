"""flite (Festival Lite), through ctypes, where the system has it (`apt install flite`, or its library alone: `libflite1`).

It speaks English only, and is understood far better than espeak-ng. A sentence is synthesised whole (1 to 15 ms of work for a
second of speech) and then handed out, so that giving a sentence up costs at most its own synthesis.

What wants numpy is imported when it is used: the library can be loaded, and said to be there, 0.1 s before.
"""

from __future__ import annotations

import ctypes
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, field

from trio_voice.realtime_server.voice_names import EngineError, FliteSound, VoiceProfile
from trio_voice.realtime_server.voice_text import pause_s

if TYPE_CHECKING:
    from trio_voice.realtime_server.voice_level import Leveller

RATE_HZ = 24000
_SPEAKER_HZ = 16000
SPEAKERS = ("slt", "rms", "awb")
_PIECE_MS = 100
_AUDIBLE = 150  # of 32768: -47 dBFS
_LEAD_S = 0.04
_SAMPLE = "The quick brown fox jumps over the lazy dog, and nobody minds at all."


class _Wave(ctypes.Structure):
    """`cst_wave` of cst_wave.h."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Speaker(ctypes.Structure):
    """The head of `cst_voice` of cst_voice.h."""

    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


@define
class Flite:
    """The library with its speakers, loaded and ready."""

    _library: ctypes.CDLL
    _speakers: dict[str, ctypes._Pointer[_Speaker]]
    _levellers: dict[FliteSound, Leveller] = field(factory=dict, init=False)

    @classmethod
    def load(cls) -> Flite:
        """Load the library and all its speakers. Raises EngineError when it is not installed, or only in part."""
        try:
            library = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
            for name in ("usenglish", "cmulex"):  # the speakers' libraries need their symbols
                ctypes.CDLL(f"libflite_{name}.so.1", mode=ctypes.RTLD_GLOBAL)
            speakers = {name: ctypes.CDLL(f"libflite_cmu_us_{name}.so.1") for name in SPEAKERS}
        except OSError as error:
            raise EngineError(f"flite is not installed: {error}") from None
        library.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
        library.flite_text_to_wave.argtypes = [ctypes.c_char_p, ctypes.POINTER(_Speaker)]
        library.delete_wave.argtypes = [ctypes.POINTER(_Wave)]
        library.flite_feat_set_float.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float]
        library.flite_init()
        loaded = {}
        for name, speaker in speakers.items():
            register = speaker[f"register_cmu_us_{name}"]
            register.restype = ctypes.POINTER(_Speaker)
            register.argtypes = [ctypes.c_char_p]
            loaded[name] = register(None)
        return cls(library, loaded)

    @staticmethod
    def can_speak(text: str, language: str) -> bool:
        """Whether it is English, and something of it is left in flite's letters."""
        return language.lower().split("-")[0] == "en" and any(c.isalnum() for c in _in_ascii(text))

    def speak(self, text: str, profile: VoiceProfile, speed: float, take: Callable[[bytes], bool]) -> None:
        """Speak one sentence of English; `take` gets 24 kHz PCM16 in pieces of 100 ms and returns False to end it."""
        from trio_voice.audio.resample import Resampler  # noqa: PLC0415 - see above

        sound = profile.flite
        leveller = self._leveller(sound)
        resampler = Resampler(sound.played_at_hz, RATE_HZ)
        audio = _with_pause(self._synthesise(text, sound, speed), sound.played_at_hz, pause_s(text) / speed)
        piece_bytes = 2 * sound.played_at_hz * _PIECE_MS // 1000
        for begin in range(0, len(audio), piece_bytes):
            if not take(leveller.level(resampler.convert(audio[begin : begin + piece_bytes]))):
                return
        take(leveller.level(resampler.flush()))

    def _leveller(self, sound: FliteSound) -> Leveller:
        from trio_voice.realtime_server.voice_level import Leveller  # noqa: PLC0415 - see above

        leveller = self._levellers.get(sound)
        if leveller is None:
            leveller = self._levellers[sound] = Leveller()
            leveller.learn(self._synthesise(_SAMPLE, sound, 1.0), sound.played_at_hz)
        return leveller

    def _synthesise(self, text: str, sound: FliteSound, speed: float) -> bytes:
        speaker = self._speakers[sound.speaker]
        features = speaker.contents.features
        faster = sound.played_at_hz / _SPEAKER_HZ  # played at another rate, the sentence must be longer by as much
        self._library.flite_feat_set_float(features, b"duration_stretch", faster / speed)
        self._library.flite_feat_set_float(features, b"int_f0_target_mean", sound.pitch_hz / faster)
        wave = self._library.flite_text_to_wave(_in_ascii(text).encode(), speaker)
        if not wave:
            raise EngineError(f"flite returned no sound for {text!r}")
        try:
            return ctypes.string_at(wave.contents.samples, 2 * wave.contents.num_samples)
        finally:
            self._library.delete_wave(wave)


def _in_ascii(text: str) -> str:
    plain = text.translate({0x2018: "'", 0x2019: "'", 0x2013: ",", 0x2014: ",", 0x2026: "."})
    return unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()


def _with_pause(audio: bytes, rate_hz: int, rest_s: float) -> bytes:
    """Replace the silence around a sentence: flite leaves some 200 ms before it and, by speaker, 60 to 220 ms after."""
    import numpy as np  # noqa: PLC0415 - see above

    samples = np.frombuffer(audio, "<i2")
    loud = np.flatnonzero(np.abs(samples) > _AUDIBLE)
    if not len(loud):
        return audio
    begin = max(0, loud[0] - round(_LEAD_S * rate_hz))
    end = min(len(samples), loud[-1] + round(_LEAD_S * rate_hz))
    return samples[begin:end].tobytes() + bytes(2 * round(rest_s * rate_hz))
