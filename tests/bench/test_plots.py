"""What was measured is drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from attrs import evolve
from matplotlib.figure import Figure

from bench import plots
from bench.rows import Row

ROW = Row("ours", 10, 9.9, 0.4, 0.1, 6.0, 50.0, 0.5, 3.0, 0.6, 5.0, 12, 0, 0, 0, 1.0, 0.3, valid=True)


def test_each_system_has_its_curves_and_invalid_runs_are_hollow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig

    def kept(figure: Figure, target: Path, **options: Any) -> None:
        drawn.append(figure)
        save(figure, target, **options)

    monkeypatch.setattr(Figure, "savefig", kept)
    rows = [evolve(ROW, system=system, calls=calls, valid=calls == 10) for system in ("ours", "theirs") for calls in (10, 50)]
    plots.draw([*rows, evolve(ROW, up_p99_ms=5.0), evolve(ROW, up_p99_ms=4.0)], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    up = drawn[0].axes[0]
    told = {
        line.get_label(): list(np.asarray(line.get_ydata())) for line in up.lines if not str(line.get_label()).startswith("_")
    }
    assert told == {"ours p50": [0.5, 0.5], "ours p99": [4.0, 3.0], "theirs p50": [0.5, 0.5], "theirs p99": [3.0, 3.0]}
    hollow = [np.asarray(line.get_xdata())[0] for line in up.lines if line.get_markerfacecolor() == "white"]
    assert hollow == [50, 50, 50, 50]


def test_a_run_in_which_nobody_was_heard_is_drawn_all_the_same(tmp_path: Path) -> None:
    nothing = float("nan")
    plots.draw([evolve(ROW, down_p50_ms=nothing, down_p99_ms=nothing)], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
