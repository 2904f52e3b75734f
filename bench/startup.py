"""How soon the server answers, what it weighs when idle, and what the set-up of a call costs.

    python -m bench.startup [--repeat 3] [--calls 20]

- ready: from the start of the process to the first answer of /healthz, in seconds (the embedded model elsewhere);
- idle: resident memory of the process then, in MB;
- both as `make run` starts it, with the embedded model in the process (its voice is a process of its own, and not counted);
- set-up: our own processor time for a call that is left as soon as its greeting is heard, in ms, over many such calls in turn.
"""

from __future__ import annotations

import compileall
import statistics
import tempfile
import time
from pathlib import Path

import click
import trio
from attrs import asdict, frozen
from rich.console import Console
from rich.table import Table

from bench.capacity import CALLERS_PROCESSOR, trio_voice
from bench.load import client_frame, upgraded
from bench.processes import ROOT, START_LIMIT_S, Measured, pin, started
from bench.results_folder import write_result

TARGETS = {"ready_s": 1.0, "idle_mb": 60.0, "embedded_ready_s": 1.0, "embedded_idle_mb": 60.0, "setup_ms": 20.0}
EMBEDDED = "model.url=embedded"
_TEXT = 1


@frozen
class Result:
    """One run."""

    ready_s: float
    idle_mb: float
    embedded_ready_s: float
    """With the embedded model in the process, and its voice at work."""
    embedded_idle_mb: float
    setup_ms: float
    """Processor time."""
    greeting_p50_ms: float
    """From the connection to the first speech that the caller gets: the model's time included."""


async def one_call(port: int, number: int) -> float:
    """Call, wait for the first speech, hang up; how long that took, in ms."""
    began_at = trio.current_time()
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        heard = await upgraded(stream)
        sid = f"{number:032x}"
        start = (
            f'{{"event":"start","streamSid":"MZ{sid}","start":{{"accountSid":"AC","callSid":"CA{sid}","streamSid":"MZ{sid}",'
            '"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}'
        )
        await stream.send_all(client_frame(_TEXT, start.encode()))
        with trio.fail_after(20):
            while b'"media"' not in heard:
                data = await stream.receive_some()
                if not data:
                    raise ConnectionError(f"the server ended the call: {heard[-200:]!r}")
                heard += data
        took_ms = (trio.current_time() - began_at) * 1000
        await stream.send_all(client_frame(_TEXT, f'{{"event":"stop","streamSid":"MZ{sid}"}}'.encode()))
    return took_ms


async def answer(port: int) -> None:
    """Wait for an answer of /healthz. Raises trio.TooSlowError."""
    with trio.fail_after(START_LIMIT_S):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            if not (await stream.receive_some()).startswith(b"HTTP/1.1 200"):
                raise ConnectionError("the server is there and not well")


async def with_the_embedded_model(folder: Path) -> tuple[float, float]:
    """Seconds to ready, and MB when idle."""
    began_at = time.monotonic()
    async with trio_voice("unused", folder, EMBEDDED) as (measured, port, _):
        await answer(port)
        ready_s = time.monotonic() - began_at
        await trio.sleep(0.5)
        return ready_s, measured.own_resident_bytes() / 2**20


async def measure(folder: Path, calls: int) -> Result:
    """One run."""
    embedded_ready_s, embedded_idle_mb = await with_the_embedded_model(folder)
    async with started(["-m", "bench.model_process"], CALLERS_PROCESSOR, folder / "model.log") as model:
        url = await model.line()
        began_at = time.monotonic()
        async with trio_voice(url, folder) as (measured, port, _):
            await answer(port)
            ready_s = time.monotonic() - began_at
            await trio.sleep(0.5)
            idle_mb = measured.resident_bytes() / 2**20
            await one_call(port, calls)
            setup_ms, times_ms = await _set_up(measured, port, calls)
    return Result(ready_s, idle_mb, embedded_ready_s, embedded_idle_mb, setup_ms, statistics.median(times_ms))


async def _set_up(measured: Measured, port: int, calls: int) -> tuple[float, list[float]]:
    before_s = measured.cpu_s()
    times_ms = [await one_call(port, number) for number in range(calls)]
    return (measured.cpu_s() - before_s) * 1000 / calls, times_ms


async def run(repeat: int, calls: int, console: Console) -> list[Result]:
    """All runs, and a table of the medians."""
    results = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory(prefix="trio-voice-bench-") as folder:
            results.append(await measure(Path(folder), calls))
    table = Table("what", "median", "target", title="Start, idle weight, set-up of a call")
    for name in asdict(results[0]):
        middle = statistics.median([asdict(result)[name] for result in results])
        table.add_row(name, f"{middle:.2f}", f"{TARGETS[name]:g}" if name in TARGETS else "")
    console.print(table)
    return results


@click.command()
@click.option("--repeat", type=int, default=3, show_default=True, help="Runs; the median counts.")
@click.option(
    "--calls", type=int, default=20, show_default=True, help="How many calls, one after the other, of half a second each."
)
def main(repeat: int, calls: int) -> None:
    """Measure, print a table, write bench/results/startup.json."""
    console = Console()
    console.width = max(console.width, 100)
    pin(CALLERS_PROCESSOR)
    compileall.compile_dir(ROOT / "trio_voice", quiet=1)  # as after the installation, whatever was edited since
    results = trio.run(run, repeat, calls, console)
    write_result("startup", results)


if __name__ == "__main__":
    main()
