"""Calls come and go at random, with faults on both sides: what is left when all have gone?

    python -m bench.soak [--minutes 5] [--rate 8] [--seed 1]

Two servers, a plain one and one that speaks TLS and records, have half of the callers each. Callers do everything that a peer can
do (bench/random_caller.py), others come to the door who are no callers (bench/random_visitor.py), and the model's sessions get
faults at random. At the end the tasks, timers, threads, descriptors and objects of each server must be those of the beginning,
its log without an error, and its resident memory must not have grown with the number of calls: the slope over the second half of
the run is printed. Exit code 1 when something is left.
"""

from __future__ import annotations

import ssl
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import click
import msgspec
import trio
import trustme
from attrs import asdict, define, field
from rich.console import Console
from rich.table import Table

from bench.processes import START_LIMIT_S, free_port, started, wait_until_listening
from bench.random_caller import RandomCaller, Story
from bench.random_visitor import RandomVisitor
from bench.results_folder import write_result
from bench.watch import Watch
from bench.watched_server import Living
from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.phone.synthetic import synthetic_speech

SERVER_PROCESSOR, CALLERS_PROCESSOR = 1, 0
WARM_UP_CALLS = 40
VISITORS_PER_CALL = 0.5
LONGEST_S = 14.0
"""A caller stays up to so long before it leaves in one way or another."""
SETTLED_LIMIT_S = 120.0
SAMPLE_EVERY_S = 1.0
FAULT_EVERY_S = 0.5
SLOPE_LIMIT_BYTES = 4096.0
"""A call may leave so much resident memory behind in the second half: what the allocator keeps when more calls live at once than
ever before. It ends after a thousand calls; the objects tell a leak earlier."""
SLOPE_FROM_CALLS = 1000
"""Of fewer calls the slope says nothing."""
OBJECTS_LIMIT = 500
"""So many more objects there may be at the end: what was loaded, or kept ready, for the first of its kind."""
CALLS_PER_OBJECT = 4
"""One object may be left of so many calls: caches that fill."""
KNOWN_CALLS = 20
"""So many of the latest calls are those that a visitor may ask for."""
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
    {"stall_after_ms": 500, "stall_ms": 3000},
    {"reject_updates": 1},
)
NO_FAULTS: dict[str, object] = {
    "stragglers": 0, "missing_done": 0, "refuse_creates": 0, "fail_responses": 0, "late_done": False, "close_after_s": 0,
    "reset_after_s": 0, "silent_after_s": 0, "jitter_ms": 0, "duplicate_every": 0, "reorder_every": 0, "unknown_every": 0,
    "stall_after_ms": 0, "stall_ms": 0, "reject_updates": 0,
}  # fmt: skip


@define(eq=False)
class Door:
    """One of the servers: how it is reached and watched, and what was seen of it."""

    name: str
    port: int
    watch: Watch
    tls: ssl.SSLContext | None
    token: str
    """Of its API."""
    story: Story = field(factory=Story)
    samples: list[tuple[int, Living]] = field(factory=list)
    """The number of calls so far, and what lived."""

    async def settled(self, like: Living | None = None) -> Living:
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


@define(eq=False)
class Soak:
    """One run."""

    doors: Sequence[Door]
    model_url: str
    random: Random
    visits: dict[str, int] = field(factory=dict)
    _calls: int = 0

    async def run(self, calls_per_s: float, seconds: float) -> list[tuple[Living, Living]]:
        """Let calls come for so long, then wait until they have gone. Returns what lived before and after, for each door."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._churn, calls_per_s, WARM_UP_CALLS / calls_per_s)
            await trio.sleep(WARM_UP_CALLS / calls_per_s)
            for door in self.doors:
                visitor = RandomVisitor(self.random, door.token, self._latest_calls())
                nursery.start_soon(visitor.read_every_page, door.port, door.tls)
        before = [await door.settled() for door in self.doors]
        for door in self.doors:
            door.watch.longest_pass_ms = 0.0  # that of the start is another matter
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sample)
            nursery.start_soon(self._break_the_model)
            await self._churn(calls_per_s, seconds)
            nursery.cancel_scope.cancel()
        await set_faults(self.model_url, NO_FAULTS)
        return [(one, await door.settled(like=one)) for door, one in zip(self.doors, before, strict=True)]

    async def _churn(self, calls_per_s: float, seconds: float) -> None:
        speech = pcm16_to_ulaw(synthetic_speech(1, 4.0))
        quiet = bytes(0xF8 | at * 7 % 8 for at in range(8000))
        until = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            while trio.current_time() < until:
                door, dice = self.random.choice(self.doors), Random(self.random.random())
                if self.random.random() < VISITORS_PER_CALL / (1 + VISITORS_PER_CALL):
                    visitor = RandomVisitor(dice, door.token, self._latest_calls(), self.visits)
                    nursery.start_soon(visitor.visit, door.port, door.tls)
                else:
                    caller = RandomCaller(self._calls, dice, speech, quiet, door.story, LONGEST_S)
                    self._calls += 1
                    nursery.start_soon(caller.call, door.port, door.tls)
                await trio.sleep(self.random.expovariate(calls_per_s * (1 + VISITORS_PER_CALL)))

    def _latest_calls(self) -> tuple[str, ...]:
        """The carrier's ids of the calls that are likely to be live."""
        return tuple(f"CA{number:032x}" for number in range(max(0, self._calls - KNOWN_CALLS), self._calls))

    async def _sample(self) -> None:
        while True:
            await trio.sleep(SAMPLE_EVERY_S)
            for door in self.doors:
                door.samples.append((door.story.calls, await door.watch.look()))

    async def _break_the_model(self) -> None:
        while True:
            await trio.sleep(FAULT_EVERY_S)
            await set_faults(self.model_url, NO_FAULTS | self.random.choice(FAULTS))


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
async def watched_server(name: str, model_url: str, folder: Path, authority: trustme.CA | None) -> AsyncIterator[Door]:
    """The server under the window, with a model of the bench's; with an authority it speaks TLS, and records."""
    await trio.Path(folder).mkdir()
    port, log, tls, settings = free_port(), folder / "server.log", None, list(SETTINGS)
    if authority is not None:
        certificate, tls = folder / "certificate.pem", ssl.create_default_context()
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        authority.configure_trust(tls)
        settings += [f"server.tls_certificate_file={certificate}", "recording.enabled=true"]
    arguments = ["-m", "bench.watched_server", "--window", str(folder), "--port", str(port)]
    arguments += ["--calls-folder", str(folder / "calls")]
    for assignment in (f"model.url={model_url.replace('http', 'ws', 1)}/v1", *settings):
        arguments += ["--set", assignment]
    async with started(arguments, SERVER_PROCESSOR, log) as process:
        await wait_until_listening(port)
        yield Door(name, port, Watch(process, folder, log), tls, await _token(folder / "calls" / "server.json"))


async def _token(run_file: Path) -> str:
    with trio.fail_after(START_LIMIT_S):
        while not await trio.Path(run_file).exists():  # noqa: ASYNC110 - what a process does to a file has no event
            await trio.sleep(0.02)
    return str(msgspec.json.decode(await trio.Path(run_file).read_bytes())["token"])


async def soak(calls_per_s: float, seconds: float, seed: int, console: Console) -> dict[str, object]:
    """Run, print, and return the report; its `left` is empty when nothing is left."""
    async with AsyncExitStack() as stack:
        folder, model_port = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trio-voice-soak-"))), free_port()
        model = ["-m", "trio_voice", "model", "--port", str(model_port), "--cheap", "--quiet"]
        await stack.enter_async_context(started(model, CALLERS_PROCESSOR, folder / "model.log"))
        await wait_until_listening(model_port)
        model_url = f"http://127.0.0.1:{model_port}"
        plain = await stack.enter_async_context(watched_server("plain", model_url, folder / "plain", None))
        secure = await stack.enter_async_context(watched_server("TLS, recording", model_url, folder / "tls", trustme.CA()))
        run = Soak((plain, secure), model_url, Random(seed))
        seen = await run.run(calls_per_s, seconds)
        reports = [_report(door, before, after, seconds, console) for door, (before, after) in zip(run.doors, seen, strict=True)]
    console.print(f"Others who came to the door: {', '.join(f'{count} {kind}' for kind, count in sorted(run.visits.items()))}")
    left = [f"{report['door']}: {what}" for report in reports for what in report["left"]]
    console.print("Nothing is left." if not left else "LEFT BEHIND: " + "; ".join(left))
    return {"seconds": seconds, "doors": reports, "visits": run.visits, "left": left}


def _report(door: Door, before: Living, after: Living, seconds: float, console: Console) -> dict[str, Any]:
    story, slope = door.story, slope_bytes(door.samples)
    left = left_over(before, after) + [f"log: {line[:200]}" for line in door.watch.complaints()[:5]]
    if not (story.heard_bytes and story.cleared):
        left.append("nothing: no caller heard an agent and interrupted it, so that the run proves little")
    if story.left_waiting:
        left.append(f"{story.left_waiting} callers whose call was not ended")
    if after.objects - before.objects > OBJECTS_LIMIT + story.calls / CALLS_PER_OBJECT:
        left.append(f"objects: {before.objects} before, {after.objects} after")
    if story.calls >= SLOPE_FROM_CALLS and slope > SLOPE_LIMIT_BYTES:
        left.append(f"resident memory grows by {slope:.0f} bytes a call")
    table = Table("what", "before", "after", title=f"{door.name}: {story.calls} calls, {seconds:g} s")
    for what, one in asdict(before).items():
        table.add_row(what, f"{one:,}", f"{asdict(after)[what]:,}")
    console.print(table)
    most = max((living.resident_kb for _, living in door.samples), default=after.resident_kb)
    console.print(
        f"resident memory: at most {most / 1024:.0f} MB; {slope:+.0f} bytes a call in the second half. Longest pass of the event "
        f"loop: {door.watch.longest_pass_ms:.0f} ms of processor time. {story.frames:,} frames sent, "
        f"{story.heard_bytes / 8000:,.0f} s heard, {story.cleared} times interrupted, {story.ended_by_server} calls ended by the "
        f"server, {story.refused} connections not taken; callers left by {story.leavings}"
    )
    return {"door": door.name, "before": asdict(before), "after": asdict(after), "slope_bytes": slope, "most_kb": most,
            "longest_pass_ms": door.watch.longest_pass_ms, **asdict(story), "left": left}  # fmt: skip


@click.command()
@click.option("--minutes", type=float, default=5.0, show_default=True, help="How long calls come.")
@click.option("--rate", type=float, default=8.0, show_default=True, help="Calls a second.")
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
