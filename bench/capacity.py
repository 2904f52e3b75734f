"""How many calls a processor carries, and what a call costs, beside a relay that does nothing.

    python -m bench.capacity [--calls 10 --calls 50] [--seconds 20] [--repeat 3] [--quick]

The server under test runs on a processor of its own, with everything on (state machine, journal, levels, barge-in); the callers
and the embedded Realtime server share another. Both systems run in turn in the same run, because machines are noisy: compare rows
of one run, and look at the ratio. Delays are taken from the moment of sending to the moment when the kernel got the bytes for the
other side, so that a generator that is slow to read is not in them; but a run in which the callers sent late, or had no processor
time left, is marked invalid.

Calls begin one after the other, 25 a second, and are not in step: each caller waits and speaks as long as its own (seeded) dice
say. Processor time and delays are those of the time from when all have begun until the first one stops conversing; what begins
cost beyond that is told apart. Frames are counted over the whole.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import click
import msgspec
import trio
from attrs import define, field, frozen
from rich.console import Console

from bench.load import LAST_SENTENCE_S, UNHURRIED_S, LoadCaller, Speaker, Totals
from bench.plots import draw
from bench.processes import ROOT, Measured, free_port, pin, started, wait_until_listening
from bench.results_folder import write_result
from bench.rows import Row, show
from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.phone.synthetic import synthetic_speech

SYSTEM_PROCESSOR, CALLERS_PROCESSOR = 1, 0
LATE_LIMIT_MS = 15.0
"""The 99th percentile of the callers' own lateness: callers who are later send what other callers do not, frames in twos."""
BUSIEST = 0.95
"""A generator's processor that is busier may be what limits the run."""
CALLS_A_SECOND = 25.0
WARM_UP_S = 1.5
SETTLE_S = 6.0
"""From the last call's begin to the first moment that counts: the greetings have been heard, and callers have begun to speak."""
LONGEST_SENTENCE_S = 3.0
MODEL = "gpt-realtime-2.1"
INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended, as shells tell it."""


System = Callable[[str, Path], AbstractAsyncContextManager[tuple[Measured, int, str]]]


@asynccontextmanager
async def trio_voice(model_url: str, folder: Path, *more: str) -> AsyncIterator[tuple[Measured, int, str]]:
    """The server, as `make run` starts it, with the bench's model; `more` settings may follow."""
    port = free_port()
    arguments = ["-m", "trio_voice", "serve", "--port", str(port), "--set", f"model.url={model_url}"]
    for assignment in (f"server.calls_folder={folder / 'calls'}", "server.log_level=warning", *more):
        arguments += ["--set", assignment]
    async with started(arguments, SYSTEM_PROCESSOR, folder / "trio-voice.log") as measured:
        await wait_until_listening(port)
        yield measured, port, "/media/twilio"


@asynccontextmanager
async def floor_relay(model_url: str, folder: Path) -> AsyncIterator[tuple[Measured, int, str]]:
    """The relay that does nothing."""
    arguments = ["-m", "bench.floor_relay", f"{model_url}?model={MODEL}"]
    async with started(arguments, SYSTEM_PROCESSOR, folder / "floor-relay.log") as measured:
        yield measured, int(await measured.line()), "/"


SYSTEMS: dict[str, System] = {"trio-voice": trio_voice, "relay (trio-websocket)": floor_relay}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values are; NaN for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


@frozen
class Spent:
    """What the system and the generator had spent at a moment."""

    at: float
    """Seconds of the monotonic clock."""
    system_cpu_s: float
    generator_cpu_s: float
    system_bytes: int

    @classmethod
    def now(cls, system: Measured, model: Measured) -> Spent:
        """Look."""
        return cls(time.monotonic(), system.cpu_s(), model.cpu_s() + time.process_time(), system.resident_bytes())


@define(eq=False)
class Run:
    """One run of one system: calls begin, go on, and end."""

    system: Measured
    model: Measured
    calls: int
    seconds: float
    beginning: Totals = field(factory=Totals, init=False)
    steady: Totals = field(factory=Totals, init=False)
    ending: Totals = field(factory=Totals, init=False)
    spent: list[Spent] = field(factory=list, init=False)
    """Before the first call; when all had begun; when the first stopped conversing."""

    async def hold(self, port: int, path: str) -> None:
        """Let all callers call. Raises ConnectionError when one is not taken."""
        speech = pcm16_to_ulaw(synthetic_speech(1, LONGEST_SENTENCE_S))
        quiet = bytes(0xF8 | at * 7 % 8 for at in range(8000))  # about -55 dBFS
        # The first call is over before the others begin: what is made once for all calls is not to be counted as theirs.
        first, *callers = [LoadCaller(number, speech, quiet, self.beginning, Random(number)) for number in range(self.calls + 1)]
        speaker = Speaker(UNHURRIED_S)
        async with trio.open_nursery() as always:
            always.start_soon(speaker.run)
            await first.call(port, path, speaker, trio.current_time(), WARM_UP_S)
            began_at = trio.current_time()
            steady_at = began_at + self.calls / CALLS_A_SECOND + SETTLE_S
            each_s = steady_at - began_at + self.seconds + LAST_SENTENCE_S
            self._look()
            async with trio.open_nursery() as nursery:
                for caller in callers:
                    begins_at = began_at + caller.number / CALLS_A_SECOND
                    nursery.start_soon(caller.call, port, path, speaker, begins_at, each_s)
                await self._count_to(steady_at, self.steady, callers)
                await self._count_to(steady_at + self.seconds, self.ending, callers)
            always.cancel_scope.cancel()

    async def _count_to(self, at: float, then: Totals, callers: Sequence[LoadCaller]) -> None:
        await trio.sleep_until(at)
        self._look()
        for caller in callers:
            caller.totals = then

    def _look(self) -> None:
        self.spent.append(Spent.now(self.system, self.model))

    def row(self, name: str, seen: dict[str, Any]) -> Row:
        """What the run showed; `seen` is what the model's process saw."""
        before, begin, end = self.spent
        took_s = end.at - begin.at
        up_ms = [age for at, age in zip(seen["up_at_s"], seen["up_ms"], strict=True) if begin.at <= at < end.at]
        late_ms = percentile(self.steady.late_ms, 0.99)
        generator_share = (end.generator_cpu_s - begin.generator_cpu_s) / took_s
        cpu_s = end.system_cpu_s - begin.system_cpu_s
        call_seconds = self.calls * (self.calls / CALLS_A_SECOND / 2 + SETTLE_S)  # while calls began
        setup_cpu_s = begin.system_cpu_s - before.system_cpu_s - call_seconds * cpu_s / (self.calls * took_s)
        totals = (self.beginning, self.steady, self.ending)
        return Row(
            system=name,
            calls=self.calls,
            seconds=took_s,
            cpu_s_per_call_minute=cpu_s / self.calls / took_s * 60,
            cpu_share=cpu_s / took_s,
            setup_cpu_ms=setup_cpu_s / self.calls * 1000,
            kilobytes_per_call=(end.system_bytes - before.system_bytes) / self.calls / 1024,
            up_p50_ms=percentile(up_ms, 0.5),
            up_p99_ms=percentile(up_ms, 0.99),
            down_p50_ms=percentile(self.steady.down_ms, 0.5),
            down_p99_ms=percentile(self.steady.down_ms, 0.99),
            turns=sum(one.turns for one in totals),
            lost_up_frames=sum(one.frames_sent + one.unsent_frames for one in totals) - seen["frames"],
            lost_down_bytes=seen["sent_bytes"] - sum(one.heard_bytes for one in totals),
            ended_early=sum(one.ended_early for one in totals),
            late_p99_ms=late_ms,
            generator_cpu_share=generator_share,
            valid=late_ms < LATE_LIMIT_MS and generator_share < BUSIEST and self.steady.turns > 0,
        )


async def measure(name: str, system: System, calls: int, seconds: float, folder: Path) -> Row:
    """One run of one system with so many calls."""
    async with started(["-m", "bench.model_process"], CALLERS_PROCESSOR, folder / "model.log") as model:
        model_url = await model.line()
        async with system(model_url, folder) as (measured, port, path):
            await trio.sleep(0.5)
            run = Run(measured, model, calls, seconds)
            await run.hold(port, path)
            await trio.sleep(0.5)
        return run.row(name, msgspec.json.decode(await model.last_line()))


async def run(calls: Sequence[int], seconds: float, repeat: int, console: Console) -> list[Row]:
    """All runs, the systems in turn."""
    rows: list[Row] = []
    for count in calls:
        for _ in range(repeat):
            for name, system in SYSTEMS.items():
                with tempfile.TemporaryDirectory(prefix="trio-voice-bench-") as folder:
                    rows.append(await measure(name, system, count, seconds, Path(folder)))
                console.print(f"  {name}, {count} calls: {rows[-1].cpu_s_per_call_minute:.3f} CPU s / call-minute")
    return rows


@click.command()
@click.option("--calls", type=int, multiple=True, default=(10, 50), show_default=True, help="How many at once; repeatable.")
@click.option("--seconds", type=float, default=20.0, show_default=True, help="How long each run is measured.")
@click.option("--repeat", type=int, default=3, show_default=True, help="How often each pair is run.")
@click.option("--quick", is_flag=True, help="One pair of 10 calls, 5 seconds.")
def main(calls: tuple[int, ...], seconds: float, repeat: int, *, quick: bool) -> None:
    """Measure, print a table, write bench/results/capacity.json and capacity.png."""
    console = Console()
    console.width = max(console.width, 160)
    if quick:
        calls, seconds, repeat = (10,), 5.0, 1
    pin(CALLERS_PROCESSOR)
    rows = None
    try:
        rows = trio.run(run, calls, seconds, repeat, console)
    except* KeyboardInterrupt:
        pass
    if rows is None:
        console.print("Interrupted: nothing was written.")
        raise SystemExit(INTERRUPTED)
    machine = {"python": platform.python_version(), "processor": platform.processor() or platform.machine()}
    report = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, "rows": rows}
    target = write_result("capacity", report)
    show(rows, console)
    picture = target.with_suffix(".png")
    draw(rows, picture)
    console.print(f"Written: {target.relative_to(ROOT)}, {picture.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
