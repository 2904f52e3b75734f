"""One call in virtual time: the real `Call`, a scripted model with the embedded server's ear, a carrier, a line, a caller.

Every 20 ms the carrier plays a frame of what it was given, the line returns the agent's echo and adds its noise, the caller may
speak, and the mix goes through mu-law to the `Call`, with its level measured as the server measures it. What the `Call` hands on
to the model is heard by the detector there; what it commands is done at once. The network between the parts takes no time, so a
real line adds its delay to every number here.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

import numpy as np
from attrs import define, field, frozen

from bench.barge_in_callers import FIRST_PATIENCE_S, Caller, Conduct, Diary, Stop, Turn
from bench.barge_in_lines import FRAME_S, FRAME_SAMPLES, RATE_HZ, Echo, EchoPath, Samples
from bench.barge_in_voices import Voices
from trio_voice.audio.g711 import FRAME_BYTES, pcm16_to_ulaw, ulaw_to_pcm16
from trio_voice.audio.levels import rms_dbfs, ulaw_frame_level_dbfs
from trio_voice.core import commands as c
from trio_voice.core import events as e
from trio_voice.core.call import Call
from trio_voice.core.settings import CallSettings
from trio_voice.phone.voice import to_pcm16
from trio_voice.realtime_server.hearing import Hearing, HearingSettings, SpeechBegan
from trio_voice.server.caller_leg import LEVEL_EVERY_FRAMES

DELTA_BYTES = 2000
"""Audio in one delta of the model: 250 ms."""
PACE = 12.0
FIRST_AUDIO_S = 0.43
ANSWER_S = 0.05


@frozen(eq=False)
class Line:
    """The caller's line. `noise` is repeated; `echo` None: nothing comes back. `caller_db`: louder than the usual -26 dBFS."""

    noise: Samples
    echo: EchoPath | None = None
    caller_db: float = 0.0


def caller_level_dbfs(ulaw: bytes) -> float:
    """The level of a caller's frame, as the server measures it."""
    return ulaw_frame_level_dbfs(ulaw)


def agent_level_dbfs(ulaw: bytes) -> float:
    """The level of a piece of the model's speech, as the server measures it."""
    return round(rms_dbfs(ulaw_to_pcm16(ulaw)), 1)


@define(eq=False)
class Carrier:
    """Plays what it is given, in real time, and echoes marks when it has played so far, or flushed."""

    _queue: deque[bytes | str] = field(factory=deque, init=False)
    _waiting_bytes: int = field(default=0, init=False)

    @property
    def left_s(self) -> float:
        """How long it has still to play."""
        return self._waiting_bytes / RATE_HZ

    def queue(self, piece: bytes | str) -> None:
        """Take audio, or the name of a mark."""
        self._queue.append(piece)
        self._waiting_bytes += len(piece) if isinstance(piece, bytes) else 0

    def clear(self) -> list[str]:
        """Forget all of it; the marks that were flushed."""
        marks = [piece for piece in self._queue if isinstance(piece, str)]
        self._queue.clear()
        self._waiting_bytes = 0
        return marks

    def play(self) -> tuple[bytes, list[str]]:
        """Play 20 ms: the audio (less when there is no more), and the marks that were reached."""
        played, marks = b"", []
        while self._queue:
            piece = self._queue[0]
            if isinstance(piece, str):
                marks.append(piece)
                self._queue.popleft()
            elif len(played) == FRAME_BYTES:
                break
            else:
                taken, rest = piece[: FRAME_BYTES - len(played)], piece[FRAME_BYTES - len(played) :]
                played += taken
                self._queue.popleft()
                if rest:
                    self._queue.appendleft(rest)
        self._waiting_bytes -= len(played)
        return played, marks


@define(eq=False)
class Model:
    """Answers every request with the next reply, twelve times faster than it is spoken, and hears what is appended."""

    replies: list[bytes]
    hearing: Hearing
    later: Callable[[float, e.Event], None]
    """Called with the seconds from now and what happens then."""
    _count: int = field(default=0, init=False)
    _turns: int = field(default=0, init=False)
    _cancelled: set[str] = field(factory=set, init=False)

    def create(self, command: c.CreateResponse) -> None:
        """Speak the next reply (the first one is the greeting)."""
        session, audio = command.session, self.replies[self._count % len(self.replies)]
        response_id, item_id = f"r{self._count}", f"i{self._count}"
        self._count += 1
        self.later(ANSWER_S, e.ResponseCreated(session, response_id, command.request))
        self.later(ANSWER_S, e.ItemAdded(session, response_id, item_id))
        for number, at in enumerate(range(0, len(audio), DELTA_BYTES)):
            delta = audio[at : at + DELTA_BYTES]
            after_s = FIRST_AUDIO_S + number * DELTA_BYTES / FRAME_BYTES * FRAME_S / PACE
            self.later(after_s, e.ModelAudio(session, response_id, item_id, delta, agent_level_dbfs(delta)))
        end_s = FIRST_AUDIO_S + len(audio) / FRAME_BYTES * FRAME_S / PACE
        self.later(end_s, e.ModelAudioEnded(session, response_id, item_id))
        self.later(end_s, e.ResponseDone(session, response_id, e.ResponseStatus.COMPLETED))

    def cancel(self, command: c.CancelResponse) -> None:
        """Stop speaking: nothing of the response comes any more but its end."""
        self._cancelled.add(command.response_id)
        self.later(ANSWER_S, e.ResponseDone(command.session, command.response_id, e.ResponseStatus.CANCELLED))

    def still_says(self, event: e.Event) -> bool:
        """Whether something that was to come still comes."""
        match event:
            case e.ModelAudio(response_id=of) | e.ModelAudioEnded(response_id=of):
                return of not in self._cancelled
            case e.ResponseDone(response_id=of, status=e.ResponseStatus.COMPLETED):
                return of not in self._cancelled
            case _:
                return True

    def append(self, command: c.AppendAudio) -> list[e.Event]:
        """Hear the caller; server VAD commits a turn at its end."""
        told: list[e.Event] = []
        for heard in self.hearing.hear(ulaw_to_pcm16(command.audio)):
            if isinstance(heard, SpeechBegan):
                self._turns += 1
                told.append(e.SpeechStarted(command.session, f"u{self._turns}", heard.audio_start_ms))
            else:
                told.append(e.SpeechStopped(command.session, f"u{self._turns}", heard.audio_end_ms))
                told.append(e.TurnCommitted(command.session, f"u{self._turns}"))
        return told


@define(eq=False)
class OneCall:
    """See the module's text; `run` it once."""

    settings: CallSettings
    voices: Voices
    line: Line
    conduct: Conduct
    seed: int
    first_patience_s: float = FIRST_PATIENCE_S
    level_every_frames: int = LEVEL_EVERY_FRAMES
    diary: Diary = field(factory=Diary, init=False)
    _call: Call = field(init=False)
    _model: Model = field(init=False)
    _caller: Caller = field(init=False)
    _carrier: Carrier = field(factory=Carrier, init=False)
    _echo: Echo | None = field(init=False)
    _now: float = field(default=0.0, init=False)
    _agenda: list[tuple[float, int, e.Event]] = field(factory=list, init=False)
    _planned: int = field(default=0, init=False)
    _events: deque[e.Event] = field(factory=deque, init=False)
    _speech_began_s: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        source, settings = np.random.default_rng(self.seed), self.settings
        replies = [self.voices.replies[int(index)] for index in source.permutation(len(self.voices.replies))]
        spoken = [pcm16_to_ulaw(to_pcm16(samples)) for samples in (self.voices.greeting, *replies)]
        hearing = Hearing(HearingSettings(settings.vad_threshold, settings.vad_prefix_ms, settings.vad_silence_ms))
        self._call = Call(settings)
        self._model = Model(spoken, hearing, self._later)
        self._caller = Caller(self.conduct, self.voices, self.first_patience_s, self.line.caller_db, source, self.diary.uttered)
        self._echo = Echo(self.line.echo) if self.line.echo is not None else None

    def run(self, seconds: float) -> Diary:
        """Let the call last so long, and return what happened in it."""
        self._feed(e.CallStarted("CA1"))
        for number in range(round(seconds / FRAME_S)):
            self._pass_until(round((number + 1) * FRAME_S, 6))
            self._one_frame(number)
        self.diary.end_s = self._now
        return self.diary

    # --- the line

    def _one_frame(self, number: int) -> None:
        played, marks = self._carrier.play()
        if played:
            self.diary.agent_s += FRAME_S
        for name in marks:
            self._feed(e.PlaybackMarked(name))
        at = number * FRAME_SAMPLES % len(self.line.noise)
        mixed = self.line.noise[at : at + FRAME_SAMPLES] + self._caller.frame(self._now, self._carrier.left_s)
        if self._echo is not None:
            mixed = mixed + self._echo.frame(_samples(played))
        ulaw = pcm16_to_ulaw(to_pcm16(mixed))
        measured = (number + 1) % self.level_every_frames == 0
        self._feed(e.CallerAudio(ulaw, caller_level_dbfs(ulaw) if measured else None))

    # --- time

    def _later(self, after_s: float, event: e.Event) -> None:
        self._planned += 1
        heapq.heappush(self._agenda, (round(self._now + after_s, 6), self._planned, event))

    def _pass_until(self, until: float) -> None:
        while self._agenda and self._agenda[0][0] <= until:
            at, _, event = heapq.heappop(self._agenda)
            self._let_deadlines_act(at)
            self._now = max(self._now, at)
            if self._model.still_says(event):
                self._feed(event)
        self._let_deadlines_act(until)
        self._now = until

    def _let_deadlines_act(self, until: float) -> None:
        while (deadline := self._call.next_deadline()) is not None and deadline <= until:
            self._now = max(self._now, deadline)
            self._perform(self._call.handle_timer(self._now))
            self._work_off()

    # --- events and commands

    def _feed(self, event: e.Event) -> None:
        self._events.append(event)
        self._work_off()

    def _work_off(self) -> None:
        while self._events:
            event = self._events.popleft()
            match event:
                case e.SpeechStarted():
                    self._speech_began_s = self._now
                case e.TurnCommitted(item_id=item_id):
                    self.diary.turns.append(Turn(item_id, self._speech_began_s, self._now))
                case _:
                    pass
            self._perform(self._call.receive(event, self._now))

    def _perform(self, commands: list[c.Command]) -> None:
        for command in commands:
            match command:
                case c.AppendAudio():
                    self._events.extend(self._model.append(command))
                case c.PlayAudio(audio=audio):
                    self._carrier.queue(audio)
                case c.SendMark(name=name):
                    self._carrier.queue(name)
                case c.ClearPlayback():
                    self.diary.stops.append(Stop(self._now))
                    self._events.extend(map(e.PlaybackMarked, self._carrier.clear()))
                case c.Discard(reason=c.Refusal.TOO_SHORT):
                    self._resumed()
                case c.OpenSession(session=session):
                    self._later(ANSWER_S, e.SessionReady(session))
                case c.CreateResponse():
                    self._model.create(command)
                case c.CancelResponse():
                    self._model.cancel(command)
                case c.DeleteItem(item_id=item_id):
                    for turn in self.diary.turns:
                        turn.dropped = turn.dropped or turn.item_id == item_id
                case _:
                    pass

    def _resumed(self) -> None:
        """The word comes twice for one cough: when it ends, and when the model commits it."""
        if self.diary.stops and self.diary.stops[-1].resumed_at_s is None:
            self.diary.stops[-1].resumed_at_s = self._now


def _samples(ulaw: bytes) -> Samples:
    samples = np.zeros(FRAME_SAMPLES)
    samples[: len(ulaw)] = np.frombuffer(ulaw_to_pcm16(ulaw), "<i2")
    return samples
