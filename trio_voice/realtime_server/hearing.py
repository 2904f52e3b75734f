"""When the caller speaks: the detector behind `server_vad`, as a pure machine (audio in, speech events out).

Two clocks meet here. The wire's: the Realtime API counts *audio appended since the session began* and decides on frames of
32 ms, so `audio_end_ms` is a multiple of 32 and `audio_start_ms` is one less the prefix padding. And the judge's: webrtcvad takes
frames of 10, 20 or 30 ms and nothing else. The audio is therefore judged in 20 ms frames as it comes, and what the judge found is
told at the next 32 ms boundary of the wire's clock; a decision costs at most 31 ms more than the judge itself would need, and
never depends on how the audio was cut into appends.

Speech begins when 4 of the last 5 judged frames are voiced (with fewer, bumps and clicks begin turns), and is dated to the 32 ms
frame in which the first of these lies. It ends at the first boundary that is at least `silence_duration_ms` after the end of the
last voiced frame.

The judge says "voiced" when webrtcvad (mode 3, its strictest) AND the level above 250 Hz say so. Neither is enough alone:
webrtcvad never lets go in hum, and a level is raised by anything. The level is compared with the line's own noise floor (10th
percentile of 3 s), because a fixed level is stuck in every noise.

`threshold` is the API's 0 to 1, "higher requires louder audio": 0.5 stands for the measured optimum, 7 dB above the floor and at
least -48 dBFS; each 0.1 more asks for 1 dB more above the floor and 2.4 dB more in level. So 0 means 2 dB and -60 dBFS, 1 means
12 dB and -36 dBFS. webrtcvad's strictest mode is itself deaf below -48 dBFS, so that below 0.5 its mode 2 is asked, below 0.25
its mode 1.
"""

from __future__ import annotations

from typing import Protocol

import webrtcvad
from attrs import define, field, frozen
from attrs.validators import ge, le

from trio_voice.audio.floor import NoiseFloor
from trio_voice.audio.levels import band_level_dbfs

WIRE_FRAME_MS = 32
BYTES_PER_MS = 16
SAMPLE_RATE_HZ = 8000


@frozen
class SpeechBegan:
    """The caller began to speak; `audio_start_ms` already includes the prefix padding and is not below 0."""

    audio_start_ms: int


@frozen
class SpeechEnded:
    """The caller fell silent; `audio_end_ms` is the clock at the decision, so it includes the silence that was waited for."""

    audio_end_ms: int


@frozen
class HearingSettings:
    """`turn_detection` of type `server_vad` (OpenAI Realtime API reference). Out of range raises ValueError."""

    threshold: float = field(default=0.5, validator=[ge(0.0), le(1.0)])
    prefix_padding_ms: int = field(default=300, validator=ge(0))
    silence_duration_ms: int = field(default=500, validator=ge(0))


class FrameJudge(Protocol):
    """Says of one frame after the other whether it is voiced; it may adapt to what it hears."""

    @property
    def frame_ms(self) -> int:
        """The length of a frame."""
        ...

    @property
    def onset_window(self) -> int:
        """Speech begins when of so many frames..."""
        ...

    @property
    def onset_voiced(self) -> int:
        """... so many are voiced."""
        ...

    def is_voiced(self, pcm16: bytes, threshold: float) -> bool:
        """Judge the next `frame_ms` of 8 kHz PCM16; every frame of the line must pass here, in order."""
        ...


@define
class TelephoneJudge:
    """webrtcvad (mode 3) AND the level above 250 Hz over the line's noise floor; 13 us for a frame of 20 ms."""

    frame_ms: int = field(default=20, init=False)
    onset_window: int = field(default=5, init=False)
    onset_voiced: int = field(default=4, init=False)
    floor: NoiseFloor = field(factory=NoiseFloor, init=False)
    _mode: int = field(default=3, init=False)
    _vad: webrtcvad.Vad = field(factory=lambda: webrtcvad.Vad(3), init=False)

    def is_voiced(self, pcm16: bytes, threshold: float) -> bool:
        """Judge one 20 ms frame (320 bytes)."""
        level_dbfs = band_level_dbfs(pcm16)
        self.floor.add(level_dbfs)
        needed_dbfs = max(self.floor.dbfs + 7.0 + 10.0 * (threshold - 0.5), -48.0 + 24.0 * (threshold - 0.5))
        mode = 3 if threshold >= 0.5 else 2 if threshold >= 0.25 else 1
        if mode != self._mode:
            self._vad.set_mode(mode)  # keeps what it learnt
            self._mode = mode
        speech_like = self._vad.is_speech(pcm16, SAMPLE_RATE_HZ)  # asked for every frame: it adapts to the line
        return speech_like and level_dbfs > needed_dbfs


@define
class Hearing:
    """Audio of one session in, speech events out. Never raises for audio, whatever its content or its cut."""

    settings: HearingSettings
    _judge: FrameJudge = field(factory=TelephoneJudge, kw_only=True)
    _unjudged: bytearray = field(factory=bytearray, init=False)
    _appended_bytes: int = field(default=0, init=False)
    _boundary_ms: int = field(default=0, init=False)  # up to here the wire's frames are decided
    _judged_ms: int = field(default=0, init=False)
    _recent: list[bool] = field(factory=list, init=False)
    _speech_from_ms: int | None = field(default=None, init=False)  # None: nobody speaks
    _voiced_until_ms: int = field(default=0, init=False)

    @property
    def audio_ms(self) -> int:
        """Whole milliseconds of audio appended since the session began."""
        return self._appended_bytes // BYTES_PER_MS

    @property
    def speaking(self) -> bool:
        """Whether a `SpeechBegan` was told whose `SpeechEnded` was not."""
        return self._speech_from_ms is not None

    def hear(self, pcm16_8khz: bytes) -> list[SpeechBegan | SpeechEnded]:
        """Take appended audio in (8 kHz PCM16, any number of bytes) and return what it decided, in order."""
        self._unjudged += pcm16_8khz
        self._appended_bytes += len(pcm16_8khz)
        audio_ms = self.audio_ms
        events: list[SpeechBegan | SpeechEnded] = []
        while audio_ms - self._boundary_ms >= WIRE_FRAME_MS:
            self._boundary_ms += WIRE_FRAME_MS
            events += self._advance()
        return events

    def reset(self) -> None:
        """Forget a turn in progress (after `clear` or a manual `commit`).

        What was appended before can no longer begin a turn. The clock goes on, and so does what was learnt about the line: it is
        the same line.
        """
        while len(self._unjudged) >= self._judge.frame_ms * BYTES_PER_MS:
            self._judge_next()
        self._listen_afresh()

    def _advance(self) -> list[SpeechBegan | SpeechEnded]:
        events: list[SpeechBegan | SpeechEnded] = []
        while self._judged_ms + self._judge.frame_ms <= self._boundary_ms:
            begins_ms = self._judge_next()
            if begins_ms is not None:
                self._speech_from_ms = begins_ms
                on_grid_ms = begins_ms // WIRE_FRAME_MS * WIRE_FRAME_MS
                events.append(SpeechBegan(max(0, on_grid_ms - self.settings.prefix_padding_ms)))
        silent_for_ms = self._boundary_ms - self._voiced_until_ms
        if self._speech_from_ms is not None and silent_for_ms >= self.settings.silence_duration_ms:
            self._listen_afresh()
            events.append(SpeechEnded(self._boundary_ms))
        return events

    def _listen_afresh(self) -> None:
        self._speech_from_ms = None
        self._recent.clear()

    def _judge_next(self) -> int | None:
        """Judge one frame; return when speech began, if this frame is the one that settles it."""
        frame_ms = self._judge.frame_ms
        frame_bytes = frame_ms * BYTES_PER_MS
        voiced = self._judge.is_voiced(bytes(self._unjudged[:frame_bytes]), self.settings.threshold)
        del self._unjudged[:frame_bytes]
        self._judged_ms += frame_ms
        if voiced:
            self._voiced_until_ms = self._judged_ms
        if self._speech_from_ms is not None:
            return None
        self._recent.append(voiced)
        if len(self._recent) > self._judge.onset_window:
            del self._recent[0]
        if self._recent.count(True) < self._judge.onset_voiced:
            return None
        frames_ago = len(self._recent) - self._recent.index(True)
        return self._judged_ms - frames_ago * frame_ms
