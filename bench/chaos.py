"""Bad peers beside good calls: do the good ones notice?

    python -m bench.chaos [--calls 20] [--seconds 8]

Some well-behaved callers hold their conversations through the whole run while, one phase after another, something goes wrong
beside them. For each phase the table shows the added delay of the good calls, both ways, and what they lost. The target: delays
within twice those of the quiet phase (or under 20 ms), nothing lost, no good call ended. A blocked event loop delays everybody by
as long as it lasts; there the proof is that nothing is lost and that the next phase is as good as the first.
"""

from __future__ import annotations

import resource
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import click
import msgspec
import psutil
import trio
from attrs import define, field, frozen
from rich.console import Console
from rich.table import Table

from bench.capacity import CALLS_A_SECOND, LATE_LIMIT_MS, percentile
from bench.load import FRAME_BYTES, FRAME_S, LoadCaller, Speaker, Totals, client_frame, upgraded
from bench.processes import free_port, pin, started, wait_until_listening
from bench.random_caller import GARBAGE, RandomCaller, Story
from bench.results_folder import write_result
from bench.soak import FAULTS, NO_FAULTS, set_faults
from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.phone.synthetic import synthetic_speech

SERVER_PROCESSOR, CALLERS_PROCESSOR = 1, 0
GOOD_ENOUGH_MS = 20.0
JOURNAL_LIMIT_BYTES = 4096
IDLE_UPGRADES = 1000
BAD_PEERS = 20
FIRST_NUMBER = 100_000
"""Call numbers of bad peers begin here."""
_TEXT = 1


@frozen
class Place:
    """Where the run happens."""

    port: int
    server_process: int
    model_url: str
    speech: bytes
    quiet: bytes
    random: Random


Trouble = Callable[[Place], Awaitable[None]]
"""Makes trouble until it is cancelled."""


# --- what goes wrong


async def nothing(_place: Place) -> None:
    """A quiet phase."""
    await trio.sleep_forever()


async def _open(place: Place, number: int, *, says_start: bool = True, receive_buffer: int | None = None) -> trio.SocketStream:
    """A connection that is upgraded, and has told its start."""
    plain = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await plain.connect(("127.0.0.1", place.port))
    stream = trio.SocketStream(plain)
    await upgraded(stream)
    if says_start:
        ids = {"accountSid": "AC", "callSid": f"CA{number:032x}", "streamSid": f"MZ{number:032x}"}
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        start = {"event": "start", "streamSid": ids["streamSid"], "start": {**ids, "mediaFormat": media_format}}
        await stream.send_all(client_frame(_TEXT, b'{"event":"connected","protocol":"Call","version":"1.0.0"}'))
        await stream.send_all(client_frame(_TEXT, msgspec.json.encode(start)))
    return stream


async def _many(place: Place, peer: Callable[[Place, int], Awaitable[None]], count: int) -> None:
    async def one(number: int) -> None:
        try:
            await peer(place, number)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # the server has had enough of it, as it should

    async with trio.open_nursery() as nursery:
        for count_so_far in range(count):
            nursery.start_soon(one, FIRST_NUMBER + count_so_far)
        await trio.sleep_forever()


def _media(number: int, audio: bytes) -> bytes:
    payload = msgspec.json.encode(audio).decode()  # msgspec writes bytes as base64
    return client_frame(_TEXT, f'{{"event":"media","streamSid":"MZ{number:032x}","media":{{"payload":{payload}}}}}'.encode())


async def _talk_and_never_read(place: Place, number: int) -> None:
    async with await _open(place, number, receive_buffer=2048) as stream:
        while True:
            await stream.send_all(_media(number, place.quiet[:FRAME_BYTES]))
            await trio.sleep(FRAME_S)


async def _fall_silent(place: Place, number: int) -> None:
    async with await _open(place, number):
        await trio.sleep_forever()


async def _talk_garbage(place: Place, number: int) -> None:
    while True:
        async with await _open(place, number) as stream:
            for _ in range(50):
                await stream.send_all(client_frame(_TEXT, place.random.choice(GARBAGE)))
                await trio.sleep(FRAME_S)


async def _flood(place: Place, number: int) -> None:
    frames = _media(number, place.quiet[:FRAME_BYTES]) * 50
    async with await _open(place, number) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(_read_all, stream)
        while True:
            await stream.send_all(frames)


async def _read_all(stream: trio.SocketStream) -> None:
    while await stream.receive_some(65536):
        pass


async def _wait_for_ever(place: Place, number: int) -> None:
    async with await _open(place, number, says_start=False):
        await trio.sleep_forever()


async def callers_who_do_not_read(place: Place) -> None:
    """They talk; the agent's answers stay in their sockets."""
    await _many(place, _talk_and_never_read, BAD_PEERS)


async def callers_who_fall_silent(place: Place) -> None:
    """They send not a frame."""
    await _many(place, _fall_silent, BAD_PEERS)


async def callers_who_talk_garbage(place: Place) -> None:
    """What they send is no media stream."""
    await _many(place, _talk_garbage, BAD_PEERS)


async def two_who_flood(place: Place) -> None:
    """They send as fast as the server reads."""
    await _many(place, _flood, 2)


async def idle_upgrades(place: Place) -> None:
    """A thousand connections that never tell their start."""
    await _many(place, _wait_for_ever, IDLE_UPGRADES)


async def callers_at_random(place: Place) -> None:
    """They come and go, four a second, in every way (bench/random_caller.py)."""
    async with trio.open_nursery() as nursery:
        number = FIRST_NUMBER
        while True:
            number += 1
            caller = RandomCaller(number, Random(place.random.random()), place.speech, place.quiet, Story(), longest_s=4.0)
            nursery.start_soon(caller.call, place.port)
            await trio.sleep(0.25)


async def models_with_faults(place: Place) -> None:
    """The sessions of other calls stall, are reset, lie, or end."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(callers_at_random, place)
            while True:
                await set_faults(place.model_url, NO_FAULTS | place.random.choice(FAULTS))
                await trio.sleep(0.25)
    finally:
        with trio.move_on_after(5, shield=True):
            await set_faults(place.model_url, NO_FAULTS)


async def full_disk(place: Place) -> None:
    """No file of the server may grow beyond some kilobytes: every journal fails."""
    process = psutil.Process(place.server_process)
    process.rlimit(psutil.RLIMIT_FSIZE, (JOURNAL_LIMIT_BYTES, resource.RLIM_INFINITY))
    try:
        await trio.sleep_forever()
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def blocked_loop(place: Place) -> None:
    """The event loop stands still for 0.3 s, twice."""
    for _ in range(2):
        await trio.sleep(1.0)
        psutil.Process(place.server_process).send_signal(signal.SIGUSR2)
    await trio.sleep_forever()


PHASES: dict[str, Trouble] = {
    "quiet": nothing,
    "20 callers who do not read": callers_who_do_not_read,
    "20 callers who fall silent": callers_who_fall_silent,
    "20 callers who talk garbage": callers_who_talk_garbage,
    "2 callers who flood": two_who_flood,
    "callers who come and go": callers_at_random,
    "models with faults": models_with_faults,
    "1,000 upgrades without a start": idle_upgrades,
    "a full disk": full_disk,
    "a loop that stands still for 0.3 s": blocked_loop,
    "quiet again": nothing,
}
BLOCKS = frozenset({"a loop that stands still for 0.3 s"})
"""Phases whose delay is the trouble itself."""


# --- the run


@frozen
class Row:
    """The good calls in one phase."""

    phase: str
    up_p50_ms: float
    up_p99_ms: float
    down_p50_ms: float
    down_p99_ms: float
    ended: int
    valid: bool


@define(eq=False)
class Run:
    """All phases of one run."""

    place: Place
    callers: list[LoadCaller]
    phase_s: float
    totals: dict[str, Totals] = field(factory=dict)
    spans: dict[str, tuple[float, float]] = field(factory=dict)

    async def hold(self) -> None:
        """Let the good callers talk through all phases."""
        seconds = self.phase_s * len(PHASES) + 1.0
        began_at, speaker = trio.current_time() + 0.2, Speaker()
        async with trio.open_nursery() as always:
            always.start_soon(speaker.run)
            async with trio.open_nursery() as nursery:
                for caller in self.callers:
                    begins_at = began_at + caller.number / CALLS_A_SECOND
                    nursery.start_soon(caller.call, self.place.port, "/media/twilio", speaker, begins_at, seconds)
                await trio.sleep_until(began_at + 1.0)
                for name, trouble in PHASES.items():
                    await self._phase(name, trouble)
            always.cancel_scope.cancel()

    async def _phase(self, name: str, trouble: Trouble) -> None:
        totals = self.totals[name] = Totals()
        for caller in self.callers:
            caller.totals = totals
        begin = time.monotonic()  # the clock of the model's process, too
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trouble, self.place)
            await trio.sleep(self.phase_s)
            nursery.cancel_scope.cancel()
        self.spans[name] = (begin, time.monotonic())

    def rows(self, up: list[tuple[float, float]]) -> list[Row]:
        """What each phase showed; `up`: when a frame reached the model (seconds of the monotonic clock), and its age in ms."""
        rows = []
        for name, totals in self.totals.items():
            begin, end = self.spans[name]
            ages = [age for at, age in up if begin <= at < end]
            late = percentile(totals.late_ms, 0.99)
            rows.append(
                Row(
                    phase=name,
                    up_p50_ms=percentile(ages, 0.5),
                    up_p99_ms=percentile(ages, 0.99),
                    down_p50_ms=percentile(totals.down_ms, 0.5),
                    down_p99_ms=percentile(totals.down_ms, 0.99),
                    ended=totals.ended_early,
                    valid=late < LATE_LIMIT_MS,
                )
            )
        return rows


def noticed(rows: list[Row]) -> list[str]:
    """In which phases the good calls noticed something, in words."""
    quiet, out = rows[0], []
    for row in rows:
        up = row.up_p99_ms > max(GOOD_ENOUGH_MS, 2 * quiet.up_p99_ms)
        down = row.down_p99_ms > max(GOOD_ENOUGH_MS, 2 * quiet.down_p99_ms)
        if row.ended or ((up or down) and row.phase not in BLOCKS):
            out.append(row.phase)
    return out


@asynccontextmanager
async def the_server(model_url: str, folder: Path) -> AsyncIterator[tuple[int, int]]:
    """The server; its port and its process id."""
    port = free_port()
    arguments = ["-m", "bench.watched_server", "--port", str(port), "--calls-folder", str(folder / "calls")]
    for assignment in (f"model.url={model_url}", "server.log_level=error", "call.longest_call_s=600"):
        arguments += ["--set", assignment]
    async with started(arguments, SERVER_PROCESSOR, folder / "server.log") as process:
        await wait_until_listening(port)
        yield port, process.process.pid


async def chaos(calls: int, phase_s: float, seed: int, console: Console) -> tuple[list[Row], list[str]]:
    """Run, print, and return the rows, and what the good calls noticed."""
    speech = pcm16_to_ulaw(synthetic_speech(1, 2.0))
    speech = speech[: len(speech) // FRAME_BYTES * FRAME_BYTES]
    quiet = bytes(0xF8 | at * 7 % 8 for at in range(8000))
    with tempfile.TemporaryDirectory(prefix="trio-voice-chaos-") as name:
        folder = Path(name)
        async with started(["-m", "bench.model_process"], CALLERS_PROCESSOR, folder / "model.log") as model:
            url = await model.line()
            async with the_server(url, folder) as (port, process):
                place = Place(port, process, url.replace("ws", "http", 1).partition("/v1")[0], speech, quiet, Random(seed))
                callers = [LoadCaller(number, speech, quiet, Totals()) for number in range(calls)]
                run = Run(place, callers, phase_s)
                await run.hold()
                await trio.sleep(0.5)
            seen = msgspec.json.decode(await model.last_line())
    rows = run.rows(list(zip(seen["up_at_s"], seen["up_ms"], strict=True)))
    problems = noticed(rows)
    show(rows, problems, calls, console)
    return rows, problems


def show(rows: list[Row], problems: list[str], calls: int, console: Console) -> None:
    """Print a table."""
    table = Table(title=f"{calls} good calls while ... (added delay, each way)")
    for column in ("phase", "up p50/p99 ms", "down p50/p99 ms", "ended", "noticed"):
        table.add_column(column, justify="left" if column == "phase" else "right")
    for row in rows:
        verdict = "yes" if row.phase in problems else "no" if row.valid else "no (callers late)"
        table.add_row(
            row.phase,
            f"{row.up_p50_ms:.1f} / {row.up_p99_ms:.1f}",
            f"{row.down_p50_ms:.1f} / {row.down_p99_ms:.1f}",
            str(row.ended),
            verdict,
        )
    console.print(table)


@click.command()
@click.option("--calls", type=int, default=20, show_default=True, help="Good calls.")
@click.option("--seconds", type=float, default=8.0, show_default=True, help="How long each phase lasts.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of everything that is random.")
def main(calls: int, seconds: float, seed: int) -> None:
    """Run, and write bench/results/chaos.json. Exit code 1 when a good call noticed something."""
    console = Console()
    console.width = max(console.width, 100)
    pin(CALLERS_PROCESSOR)
    rows, problems = trio.run(chaos, calls, seconds, seed, console)
    write_result("chaos", rows)
    if problems:
        console.print("The good calls noticed: " + ", ".join(problems))
        sys.exit(1)


if __name__ == "__main__":
    main()
