"""What is timed is what calls do: every frame that is sent goes its whole way, with the compiled parts and without."""

import importlib.util
from io import StringIO

from rich.console import Console

from bench.frame_cost import COMPILED, IN_PYTHON, NAMES, figures, ratio, run, show
from bench.frame_cost_calls import GATHERED_FRAMES
from trio_voice.server.poller import FEWEST_PATIENT

ROUNDS = 4
IS_COMPILED = importlib.util.find_spec("trio_voice._speedups") is not None


def test_all_that_is_sent_is_served_and_counted() -> None:
    reports = run(FEWEST_PATIENT, ROUNDS, 1)
    assert list(reports) == [COMPILED, IN_PYTHON] if IS_COMPILED else [IN_PYTHON]
    for variant, (report,) in reports.items():
        assert report.compiled == (variant == COMPILED)
        # Of frames half a round, that not all levels are measured in the same one; of all that is warm two rounds to be counted.
        frame_rounds, piece_rounds = ROUNDS + 2 + ROUNDS // 2, 2 * (ROUNDS // 2 + 2)
        assert report.frames == report.frames_in_journals == FEWEST_PATIENT * frame_rounds + FEWEST_PATIENT // 2
        assert report.pieces == report.pieces_in_journals == FEWEST_PATIENT * piece_rounds
        assert list(report.costs) == list(NAMES)
        wake_ups = ROUNDS // 2 * (FEWEST_PATIENT // GATHERED_FRAMES)
        assert [len(cost.us) for cost in report.costs.values()] == [ROUNDS, *[wake_ups] * 3, ROUNDS // 2, ROUNDS // 2]
        assert [name for name, cost in report.costs.items() if cost.functions is not None] == ["frame", "piece", "written"]
    functions = {
        variant: [report.costs[name].functions or 0.0 for name in ("frame", "piece")] for variant, (report,) in reports.items()
    }
    for frame, piece in functions.values():
        assert 0 < frame < piece
    if IS_COMPILED:
        assert all(one < other for one, other in zip(functions[COMPILED], functions[IN_PYTHON], strict=True))
    out = StringIO()
    result = {variant: {name: figures(found, name) for name in NAMES} for variant, found in reports.items()}
    assert all(0 < cost.p10_us <= cost.median_us for costs in result.values() for cost in costs.values())
    show(result, {name: ratio(reports, name) for name in NAMES} if IS_COMPILED else {}, Console(file=out, width=120))
    assert all(what in out.getvalue() for what in NAMES.values())
