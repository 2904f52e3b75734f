"""How fast and how exact a barge-in is, with many calls on one core.

    python -m bench.interruptions [--calls 20 100] [--seconds 30]

Every caller interrupts every reply after it has heard a second or more of it. Three figures, seen from outside the server:

- from `speech_started` leaving the model's process to the `clear` having come for the caller, both sockets included;
- audio that reaches the caller after the `clear`, while it is speaking: late audio, which must be none;
- `audio_end_ms` of the truncate that reaches the model, against what the caller's own play buffer had played at the clear.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import click
import msgspec
import numpy as np
import trio
from attrs import define, field, frozen
from rich.console import Console
from rich.table import Table

from bench.capacity import CALLERS_PROCESSOR, LATE_LIMIT_MS, percentile, trio_voice
from bench.load import FRAME_BYTES, UNHURRIED_S, LoadCaller, Speaker, Totals
from bench.processes import pin, started
from bench.results_folder import write_result
from trio_voice.audio.g711 import pcm16_to_ulaw
from trio_voice.phone.synthetic import synthetic_speech

SENTENCE_S = 1.5
LOUDER = 4.5
"""Callers who speak up: the echo guard lets them through at once, and what is measured is our speed, not its caution."""
MATCH_LIMIT_S = 1.0
"""A clear that comes so long after speech was told is not its consequence."""


@frozen
class Clear:
    """One interruption, as the caller saw it."""

    caller: int
    at: float
    """When it came: seconds of the monotonic clock."""
    heard_ms: float
    """How much of the reply had been played."""


@define(eq=False)
class InterruptingCaller(LoadCaller):
    """A caller who lets nobody finish."""

    random: Random = field(factory=Random, kw_only=True)
    clears: list[Clear] = field(factory=list, kw_only=True)
    late_bytes: int = field(default=0, init=False)
    _reply_began_at: float | None = field(default=None, init=False)
    _interrupts_after_s: float = field(default=1.0, init=False)
    _cleared: bool = field(default=False, init=False)

    def _next_sound(self, now: float, *, may_begin: bool) -> bytes:
        playing_s = now - self._reply_began_at if self._reply_began_at is not None and now < self._playing_until else 0.0
        if self._said_frames is None and may_begin and playing_s > self._interrupts_after_s:
            self._begin_to_say(len(self._speech))
            self._interrupts_after_s = self.random.uniform(1.0, 2.0)
        sound = super()._next_sound(now, may_begin=False)
        if self._said_frames is None:
            self._cleared = False
        return sound

    def _hear(self, payload: bytes, now: float) -> None:
        is_media = payload.startswith(b'{"event":"media"') or b'"event":"media"' in payload[:80]
        if is_media and self._cleared:
            self.late_bytes += len(msgspec.json.decode(payload)["media"]["payload"]) * 3 // 4
        if is_media and now >= self._playing_until:
            self._reply_began_at = now
        if b'"event":"clear"' in payload and self._reply_began_at is not None:
            heard_s = min(now, self._playing_until) - self._reply_began_at
            self.clears.append(Clear(self.number, self._arrived_ns / 1e9, heard_s * 1000))
            self._cleared, self._reply_began_at = self._said_frames is not None, None
        super()._hear(payload, now)


@frozen
class Row:
    """One run."""

    calls: int
    interruptions: int
    clear_p50_ms: float
    clear_p99_ms: float
    late_bytes: int
    heard_error_p50_ms: float
    heard_error_p90_ms: float
    valid: bool


def delays_ms(started_at: Sequence[tuple[int, float]], clears: Sequence[Clear]) -> list[float]:
    """From speech being told to the clear, for each clear that has such a cause."""
    told: dict[int, list[float]] = {}
    for caller, at in started_at:
        told.setdefault(caller, []).append(at)
    out = []
    for clear in clears:
        before = [at for at in told.get(clear.caller, ()) if 0 <= clear.at - at < MATCH_LIMIT_S]
        if before:
            out.append((clear.at - before[-1]) * 1000)
    return out


def heard_errors_ms(truncated: Sequence[tuple[int, float, int]], clears: Sequence[Clear]) -> list[float]:
    """How far each truncate is from what had been played."""
    out = []
    for caller, at, audio_end_ms in truncated:
        near = [clear for clear in clears if clear.caller == caller and abs(clear.at - at) < MATCH_LIMIT_S]
        if near:
            out.append(abs(min(near, key=lambda clear: abs(clear.at - at)).heard_ms - audio_end_ms))
    return out


async def measure(calls: int, seconds: float, folder: Path) -> Row:
    """One run with so many calls."""
    loud = np.frombuffer(synthetic_speech(1, SENTENCE_S), dtype="<i2") * LOUDER
    sentence = pcm16_to_ulaw(np.clip(loud, -32000, 32000).astype("<i2").tobytes())
    sentence = sentence[: len(sentence) // FRAME_BYTES * FRAME_BYTES]
    quiet = bytes(0xF8 | at * 7 % 8 for at in range(8000))
    totals, clears = Totals(), list[Clear]()
    callers = [
        InterruptingCaller(number, sentence, quiet, totals, random=Random(number), clears=clears) for number in range(calls)
    ]
    async with started(["-m", "bench.model_process"], CALLERS_PROCESSOR, folder / "model.log") as model:
        async with trio_voice(await model.line(), folder) as (_, port, path):
            began_at, speaker = trio.current_time() + 0.2, Speaker(UNHURRIED_S)
            async with trio.open_nursery() as always:
                always.start_soon(speaker.run)
                async with trio.open_nursery() as nursery:
                    for caller in callers:
                        nursery.start_soon(caller.call, port, path, speaker, began_at + caller.number * 0.04, seconds)
                always.cancel_scope.cancel()
            await trio.sleep(0.5)
        seen = msgspec.json.decode(await model.last_line())
    delays = delays_ms([(caller, at) for caller, at in seen["speech_started"]], clears)
    errors = heard_errors_ms([(caller, at, ms) for caller, at, ms in seen["truncated"]], clears)
    return Row(
        calls=calls,
        interruptions=len(delays),
        clear_p50_ms=percentile(delays, 0.5),
        clear_p99_ms=percentile(delays, 0.99),
        late_bytes=sum(caller.late_bytes for caller in callers),
        heard_error_p50_ms=percentile(errors, 0.5),
        heard_error_p90_ms=percentile(errors, 0.9),
        valid=percentile(totals.late_ms, 0.99) < LATE_LIMIT_MS and bool(delays) and bool(errors),
    )


async def run(calls: Sequence[int], seconds: float, console: Console) -> list[Row]:
    """All runs, and a table."""
    rows = []
    for count in calls:
        with tempfile.TemporaryDirectory(prefix="trio-voice-bench-") as folder:
            rows.append(await measure(count, seconds, Path(folder)))
    table = Table(title="Barge-in: speech_started leaves the model -> clear reaches the caller")
    for column in ("calls", "interruptions", "clear p50/p99 ms", "late audio", "heard_ms error p50/p90 ms", "valid"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            str(row.calls),
            str(row.interruptions),
            f"{row.clear_p50_ms:.2f} / {row.clear_p99_ms:.2f}",
            f"{row.late_bytes} B",
            f"{row.heard_error_p50_ms:.1f} / {row.heard_error_p90_ms:.1f}",
            "yes" if row.valid else "no",
        )
    console.print(table)
    return rows


@click.command()
@click.option("--calls", type=int, multiple=True, default=(20, 100), show_default=True, help="How many at once; repeatable.")
@click.option("--seconds", type=float, default=30.0, show_default=True, help="How long each run lasts.")
def main(calls: tuple[int, ...], seconds: float) -> None:
    """Measure, print a table, write bench/results/interruptions.json. Exit code 1 when audio came late."""
    console = Console()
    console.width = max(console.width, 100)
    pin(CALLERS_PROCESSOR)
    rows = trio.run(run, calls, seconds, console)
    write_result("interruptions", rows)
    if any(row.late_bytes for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
