"""What a caller does in a call, and the caller who does it: frame by frame, without I/O and without a clock.

A `Scenario` is a list of steps, each with the moment that it waits for. A `Performance` is one caller who plays it: for every
20 ms of the call it is told what came out of the telephone and answers with what went in. So a scenario means the same in real
time, in virtual time, and after the machine has stalled.

The caller knows when the agent speaks the way a person does, by ear: a frame louder than -50 dBFS is speech, and the agent has
finished when nothing was heard for a while.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field, frozen, validators

from trio_voice.audio.g711 import FRAME_BYTES, FRAME_MS, ULAW_SILENCE, ulaw_to_pcm16
from trio_voice.audio.levels import rms_dbfs
from trio_voice.phone.carrier import Happening, LineEvent
from trio_voice.phone.voice import NOISE_DBFS, VOICED_DBFS, Speech, comfort_noise

_FRAMES_PER_S = 1000 / FRAME_MS
_SILENT_FRAME = bytes([ULAW_SILENCE]) * FRAME_BYTES
_DIGIT_EVERY_FRAMES = 10
_AGENT_PAUSE_FRAMES = 30
"""Silence of 600 ms ends what the events call one utterance of the agent; between sentences it is shorter."""


def _seconds_to_frames(seconds: float) -> int:
    return round(seconds * _FRAMES_PER_S)


# --- moments -----------------------------------------------------------------------------------------------------------


@frozen
class At:
    """That many seconds after the call was answered (at once, if they are over)."""

    seconds: float


@frozen
class After:
    """That many seconds after the step before it."""

    seconds: float


@frozen
class AfterAgent:
    """After the agent has spoken (since the step before) and was silent for `pause_s`, or after `limit_s` in any case."""

    pause_s: float = 0.8
    limit_s: float = 15.0


@frozen
class DuringAgent:
    """That many seconds after the agent was first heard (since the step before), or after `limit_s` in any case."""

    after_s: float
    limit_s: float = 15.0


Moment = At | After | AfterAgent | DuringAgent


# --- steps -------------------------------------------------------------------------------------------------------------


@frozen
class Say:
    """Speak an utterance to its end."""

    speech: Speech
    when: Moment = field(factory=AfterAgent)


@frozen
class Press:
    """Press keys, 200 ms apart."""

    digits: str = field(validator=validators.matches_re(r"[0-9*#A-D]+"))
    when: Moment = field(factory=AfterAgent)


@frozen
class HangUp:
    """End the call."""

    when: Moment = field(factory=AfterAgent)


Step = Say | Press | HangUp


def _as_tuple(steps: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(steps)


@frozen
class Scenario:
    """A caller's part. After the last step the caller waits for the agent's last word and hangs up.

    `hang_up_at_s` ends the call at that moment whatever happens then, `limit_s` is the longest call. `noise_dbfs` is the line
    noise between the utterances (None: digital silence).
    """

    steps: tuple[Step, ...] = field(default=(), converter=_as_tuple)
    hang_up_at_s: float | None = None
    limit_s: float = 180.0
    noise_dbfs: float | None = NOISE_DBFS


@frozen
class Spoken:
    """An utterance in the call: `onset_s` and `end_s` bound its sound, in seconds since the answer."""

    text: str
    onset_s: float
    end_s: float


@frozen
class Frame:
    """What the caller did in one frame."""

    said: bytes
    digits: str = ""
    hangs_up: bool = False


# --- the caller --------------------------------------------------------------------------------------------------------


@define(eq=False)
class Performance:
    """One caller who plays a scenario. Call `perform` once for every 20 ms of the call, in order."""

    scenario: Scenario
    spoken: list[Spoken] = field(factory=list, init=False)
    events: list[LineEvent] = field(factory=list, init=False)
    _now: int = field(default=0, init=False)  # all moments of a performance are numbers of frames
    _step: int = field(default=0, init=False)
    _step_since: int = field(default=0, init=False)
    _agent_since: int | None = field(default=None, init=False)
    _agent_last: int | None = field(default=None, init=False)
    _agent_speaks: bool = field(default=False, init=False)
    _speech: Speech | None = field(default=None, init=False)
    _speech_since: int = field(default=0, init=False)
    _digits: str = field(default="", init=False)
    _digit_next: int = field(default=0, init=False)
    _noise: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._noise = comfort_noise(self.scenario.noise_dbfs)

    @property
    def over(self) -> bool:
        """Every step has been played to its end."""
        return self._step == len(self.scenario.steps) and not self._busy

    def perform(self, heard: bytes) -> Frame:
        """Hear 160 bytes of mu-law, and do the next 20 ms of the scenario."""
        self._listen(heard)
        hangs_up = self._hangs_up_anyway()
        while not hangs_up and not self._busy and self._is_due(step := self._next_step()):
            hangs_up = self._begin(step)
        frame = Frame(self._speak(), self._press(), hangs_up)
        self._now += 1
        return frame

    @property
    def _busy(self) -> bool:
        return self._speech is not None or bool(self._digits)

    @property
    def _now_s(self) -> float:
        return self._now / _FRAMES_PER_S

    def _listen(self, heard: bytes) -> None:
        if heard != _SILENT_FRAME and rms_dbfs(ulaw_to_pcm16(heard)) > VOICED_DBFS:
            if self._agent_since is None:
                self._agent_since = self._now
            self._agent_last = self._now
            if not self._agent_speaks:
                self._agent_speaks = True
                self.events.append(LineEvent(self._now_s, Happening.AGENT_HEARD))
        elif self._agent_speaks and self._agent_last is not None and self._now - self._agent_last > _AGENT_PAUSE_FRAMES:
            self._agent_speaks = False
            self.events.append(LineEvent((self._agent_last + 1) / _FRAMES_PER_S, Happening.AGENT_SILENT))

    def _hangs_up_anyway(self) -> bool:
        at_s = self.scenario.hang_up_at_s
        return self._now_s >= (self.scenario.limit_s if at_s is None else min(at_s, self.scenario.limit_s))

    def _next_step(self) -> Step:
        return self.scenario.steps[self._step] if self._step < len(self.scenario.steps) else HangUp()

    def _is_due(self, step: Step) -> bool:
        match step.when:
            case At(seconds=seconds):
                return self._now >= _seconds_to_frames(seconds)
            case After(seconds=seconds):
                return self._waited(seconds)
            case DuringAgent(after_s=after_s, limit_s=limit_s):
                since = self._agent_since
                return self._waited(limit_s) or (since is not None and self._now - since >= _seconds_to_frames(after_s))
            case AfterAgent(pause_s=pause_s, limit_s=limit_s):
                return self._waited(limit_s) or (self._agent_since is not None and self._agent_silent_for(pause_s))

    def _waited(self, seconds: float) -> bool:
        return self._now - self._step_since >= _seconds_to_frames(seconds)

    def _agent_silent_for(self, seconds: float) -> bool:
        return self._agent_last is not None and self._now - self._agent_last > _seconds_to_frames(seconds)

    def _begin(self, step: Step) -> bool:
        """Begin a step; True: it ends the call."""
        self._step = min(self._step + 1, len(self.scenario.steps))
        match step:
            case HangUp():
                return True
            case Press(digits=digits):
                self._digits, self._digit_next = digits, self._now
            case Say(speech=speech):
                self._speech, self._speech_since = speech, self._now
                onset_s, end_s = ((self._now * FRAME_MS + edge_ms) / 1000 for edge_ms in (speech.onset_ms, speech.end_ms))
                self.spoken.append(Spoken(speech.text, onset_s, end_s))
                self.events.append(LineEvent(onset_s, Happening.CALLER_SPEAKS, speech.text))
        return False

    def _end_step(self) -> None:
        self._step_since = self._now + 1
        self._agent_since = None

    def _speak(self) -> bytes:
        if self._speech is None:
            begin = self._now * FRAME_BYTES % len(self._noise)
            return self._noise[begin : begin + FRAME_BYTES]
        number = self._now - self._speech_since
        frame = self._speech.frame(number)
        if number + 1 >= self._speech.frames:
            self.events.append(LineEvent(self.spoken[-1].end_s, Happening.CALLER_SILENT))
            self._speech = None
            self._end_step()
        return frame

    def _press(self) -> str:
        if not self._digits or self._now < self._digit_next:
            return ""
        digit, self._digits = self._digits[0], self._digits[1:]
        self._digit_next = self._now + _DIGIT_EVERY_FRAMES
        if not self._digits:
            self._end_step()
        return digit
