"""A call that is lived and recorded at the same time, as the shell does it, in a time of its own."""

from __future__ import annotations

from trio_voice.core.call import Call
from trio_voice.core.events import (
    CallerAudio,
    CallerHungUp,
    CallStarted,
    Event,
    ItemAdded,
    ModelAudio,
    ModelAudioEnded,
    ModelTranscript,
    PlaybackMarked,
    ResponseCreated,
    ResponseDone,
    ResponseStatus,
    SessionReady,
    SpeechStarted,
    SpeechStopped,
    TurnCommitted,
)
from trio_voice.core.settings import CallSettings
from trio_voice.storage.journal import Header, JournalWriter

FRAME_S = 0.02
HEADER = Header(call_id="20261121-093012-00c0ffee", call_sid="CA1", started_at="2026-11-21T09:30:12.000000Z", version="0.1.0")


class Tape:
    """Feeds a `Call`, echoes its marks when they are due, and keeps the journal."""

    def __init__(self, header: Header = HEADER, *, keep_audio: bool = False, call: Call | None = None) -> None:
        self.call = call or Call(header.settings, header.wording, header.apology, header.marks, header.bytes_per_ms)
        self.writer = JournalWriter(keep_audio)
        self.lines = [self.writer.header(header)]
        self.now = 0.0
        self.frames = 0

    @property
    def text(self) -> str:
        return "".join(line + "\n" for line in self.lines)

    def feed(self, event: Event) -> None:
        self.lines.append(self.writer.event(self.now, event))
        self.lines += [self.writer.command(self.now, command) for command in self.call.receive(event, self.now)]

    def ring(self, until: float) -> None:
        while (deadline := self.call.next_deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            timer = self.call.next_timer()
            assert timer is not None
            self.lines.append(self.writer.timer(self.now, timer))
            self.lines += [self.writer.command(self.now, command) for command in self.call.handle_timer(self.now)]
        self.now = until

    def caller_frames(self, count: int, level_dbfs: float = -60.0) -> None:
        """That many frames of the caller's, 20 ms apart, no two the same."""
        for _ in range(count):
            self.frames += 1
            self.ring(round(self.now + FRAME_S, 6))
            audio = self.frames.to_bytes(4, "big") * 40
            self.feed(CallerAudio(audio, level_dbfs if self.frames % 2 else None))

    def begin(self) -> None:
        self.feed(CallStarted("CA1"))
        self.caller_frames(5)
        self.feed(SessionReady(1))

    def reply(self, request: int, frames: int, *, with_caller: bool = False, echo: bool = True) -> None:
        """The model answers request number `request` with so many frames of speech; marks are echoed at once, or never."""
        response_id, item_id = f"resp_{request}", f"item_{request}"
        self.feed(ResponseCreated(1, response_id, request))
        self.feed(ItemAdded(1, response_id, item_id))
        for number in range(frames):
            first = len(self.lines)
            self.feed(ModelAudio(1, response_id, item_id, (number + 7).to_bytes(4, "big") * 40, -20.0))
            marks = [line.split('"')[9] for line in self.lines[first:] if '"SendMark"' in line]
            if with_caller:
                self.caller_frames(1)
            for mark in marks if echo else ():
                self.feed(PlaybackMarked(mark))
            if number % 50 == 0:
                self.feed(ModelTranscript(1, response_id, item_id, "so to speak "))
        self.feed(ModelAudioEnded(1, response_id, item_id))
        self.feed(ResponseDone(1, response_id, ResponseStatus.COMPLETED))

    def turn(self, number: int) -> None:
        """The caller says something for half a second and falls silent until a reply is asked for."""
        item_id = f"turn_{number}"
        self.feed(SpeechStarted(1, item_id, 640))
        self.caller_frames(25, -20.0)
        self.feed(SpeechStopped(1, item_id, 1140))
        self.feed(TurnCommitted(1, item_id))
        self.caller_frames(10)


def short_call(*, keep_audio: bool = False, settings: CallSettings | None = None) -> Tape:
    """A greeting, a turn, a reply that is interrupted, and a caller who hangs up."""
    header = Header(call_id="c", call_sid="CA1", started_at="then", version="0", settings=settings or CallSettings())
    tape = Tape(header, keep_audio=keep_audio)
    tape.begin()
    tape.reply(1, 30, with_caller=True)
    tape.caller_frames(60)
    tape.turn(1)
    tape.reply(2, 100, echo=False)
    tape.caller_frames(20)
    tape.feed(SpeechStarted(1, "turn_2", 9000))
    tape.caller_frames(10, -20.0)
    tape.feed(CallerHungUp("the carrier sent stop"))
    return tape


def long_call(minutes: float) -> Tape:
    """A greeting that never ends: a frame each way every 20 ms, the most that a call can have to tell."""
    header = Header(call_id="c", call_sid="CA1", started_at="then", version="0", settings=CallSettings(session_age_limit_s=1e6))
    tape = Tape(header)
    tape.begin()
    tape.reply(1, round(minutes * 60 / FRAME_S), with_caller=True)
    tape.feed(CallerHungUp("the carrier sent stop"))
    return tape
