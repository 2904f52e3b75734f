"""Calls come and go at random, with faults on both sides: what is left when all have gone?

    python -m bench.soak [--minutes 5] [--rate 4] [--seed 1]

Callers do everything that a peer can do (see bench/random_caller.py); the model's sessions get faults at random. At the end the
tasks, timers, threads and descriptors of the server's process must be those of the beginning, and its resident memory must not
have grown with the number of calls: the slope over the second half of the run is printed. Exit code 1 when something is left.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import click
import msgspec
import trio
from attrs import asdict, define, field
from rich.console import Console
from rich.table import Table

from bench.processes import Measured, free_port, started, wait_until_listening
from bench.random_caller import RandomCaller, Story
from bench.results_folder import write_result
from bench.watched_server import Living
from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.phone.synthetic import synthetic_speech

SERVER_PROCESSOR, CALLERS_PROCESSOR = 1, 0
WARM_UP_CALLS = 40
SETTLED_LIMIT_S = 120.0
SAMPLE_EVERY_S = 1.0
FAULT_EVERY_S = 0.5
SLOPE_LIMIT_BYTES = 2048.0
"""A call may leave so much resident memory behind, in the long run: noise of the allocator, not a leak."""
LOOK_LIMIT_S = 30.0
SETTINGS = ("call.media_limit_s=4", "call.longest_call_s=40", "call.longest_call_notice_s=4", "server.log_level=error")
FAULTS: tuple[dict[str, object], ...] = (
    {},
    {"stragglers": 3},
    {"missing_done": 1},
    {"refuse_creates": 1},
    {"fail_responses": 1},
    {"late_done": True},
    {"close_after_s": 2.0},
    {"reset_after_s": 1.5},
    {"silent_after_s": 1.0},
    {"jitter_ms": 300},
    {"duplicate_every": 3},
    {"reorder_every": 4},
    {"unknown_every": 2},
)
NO_FAULTS: dict[str, object] = {
    "stragglers": 0, "missing_done": 0, "refuse_creates": 0, "fail_responses": 0, "late_done": False, "close_after_s": 0,
    "reset_after_s": 0, "silent_after_s": 0, "jitter_ms": 0, "duplicate_every": 0, "reorder_every": 0, "unknown_every": 0,
}  # fmt: skip


@define(eq=False)
class Watch:
    """The server's process, seen through its window (bench/watched_server.py)."""

    process: Measured
    log: Path
    _read: int = 0

    async def look(self) -> Living:
        """What lives there now. Raises RuntimeError when the server does not say it in time."""
        self.process.process.send_signal(signal.SIGUSR1)
        with trio.move_on_after(LOOK_LIMIT_S):
            while self.process.process.returncode is None:
                text = self.log.read_text(encoding="utf-8", errors="replace")
                lines = [line for line in text[self._read :].splitlines(keepends=True) if line.startswith("LIVING ")]
                if lines and lines[-1].endswith("\n"):
                    self._read = len(text)
                    return msgspec.json.decode(lines[-1].removeprefix("LIVING "), type=Living)
                await trio.sleep(0.05)
        state = "still runs" if self.process.process.returncode is None else f"ended with {self.process.process.returncode}"
        last_words = [line for line in self.log.read_text("utf-8", "replace").splitlines() if not line.startswith("LIVING ")][
            -30:
        ]
        raise RuntimeError("\n".join([f"the server, which {state}, did not show what lives in it; its log ends:", *last_words]))

    def complaints(self) -> list[str]:
        """Log lines of errors that nobody expected."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return [line for line in text.splitlines() if "REALTIME_FATAL" in line or "Traceback" in line]


@define(eq=False)
class Soak:
    """One run."""

    watch: Watch
    port: int
    model_url: str
    random: Random
    story: Story = field(factory=Story)
    samples: list[tuple[int, Living]] = field(factory=list)
    """The number of calls so far, and what lived."""

    async def run(self, calls_per_s: float, seconds: float) -> tuple[Living, Living]:
        """Let calls come for so long, then wait until they have gone. Returns what lived before and after."""
        await self._churn(calls_per_s, WARM_UP_CALLS / calls_per_s)
        before = await self._settled()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sample)
            nursery.start_soon(self._break_the_model)
            await self._churn(calls_per_s, seconds)
            nursery.cancel_scope.cancel()
        await set_faults(self.model_url, NO_FAULTS)
        return before, await self._settled(like=before)

    async def _churn(self, calls_per_s: float, seconds: float) -> None:
        speech = pcm16_to_ulaw(synthetic_speech(1, 4.0))
        quiet = bytes(0xF8 | at * 7 % 8 for at in range(8000))
        until = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            while trio.current_time() < until:
                caller = RandomCaller(self.story.calls, Random(self.random.random()), speech, quiet, self.story)
                nursery.start_soon(caller.call, self.port)
                await trio.sleep(self.random.expovariate(calls_per_s))

    async def _sample(self) -> None:
        while True:
            await trio.sleep(SAMPLE_EVERY_S)
            self.samples.append((self.story.calls, await self.watch.look()))

    async def _break_the_model(self) -> None:
        while True:
            await trio.sleep(FAULT_EVERY_S)
            await set_faults(self.model_url, NO_FAULTS | self.random.choice(FAULTS))

    async def _settled(self, like: Living | None = None) -> Living:
        """What lives when nothing changes any more, or (at the end) as soon as nothing is left."""
        last = await self.watch.look()
        with trio.move_on_after(SETTLED_LIMIT_S):
            while True:
                await trio.sleep(2.0)
                now = await self.watch.look()
                if not left_over(like or last, now) and (like is not None or now.tasks == last.tasks):
                    return now
                last = now
        return last


async def set_faults(model_url: str, switches: dict[str, object]) -> None:
    """Set the switches of the embedded model's sessions to come."""
    headers = {"Content-Type": "application/json"}
    url = f"{model_url}/control/switches"
    request = urllib.request.Request(url, msgspec.json.encode(switches), headers, method="PATCH")  # noqa: S310 - our own
    await trio.to_thread.run_sync(_open, request)


def _open(request: urllib.request.Request) -> None:
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - our own
        pass


def left_over(before: Living, after: Living) -> list[str]:
    """What is there that was not there before, in words. Idle threads of Trio's cache end by themselves and are no leak."""
    pairs = (
        ("tasks", before.tasks, after.tasks),
        ("timers", before.timers, after.timers),
        ("descriptors", before.descriptors, after.descriptors),
        ("threads", before.threads, after.threads),
    )
    return [f"{what}: {one} before, {other} after" for what, one, other in pairs if other > one]


def slope_bytes(samples: Sequence[tuple[int, Living]]) -> float:
    """Resident bytes that each call of the second half of the run left behind: the slope of a least-squares line."""
    half = [(calls, living.resident_kb * 1024) for calls, living in samples[len(samples) // 2 :]]
    if len(half) < 2:
        return 0.0
    mean_x = sum(x for x, _ in half) / len(half)
    mean_y = sum(y for _, y in half) / len(half)
    spread = sum((x - mean_x) ** 2 for x, _ in half)
    return sum((x - mean_x) * (y - mean_y) for x, y in half) / spread if spread else 0.0


@asynccontextmanager
async def watched_server(model_url: str, folder: Path) -> AsyncIterator[tuple[Watch, int]]:
    """The server under the window, with a model of the bench's."""
    port, log = free_port(), folder / "server.log"
    arguments = ["-m", "bench.watched_server", "--port", str(port), "--calls-folder", str(folder / "calls")]
    for assignment in (f"model.url={model_url.replace('http', 'ws', 1)}/v1", *SETTINGS):
        arguments += ["--set", assignment]
    async with started(arguments, SERVER_PROCESSOR, log) as process:
        await wait_until_listening(port)
        yield Watch(process, log), port


async def soak(calls_per_s: float, seconds: float, seed: int, console: Console) -> dict[str, object]:
    """Run, print, and return the report; its `left` is empty when nothing is left."""
    with tempfile.TemporaryDirectory(prefix="trio-voice-soak-") as name:
        folder, model_port = Path(name), free_port()
        model = ["-m", "trio_voice", "model", "--port", str(model_port), "--cheap", "--quiet"]
        async with started(model, CALLERS_PROCESSOR, folder / "model.log"):
            await wait_until_listening(model_port)
            model_url = f"http://127.0.0.1:{model_port}"
            async with watched_server(model_url, folder) as (watch, port):
                run = Soak(watch, port, model_url, Random(seed))
                before, after = await run.run(calls_per_s, seconds)
                left, slope = left_over(before, after), slope_bytes(run.samples)
                left += [f"log: {line[:200]}" for line in watch.complaints()[:5]]
    most = max((living.resident_kb for _, living in run.samples), default=after.resident_kb)
    table = Table("what", "before", "after", title=f"{run.story.calls} calls, {seconds:g} s")
    for what, one in asdict(before).items():
        table.add_row(what, f"{one:,}", f"{asdict(after)[what]:,}")
    console.print(table)
    console.print(
        f"resident memory: at most {most / 1024:.0f} MB; {slope:+.0f} bytes a call in the second half. "
        f"{run.story.frames:,} frames sent, {run.story.heard_bytes / 8000:,.0f} s heard, {run.story.ended_by_server} calls "
        f"ended by the server, {run.story.refused} connections not taken; callers left by {run.story.leavings}"
    )
    if seconds >= 120 and slope > SLOPE_LIMIT_BYTES:
        left.append(f"resident memory grows by {slope:.0f} bytes a call")
    console.print("Nothing is left." if not left else "LEFT BEHIND: " + "; ".join(left))
    return {"calls": run.story.calls, "seconds": seconds, "before": asdict(before), "after": asdict(after), "slope_bytes": slope,
            "left": left}  # fmt: skip


@click.command()
@click.option("--minutes", type=float, default=5.0, show_default=True, help="How long calls come.")
@click.option("--rate", type=float, default=4.0, show_default=True, help="Calls a second.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of everything that is random.")
def main(minutes: float, rate: float, seed: int) -> None:
    """Run, and write bench/results/soak.json."""
    console = Console()
    report = trio.run(soak, rate, minutes * 60, seed, console)
    write_result("soak", report)
    if report["left"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
