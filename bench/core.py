"""What the state machine itself costs: microseconds an event, bytes a call, seconds a replay.

    python -m bench.core [--repeat 7]

No sockets and no audio work: events go into a `Call`, commands come out. Each figure is the median of several runs.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from trio_voice.core import events as e
from trio_voice.core.call import Call
from trio_voice.core.commands import SendMark
from trio_voice.core.deadlines import Timer
from trio_voice.core.events import Event
from trio_voice.core.history import History
from trio_voice.storage.journal import Header, JournalWriter
from trio_voice.storage.journal_reader import JournalReader
from trio_voice.storage.replay import Verdict, replay

RESULTS = Path(__file__).parent / "results"
FRAME = bytes(160)
DELTA = bytes(2000)
SILENCE_DBFS, SPEECH_DBFS = -55.0, -20.0
STARTS = 200
"""Calls that are only begun: what happens once a call has one sample in each, and the first is that of cold caches."""
AUDIO_TARGET_US, OTHER_TARGET_US, STATE_TARGET_KB, REPLAY_TARGET_S = 3.0, 10.0, 16.0, 1.0


class Conversation:
    """A call that goes on: turn after turn, with a barge-in in every second reply. It keeps the time of each kind of event."""

    def __init__(self, record: Callable[[str], None] | None = None) -> None:
        self.call = Call()
        self.now = 0.0
        self.record = record
        self.writer = JournalWriter()
        self.spent_ns: dict[str, list[int]] = {}
        self.marks: list[str] = []
        if record is not None:
            record(self.writer.header(Header(call_id="bench", call_sid="CA", started_at="", version="0")))

    def feed(self, event: Event) -> None:
        """One event, timed."""
        self._let_timers_act()
        if self.record is not None:
            self.record(self.writer.event(self.now, event))
        began = time.perf_counter_ns()
        commands = self.call.receive(event, self.now)
        spent = time.perf_counter_ns() - began
        self.spent_ns.setdefault(type(event).__name__, []).append(spent)
        for command in commands:
            if isinstance(command, SendMark):
                self.marks.append(command.name)
            if self.record is not None:
                self.record(self.writer.command(self.now, command))

    def _let_timers_act(self) -> None:
        while (at := self.call.next_deadline()) is not None and at <= self.now:
            timer = self.call.next_timer()
            assert isinstance(timer, Timer)
            if self.record is not None:
                self.record(self.writer.timer(at, timer))
            for command in self.call.handle_timer(at):
                if self.record is not None:
                    self.record(self.writer.command(at, command))

    def pass_time(self, seconds: float, level_dbfs: float = SILENCE_DBFS) -> None:
        """The caller's frames, every second one measured, as in a real call."""
        for count in range(round(seconds / 0.02)):
            self.now = round(self.now + 0.02, 6)
            self.feed(e.CallerAudio(FRAME, level_dbfs if count % 2 else None))

    def reply(self, number: int, *, interrupted: bool) -> None:
        """One reply of the model, heard to its end or cut off."""
        response, item = f"resp_{number}", f"item_{number}"
        self.feed(e.ResponseCreated(1, response, number))
        self.feed(e.ItemAdded(1, response, item))
        for _ in range(16):
            self.feed(e.ModelTranscript(1, response, item, "some words "))
            self.feed(e.ModelAudio(1, response, item, DELTA, -20.0))
        self.feed(e.ModelTranscript(1, response, item, "some words " * 16, final=True))
        self.feed(e.ModelAudioEnded(1, response, item))
        self.feed(e.ResponseDone(1, response, e.ResponseStatus.COMPLETED))
        if interrupted:
            self.pass_time(1.0)
            return
        for name in self.marks:
            self.pass_time(0.26)
            self.feed(e.PlaybackMarked(name))
        self.marks.clear()

    def turn(self, number: int) -> None:
        """One turn of the caller's; the model reports after 0.2 s that it has begun, and after 0.34 s that it has ended."""
        self.pass_time(0.2, SPEECH_DBFS)
        self.feed(e.SpeechStarted(1, f"turn_{number}"))
        self.marks.clear()
        self.pass_time(2.0, SPEECH_DBFS)
        self.pass_time(0.34)
        self.feed(e.SpeechStopped(1, f"turn_{number}"))
        self.feed(e.TurnCommitted(1, f"turn_{number}"))
        self.pass_time(0.5)

    def hold(self, seconds: float) -> None:
        """Talk for so long."""
        self.feed(e.CallStarted("CA"))
        self.feed(e.SessionReady(1))
        self.reply(1, interrupted=False)
        number = 1
        while self.now < seconds:
            number += 1
            self.turn(number)
            self.reply(number, interrupted=number % 2 == 0)


def events(repeat: int) -> dict[str, float]:
    """Median microseconds an event, by kind."""
    Conversation().hold(60.0)  # warm
    spent: dict[str, list[float]] = {}
    for seconds in [120.0] * repeat + [0.0] * STARTS:
        conversation = Conversation()
        conversation.hold(seconds)
        for kind, samples in conversation.spent_ns.items():
            spent.setdefault(kind, []).append(statistics.median(samples) / 1000)
    return {kind: statistics.median(medians) for kind, medians in spent.items()}


def _after_a_minute() -> Call:
    conversation = Conversation()
    conversation.hold(60.0)
    return conversation.call


def state_kilobytes(calls: int = 50) -> float:
    """What a call holds after a minute, beyond the history, which grows with the conversation up to its own bound."""
    Conversation().hold(60.0)  # what is made once for all calls
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [_after_a_minute() for _ in range(calls)]
    for call in kept:
        call.parts.history = History()
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / len(kept) / 1024


def replay_seconds(repeat: int) -> float:
    """How long it takes to live ten minutes again."""
    lines: list[str] = []
    Conversation(lines.append).hold(600.0)
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        replayed = replay(JournalReader(iter(lines)), until_s=599.0)
        times.append(time.perf_counter() - began)
        assert replayed.verdict is Verdict.SAME, replayed
    return statistics.median(times)


@click.command()
@click.option("--repeat", type=int, default=7, show_default=True, help="Runs; the median counts.")
def main(repeat: int) -> None:
    """Measure, print a table, write bench/results/core.json."""
    console = Console()
    console.width = max(console.width, 100)
    table = Table("what", "median", "target", title="The state machine's own cost")
    figures = events(repeat)
    for kind, us in sorted(figures.items(), key=lambda pair: -pair[1]):
        target = AUDIO_TARGET_US if kind == "CallerAudio" else OTHER_TARGET_US
        table.add_row(kind, f"{us:.2f} us", f"{target:.0f} us")
    kilobytes, seconds = state_kilobytes(), replay_seconds(min(repeat, 3))
    table.add_row("state of a call after a minute", f"{kilobytes:.1f} KB", f"{STATE_TARGET_KB:.0f} KB")
    table.add_row("replay of a 10-minute call", f"{seconds:.2f} s", f"{REPLAY_TARGET_S:.0f} s")
    console.print(table)
    RESULTS.mkdir(exist_ok=True)
    report = {"event_us": figures, "state_kb": kilobytes, "replay_s": seconds}
    (RESULTS / "core.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
