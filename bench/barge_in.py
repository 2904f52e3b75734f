"""How often the agent is silenced by nobody, and how often and how soon by somebody: the guards against barge-ins, on and off.

    python -m bench.barge_in [--quick] [--set tuning]

Calls in virtual time, with recorded prompts as the agent's and the callers' voices, over lines with an echo or with noise. The
`Call` is the real one; see bench/barge_in_call.py for what surrounds it. The prompts, noises and echo paths of the two sets are
different ones: numbers of the guard are chosen on `tuning`, and what is reported is measured on `reported`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from attrs import asdict, define, field, frozen
from rich.console import Console
from rich.table import Table

from bench.barge_in_call import Line, OneCall
from bench.barge_in_callers import Conduct, Diary
from bench.barge_in_lines import NOISES, QUIET_DBFS, Samples, echo_paths, noise
from bench.barge_in_voices import CALLER_DBFS, Voices, load_voices
from trio_voice.core.settings import CallSettings
from trio_voice.phone.speech import speech_folder

RESULTS = Path(__file__).parent / "results"
SETS = {"tuning": (0, 7), "reported": (1, 2026)}
"""Which half of the prompts, and the seed of everything else."""
CALL_S, NOISE_S, CALLS = 60.0, 20.0, 2
RETURN_LOSSES_DB, QUICK_LOSSES_DB = (30.0, 20.0, 15.0, 12.0), (20.0,)
SNRS_DB, QUICK_SNRS_DB = (20.0, 10.0, 5.0), (10.0,)
QUIETER_DB = -10.0
CONFIRM_MS = 300
ON = CallSettings()
OFF = CallSettings(echo_guard=False, cancel_cooldown_s=0.0, calibration_min_frames=1, calibration_limit_s=0.0)
REVERSIBLE = CallSettings(barge_in_confirm_ms=CONFIRM_MS)
GUARDS = {"on": ON, "off": OFF}


@define
class Figures:
    """What some calls add up to."""

    agent_min: float = 0.0
    """How long the agent spoke to callers who only listened to it."""
    false_stops: int = 0
    false_turns: int = 0
    interruptions: int = 0
    onsets_ms: list[int] = field(factory=list)

    def add(self, listening: Diary, interrupting: Diary) -> None:
        """Count one call of somebody who listens, and one of somebody who interrupts."""
        self.agent_min += listening.agent_s / 60
        self.false_stops += len(listening.false_stops())
        self.false_turns += len(listening.false_turns())
        for uttered in interrupting.sounds(Conduct.INTERRUPTS):
            self.interruptions += 1
            if stops := interrupting.stops_of(uttered):
                self.onsets_ms.append(round(1000 * (stops[0].at_s - uttered.begin_s)))

    def plus(self, other: Figures) -> Figures:
        """Both together."""
        return Figures(
            self.agent_min + other.agent_min,
            self.false_stops + other.false_stops,
            self.false_turns + other.false_turns,
            self.interruptions + other.interruptions,
            self.onsets_ms + other.onsets_ms,
        )

    def summary(self) -> dict[str, float | int | None]:
        """The numbers that are reported; None where there is nothing to count."""
        return {
            "false_barge_ins_a_minute": round(self.false_stops / self.agent_min, 2) if self.agent_min else None,
            "false_turns_a_minute": round(self.false_turns / self.agent_min, 2) if self.agent_min else None,
            "interruptions": self.interruptions,
            "hits_percent": round(100 * len(self.onsets_ms) / self.interruptions, 1) if self.interruptions else None,
            "onset_median_ms": round(float(np.median(self.onsets_ms))) if self.onsets_ms else None,
            "onset_p90_ms": round(float(np.percentile(self.onsets_ms, 90))) if self.onsets_ms else None,
            "agent_minutes": round(self.agent_min, 2),
        }


@frozen(eq=False)
class Case:
    """A line, and the row of the table in which it counts."""

    group: str
    name: str
    line: Line


def cases(voices: Voices, seed: int, *, quick: bool) -> Iterator[Case]:
    """All lines: five paths at several return losses, a quiet caller over them, and four noises at several distances."""
    breath = noise("pink", NOISE_S, QUIET_DBFS, seed, voices.talk)
    speech = np.concatenate(voices.replies[:4])
    for loss_db in QUICK_LOSSES_DB if quick else RETURN_LOSSES_DB:
        for path in echo_paths(seed):
            yield Case(f"echo {loss_db:g} dB below", path.name, Line(breath, path.with_return_loss(loss_db, speech)))
    if not quick:
        for path in echo_paths(seed):
            line = Line(breath, path.with_return_loss(20.0, speech), QUIETER_DB)
            yield Case(f"echo 20 dB below, caller {-QUIETER_DB:g} dB quieter", path.name, line)
    for kind in NOISES:
        for snr_db in QUICK_SNRS_DB if quick else SNRS_DB:
            yield Case("noise", f"{kind}, {snr_db:g} dB", Line(_noise(voices, kind, snr_db, seed)))


def _noise(voices: Voices, kind: str, snr_db: float, seed: int) -> Samples:
    return noise(kind, NOISE_S, CALLER_DBFS - snr_db, seed, voices.talk)


def measured(case: Case, settings: CallSettings, voices: Voices, seeds: Sequence[int]) -> Figures:
    """Two calls over a line for each seed."""
    figures = Figures()
    for seed in seeds:
        listening, interrupting = (
            OneCall(settings, voices, case.line, conduct, seed).run(CALL_S) for conduct in (Conduct.LISTENS, Conduct.INTERRUPTS)
        )
        figures.add(listening, interrupting)
    return figures


def coughs(voices: Voices, settings: CallSettings, seeds: Sequence[int]) -> dict[str, int]:
    """Coughs and bumps on a quiet line: how many there were, how many silenced the agent, and after how many it went on."""
    counts = {"coughs": 0, "silenced": 0, "went_on": 0}
    line = Line(noise("pink", NOISE_S, QUIET_DBFS, seeds[0], voices.talk))
    for seed in seeds:
        diary = OneCall(settings, voices, line, Conduct.COUGHS, seed).run(CALL_S)
        for cough in diary.sounds(Conduct.COUGHS):
            stops = diary.stops_of(cough)
            counts["coughs"] += 1
            counts["silenced"] += bool(stops)
            counts["went_on"] += bool(stops) and all(stop.resumed_at_s is not None for stop in stops)
    return counts


def run(set_name: str, *, quick: bool, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything; the result is what is written as JSON."""
    half, seed = SETS[set_name]
    voices = load_voices(speech_folder(), half, seed)
    if not voices.recorded:
        tell("No recorded prompts: synthetic speech takes their place, and the numbers mean less. `make speech` fetches them.")
    seeds = [seed + number for number in range(1 if quick else CALLS)]
    rows = []
    for case in cases(voices, seed, quick=quick):
        figures = {guards: measured(case, settings, voices, seeds) for guards, settings in GUARDS.items()}
        rows.append((case, figures))
    groups = list(dict.fromkeys(case.group for case, _ in rows))
    return {
        "set": set_name,
        "quick": quick,
        "recorded_speech": voices.recorded,
        "rows": [
            {"group": case.group, "line": case.name, **{guards: each.summary() for guards, each in figures.items()}}
            for case, figures in rows
        ],
        "groups": [
            {
                "group": group,
                **{guards: _together(figures[guards] for case, figures in rows if case.group == group) for guards in GUARDS},
            }
            for group in groups
        ],
        "coughs": {
            "on": coughs(voices, ON, seeds),
            f"on, confirmed after {CONFIRM_MS} ms": coughs(voices, REVERSIBLE, seeds),
        },
        "settings": {guards: asdict(settings, value_serializer=_plain) for guards, settings in GUARDS.items()},
    }


def _together(figures: Iterator[Figures]) -> dict[str, float | int | None]:
    total = Figures()
    for each in figures:
        total = total.plus(each)
    return total.summary()


def _plain(_instance: object, _field: object, value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else value.value


# --- the table


def table_of(result: dict[str, Any]) -> Table:
    """One row a line, and one for each group of lines."""
    table = Table(title=f"Barge-ins ({result['set']} set): guards off | on", title_justify="left")
    for heading in ("line", "false/min off", "on", "turns of nobody/min off", "on", "hits % off", "on", "onset ms on", "p90"):
        table.add_column(heading, justify="left" if heading == "line" else "right")
    for group in result["groups"]:
        for row in result["rows"]:
            if row["group"] == group["group"]:
                table.add_row(*_cells(row["line"], row))
        table.add_row(*_cells(f"all: {group['group']}", group), style="bold", end_section=True)
    return table


def _cells(name: str, row: dict[str, Any]) -> list[str]:
    on, off = row["on"], row["off"]
    pairs = [(each[key]) for key in ("false_barge_ins_a_minute", "false_turns_a_minute", "hits_percent") for each in (off, on)]
    return [name, *("-" if value is None else f"{value:g}" for value in (*pairs, on["onset_median_ms"], on["onset_p90_ms"]))]


@click.command()
@click.option("--quick", is_flag=True, help="One return loss, one noise level, one call each: under 20 s; nothing is written.")
@click.option("--set", "set_name", type=click.Choice(list(SETS)), default="reported", show_default=True, help="Which prompts.")
def main(quick: bool, set_name: str) -> None:
    """Measure, print a table, write bench/results/barge_in.json (of the whole reported set only)."""
    console = Console()
    console.width = max(console.width, 140)
    began_at = time.monotonic()
    result = run(set_name, quick=quick, tell=console.print)
    console.print(table_of(result))
    for guards, counts in result["coughs"].items():
        console.print(f"Guards {guards}: of {counts['coughs']} coughs and bumps {counts['silenced']} silenced the agent,")
        console.print(f"    which went on after {counts['went_on']} of them.")
    console.print(f"{time.monotonic() - began_at:.0f} s")
    if set_name == "reported" and not quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "barge_in.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
