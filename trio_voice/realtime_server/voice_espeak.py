"""espeak-ng, through ctypes. It is GPL-3: this module is imported in the voice worker and nowhere else.

The library has one voice and one callback for the whole process, so that sentences are spoken one after the other. It is not
deterministic: the same sentence may differ by some samples. Facts that the code rests on:

- `espeak_SetVoiceByName` returns 2 for several tags (`en-gb`, `fr-fr`) and silently keeps the previous voice. So the language is
  looked up with `espeak_SetVoiceByProperties`, and the voice then named by the identifier that this gave (`gmw/en`), which every
  variant can be added to; each code is looked at.
- A callback that returns 1 ends the synthesis within half a millisecond, and the next sentence is whole.
- It speaks at 80 to 450 words a minute; slower speech is made with gaps between the words.

What wants numpy is imported when it is used: the library can be loaded, and said to be there, 0.1 s before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING

import espeakng_loader
from attrs import define, field

from trio_voice.realtime_server.voice_names import EngineError, EspeakSound, VoiceProfile
from trio_voice.realtime_server.voice_text import pause_s

if TYPE_CHECKING:
    from trio_voice.realtime_server.voice_level import Leveller

RATE_HZ = 24000
SLOWEST_WORDS_PER_MINUTE = 80
_WORD_GAP_UNIT_S = 0.034  # measured at the slowest tempo, the only one that it is used at
_CHUNK_MS = 60
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7
_FULL_VOLUME = 60  # of 200: louder would be clipped inside the library
_SAMPLE = "The quick brown fox jumps over the lazy dog, and nobody minds at all."


class _VoiceQuery(ctypes.Structure):
    """`espeak_VOICE` of speak_lib.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@define
class Espeak:
    """The library, loaded and ready. Only one object a process."""

    _library: ctypes.CDLL
    _library_hz: int
    _take: list[Callable[[bytes], bool]] = field(factory=list, init=False)  # who listens to the sentence being spoken
    _callback: object = field(default=None, init=False)  # kept: the library holds only its address
    _identifiers: dict[str, str] = field(factory=dict, init=False)  # of a language's voice
    _levellers: dict[tuple[str, EspeakSound], Leveller] = field(factory=dict, init=False)

    @classmethod
    def load(cls) -> Espeak:
        """Load the library of the `espeakng-loader` wheel. Raises EngineError when it does not start."""
        try:
            library = ctypes.CDLL(espeakng_loader.get_library_path())
        except OSError as error:
            raise EngineError(f"the library of espeakng-loader does not load: {error}") from None
        library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_VoiceQuery)
        data = str(espeakng_loader.get_data_path()).encode()
        rate_hz = library.espeak_Initialize(_SYNCHRONOUS, _CHUNK_MS, data, _DONT_EXIT)
        if rate_hz <= 0:
            raise EngineError(f"espeak_Initialize returned {rate_hz}")
        espeak = cls(library, rate_hz)
        espeak._listen()
        return espeak

    def _listen(self) -> None:
        def heard(samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
            if count <= 0 or not self._take:
                return 0
            return 0 if self._take[-1](ctypes.string_at(samples, 2 * count)) else 1

        self._callback = _Callback(heard)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, profile: VoiceProfile, speed: float, language: str, take: Callable[[bytes], bool]) -> None:
        """Speak one sentence; `take` gets 24 kHz PCM16 in pieces of about 60 ms and returns False to end it.

        Raises EngineError for a language or a voice that the library does not have.
        """
        from trio_voice.audio.resample import Resampler  # noqa: PLC0415 - see above

        sound = profile.espeak
        self._choose(sound, language)
        leveller = self._leveller(sound, language)
        self._set_tempo(sound.words_per_minute * speed)
        resampler = Resampler(self._library_hz, RATE_HZ)
        if self._synthesise(text, lambda pcm16: take(leveller.level(resampler.convert(pcm16)))):
            take(leveller.level(resampler.flush()) + bytes(2 * round(pause_s(text) / speed * RATE_HZ)))

    def _choose(self, sound: EspeakSound, language: str) -> None:
        wanted = f"{self._identifier(language)}+{sound.variant}"
        code = self._library.espeak_SetVoiceByName(wanted.encode())
        if code != 0:
            raise EngineError(f"espeak-ng has no voice {wanted!r} (code {code})")
        self._set(_PITCH, sound.pitch)
        self._set(_RANGE, sound.pitch_range)
        self._set(_VOLUME, _FULL_VOLUME)

    def _identifier(self, language: str) -> str:
        known = self._identifiers.get(language)
        if known is None:
            code = self._library.espeak_SetVoiceByProperties(ctypes.byref(_VoiceQuery(languages=language.encode())))
            if code != 0:
                raise EngineError(f"espeak-ng does not speak {language!r} (code {code})")
            known = self._library.espeak_GetCurrentVoice().contents.identifier.decode()
            self._identifiers[language] = known
        return known

    def _set_tempo(self, words_per_minute: float) -> None:
        spoken = max(SLOWEST_WORDS_PER_MINUTE, round(words_per_minute))
        gap_s = max(0.0, 60 / words_per_minute - 60 / spoken)
        self._set(_RATE, spoken)
        self._set(_WORD_GAP, round(gap_s / _WORD_GAP_UNIT_S))

    def _set(self, parameter: int, value: int) -> None:
        code = self._library.espeak_SetParameter(parameter, value, 0)
        if code != 0:
            raise EngineError(f"espeak_SetParameter({parameter}, {value}) returned {code}")

    def _leveller(self, sound: EspeakSound, language: str) -> Leveller:
        from trio_voice.realtime_server.voice_level import Leveller  # noqa: PLC0415 - see above

        leveller = self._levellers.get((language, sound))
        if leveller is None:
            leveller = self._levellers[language, sound] = Leveller()
            sample = bytearray()

            def collect(pcm16: bytes) -> bool:
                sample.extend(pcm16)
                return True

            self._set_tempo(sound.words_per_minute)
            self._synthesise(_SAMPLE, collect)
            leveller.learn(bytes(sample), self._library_hz)
        return leveller

    def _synthesise(self, text: str, take: Callable[[bytes], bool]) -> bool:
        """Speak with the voice as it is set; whether it was spoken to its end."""
        wanted = True

        def take_while_wanted(pcm16: bytes) -> bool:
            nonlocal wanted
            wanted = wanted and take(pcm16)
            return wanted

        self._take.append(take_while_wanted)
        data = text.encode() + b"\0"
        code = self._library.espeak_Synth(data, len(data), 0, 0, 0, _UTF8, None, None)
        self._take.pop()
        if code != 0:
            raise EngineError(f"espeak_Synth returned {code}")
        return wanted
