"""Bad peers beside good calls: do the good ones notice?

    python -m bench.chaos [--calls 20] [--rounds 3] [--only flood]

Some well-behaved callers hold their conversations through the whole run while, one after the other, all of bench/troubles.py
goes wrong beside them, with quiet times between, and all of it again in each round. For each trouble the table shows the 99th
percentile of the good calls' added delay, both ways: the median of the rounds, and how many times that of the quiet times it is.
A good call notices a trouble when its delay is more than twice that of the quiet times (and more than 5 ms, which is the target
without any trouble), when it ends, or when one of its frames is lost. A blocked event loop delays everybody by as long as it
lasts: there it is looked at from 0.3 s after it.

What bad peers leave behind counts as theirs: their windows end some time after they have gone.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import isnan, nan
from pathlib import Path
from random import Random
from statistics import median

import click
import msgspec
import trio
from attrs import define, evolve, field, frozen
from rich.console import Console
from rich.table import Table

from bench.capacity import CALLS_A_SECOND, LATE_LIMIT_MS, percentile
from bench.load import FRAME_BYTES, LoadCaller, Speaker, Totals
from bench.processes import free_port, pin, started, wait_until_listening
from bench.results_folder import write_result
from bench.troubles import FAULTS, Fault, Place
from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.phone.synthetic import synthetic_speech

SERVER_PROCESSOR, CALLERS_PROCESSOR = 1, 0
GOOD_ENOUGH_MS = 5.0
MOST_TIMES = 2.0
LEAD_S = 0.6
"""In which bad peers prepare themselves."""
QUIET_S = 1.5
QUIET_EVERY = 2
"""After so many troubles there is a quiet time."""
LONGER_THAN_ANY_RUN_S = 3600.0
LAST_FRAMES_S = 0.3
SETTINGS = ("server.log_level=error", "call.longest_call_s=3600", "recording.enabled=true", "server.max_calls=2000")


@define(eq=False)
class Window:
    """A time in which the good calls are looked at. `trouble` is "" where it was quiet."""

    trouble: str
    begin: float = field(factory=time.monotonic)
    """The clock of the model's process, too."""
    end: float = 0.0
    totals: Totals = field(factory=Totals)


@define(eq=False)
class Run:
    """All rounds of one run."""

    place: Place
    callers: list[LoadCaller]
    windows: list[Window] = field(factory=list)
    others: list[Totals] = field(factory=list)
    """Of the times between the windows."""

    async def hold(self, faults: Sequence[Fault], rounds: int, seconds: float) -> None:
        """Let the good callers talk while everything goes wrong beside them."""
        began_at, speaker = trio.current_time() + 0.2, Speaker()
        self._look_away()
        async with trio.open_nursery() as calls:
            async with trio.open_nursery() as speaking:
                speaking.start_soon(speaker.run)
                for caller in self.callers:
                    begins_at = began_at + caller.number / CALLS_A_SECOND
                    calls.start_soon(caller.call, self.place.port, "/media/twilio", speaker, begins_at, LONGER_THAN_ANY_RUN_S)
                await trio.sleep_until(began_at + len(self.callers) / CALLS_A_SECOND + 3.0)
                await self._rounds(faults, rounds, seconds)
                speaking.cancel_scope.cancel()
            await trio.sleep(LAST_FRAMES_S)
            calls.cancel_scope.cancel()

    async def _rounds(self, faults: Sequence[Fault], rounds: int, seconds: float) -> None:
        for _ in range(rounds):
            for number, fault in enumerate(faults):
                if number % QUIET_EVERY == 0:
                    await self._quiet()
                await self._trouble(fault, seconds)

    async def _quiet(self) -> None:
        window = self._look("")
        await trio.sleep(QUIET_S)
        self._look_away(window)

    async def _trouble(self, fault: Fault, seconds: float) -> None:
        place = evolve(self.place, begin=trio.Event())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fault.trouble, place)
            await trio.sleep(LEAD_S)
            place.begin.set()
            await trio.sleep(fault.skip_s)
            window = self._look(fault.name)
            await trio.sleep(seconds if fault.seconds is None else fault.seconds)
            nursery.cancel_scope.cancel()
        await trio.sleep(fault.after_s)
        self._look_away(window)

    def _look(self, trouble: str) -> Window:
        window = Window(trouble)
        self.windows.append(window)
        self._count_in(window.totals)
        return window

    def _look_away(self, window: Window | None = None) -> None:
        if window is not None:
            window.end = time.monotonic()
        self.others.append(Totals())
        self._count_in(self.others[-1])

    def _count_in(self, totals: Totals) -> None:
        for caller in self.callers:
            caller.totals = totals

    def frames_sent(self) -> int:
        """By the good callers, in all."""
        return sum(totals.frames_sent for totals in [*self.others, *(window.totals for window in self.windows)])


# --- what came of it


@frozen
class Seen:
    """The good calls in one window."""

    trouble: str
    up_p99_ms: float
    down_p99_ms: float
    ended: int
    late_ms: float
    """How late the callers were (99th percentile)."""


@frozen
class Row:
    """The good calls beside one trouble: medians of the rounds. Delays in ms, and in times those of the quiet times."""

    trouble: str
    up_p99_ms: float
    up_times: float
    down_p99_ms: float
    down_times: float
    ended: int
    valid: bool

    @property
    def is_noticed(self) -> bool:
        """Some good call has noticed the trouble."""
        ways = ((self.up_p99_ms, self.up_times), (self.down_p99_ms, self.down_times))
        return bool(self.ended) or any(times > MOST_TIMES and p99_ms > GOOD_ENOUGH_MS for p99_ms, times in ways)


def seen(windows: Sequence[Window], up: Sequence[tuple[float, float]]) -> list[Seen]:
    """What each window showed; `up`: when a frame reached the model (seconds of the monotonic clock), and its age in ms."""
    return [
        Seen(
            window.trouble,
            percentile([age for at, age in up if window.begin <= at < window.end], 0.99),
            percentile(window.totals.down_ms, 0.99),
            window.totals.ended_early,
            percentile(window.totals.late_ms, 0.99),
        )
        for window in windows
    ]


def rows_of(all_seen: Sequence[Seen]) -> list[Row]:
    """The medians of each trouble's windows, the quiet times first."""
    quiet = [one for one in all_seen if not one.trouble]
    up_ms, down_ms = _median([one.up_p99_ms for one in quiet]), _median([one.down_p99_ms for one in quiet])
    rows = []
    for trouble in sorted({one.trouble for one in all_seen}, key=[one.trouble for one in all_seen].index):
        mine = [one for one in all_seen if one.trouble == trouble]
        up, down = _median([one.up_p99_ms for one in mine]), _median([one.down_p99_ms for one in mine])
        valid = _median([one.late_ms for one in mine]) < LATE_LIMIT_MS
        rows.append(Row(trouble, up, up / up_ms, down, down / down_ms, sum(one.ended for one in mine), valid))
    return rows


def _median(values: Sequence[float]) -> float:
    measured = [value for value in values if not isnan(value)]
    return median(measured) if measured else nan


@frozen
class Report:
    """Of one run."""

    calls: int
    lost_frames: int
    rows: list[Row]

    @property
    def problems(self) -> list[str]:
        """What the good calls noticed, in words."""
        noticed = [row.trouble or "quiet times" for row in self.rows if row.is_noticed]
        return noticed + ([f"{self.lost_frames} frames lost"] if self.lost_frames else [])


def show(report: Report, console: Console) -> None:
    """Print a table."""
    table = Table(title=f"{report.calls} good calls while ... (p99 of the added delay; times that of the quiet times)")
    for column in ("trouble", "up ms", "times", "down ms", "times", "ended", "noticed"):
        table.add_column(column, justify="left" if column == "trouble" else "right")
    for row in report.rows:
        times = ("", "") if not row.trouble else (f"{row.up_times:.1f}", f"{row.down_times:.1f}")
        verdict = "YES" if row.is_noticed else "no" if row.valid else "no (callers late)"
        table.add_row(
            row.trouble or "nothing",
            f"{row.up_p99_ms:.1f}",
            times[0],
            f"{row.down_p99_ms:.1f}",
            times[1],
            str(row.ended),
            verdict,
        )
    console.print(table)
    console.print(
        "The good calls noticed: " + ", ".join(report.problems)
        if report.problems
        else "No good call noticed anything; no frame was lost."
    )


# --- the run


@asynccontextmanager
async def the_server(model_url: str, folder: Path) -> AsyncIterator[tuple[int, int]]:
    """The server; its port and its process id."""
    port = free_port()
    arguments = ["-m", "bench.watched_server", "--port", str(port), "--calls-folder", str(folder / "calls")]
    for assignment in (f"model.url={model_url}", *SETTINGS):
        arguments += ["--set", assignment]
    async with started(arguments, SERVER_PROCESSOR, folder / "server.log") as process:
        await wait_until_listening(port)
        yield port, process.process.pid


async def chaos(calls: int, faults: Sequence[Fault], rounds: int, seconds: float, seed: int) -> Report:
    """Run, and tell what the good calls saw."""
    speech = pcm16_to_ulaw(synthetic_speech(1, 2.0))
    speech = speech[: len(speech) // FRAME_BYTES * FRAME_BYTES]
    quiet = bytes(0xF8 | at * 7 % 8 for at in range(8000))
    with tempfile.TemporaryDirectory(prefix="trio-voice-chaos-") as name:
        folder = Path(name)
        async with started(["-m", "bench.model_process"], CALLERS_PROCESSOR, folder / "model.log") as model:
            url = await model.line()
            async with the_server(url, folder) as (port, process):
                http = url.replace("ws", "http", 1).partition("/v1")[0]
                place = Place(port, process, http, speech, quiet, Random(seed), trio.Event())
                callers = [LoadCaller(number, speech, quiet, Totals(), Random(f"{seed} {number}")) for number in range(calls)]
                run = Run(place, callers)
                await run.hold(faults, rounds, seconds)
            reached = msgspec.json.decode(await model.last_line())
    up = list(zip(reached["up_at_s"], reached["up_ms"], strict=True))
    return Report(calls, run.frames_sent() - len(up), rows_of(seen(run.windows, up)))


@click.command()
@click.option("--calls", type=int, default=20, show_default=True, help="Good calls.")
@click.option("--rounds", type=int, default=3, show_default=True, help="How often each trouble is made.")
@click.option("--seconds", type=float, default=1.5, show_default=True, help="How long each trouble is looked at.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of everything that is random.")
@click.option("--only", multiple=True, help="A word of the troubles that are made; all, unless given.")
def main(calls: int, rounds: int, seconds: float, seed: int, only: tuple[str, ...]) -> None:
    """Run, and write bench/results/chaos.json. Exit code 1 when a good call noticed something."""
    console = Console()
    console.width = max(console.width, 110)
    pin(CALLERS_PROCESSOR)
    faults = [fault for fault in FAULTS if not only or any(word in fault.name for word in only)]
    if not faults:
        raise click.BadParameter("no trouble is called so; there are: " + "; ".join(fault.name for fault in FAULTS))
    report = trio.run(chaos, calls, faults, rounds, seconds, seed)
    show(report, console)
    write_result("chaos", report)
    if report.problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
