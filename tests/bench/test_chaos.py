"""What the good calls noticed: the verdict of `bench.chaos`."""

from __future__ import annotations

from math import isnan, nan

from bench.chaos import GOOD_ENOUGH_MS, MOST_TIMES, Report, Row, Seen, Window, rows_of, seen


def looked_at(trouble: str, up_p99_ms: float, down_p99_ms: float = 1.0, ended: int = 0, late_ms: float = 1.0) -> Seen:
    return Seen(trouble, up_p99_ms, down_p99_ms, ended, late_ms)


def problems(*all_seen: Seen, lost_frames: int = 0) -> list[str]:
    return Report(20, lost_frames, rows_of(all_seen)).problems


def test_twice_the_delay_of_the_quiet_times_is_not_noticed_and_more_is() -> None:
    assert problems(looked_at("", 4.0), looked_at("a flood", 4.0 * MOST_TIMES)) == []
    assert problems(looked_at("", 4.0), looked_at("a flood", 4.0 * MOST_TIMES + 0.1)) == ["a flood"]
    assert problems(looked_at("", 1.0, 4.0), looked_at("a flood", 1.0, 8.5)) == ["a flood"]


def test_a_delay_within_the_target_is_never_noticed() -> None:
    assert problems(looked_at("", 1.0), looked_at("a flood", GOOD_ENOUGH_MS)) == []
    assert problems(looked_at("", 1.0), looked_at("a flood", GOOD_ENOUGH_MS + 0.1)) == ["a flood"]


def test_the_median_of_the_rounds_counts_on_both_sides_and_what_was_not_measured_does_not() -> None:
    quiet = [looked_at("", ms) for ms in (3.0, 4.0, 90.0)]
    rows = rows_of([*quiet, *(looked_at("a flood", ms) for ms in (7.0, 8.0, 300.0, nan))])
    assert [(row.trouble, row.up_p99_ms, row.up_times) for row in rows] == [("", 4.0, 1.0), ("a flood", 8.0, 2.0)]
    (quiet_row,) = rows_of([looked_at("", nan)])
    assert isnan(quiet_row.up_p99_ms)
    assert not quiet_row.is_noticed


def test_a_call_that_ends_and_a_frame_that_is_lost_are_noticed_always() -> None:
    assert problems(looked_at("", 4.0), looked_at("a flood", 4.0, ended=1), looked_at("a flood", 4.0)) == ["a flood"]
    assert problems(looked_at("", 4.0, ended=1)) == ["quiet times"]
    assert problems(looked_at("", 4.0), lost_frames=2) == ["2 frames lost"]


def test_a_row_is_valid_when_the_callers_were_in_time() -> None:
    rows: list[Row] = rows_of([looked_at("", 4.0), looked_at("a flood", 4.0, late_ms=200.0)])
    assert [row.valid for row in rows] == [True, False]


def test_a_frame_belongs_to_the_window_in_which_it_came() -> None:
    quiet, flood = Window("", 10.0), Window("a flood", 12.0)
    quiet.end, flood.end = 11.0, 13.0
    flood.totals.down_ms += [7.0]
    flood.totals.ended_early = 1
    first, second = seen([quiet, flood], [(9.9, 50.0), (10.0, 1.0), (10.9, 2.0), (11.0, 60.0), (12.5, 3.0)])
    assert (first.up_p99_ms, isnan(first.down_p99_ms), first.ended) == (2.0, True, 0)
    assert (second.up_p99_ms, second.down_p99_ms, second.ended) == (3.0, 7.0, 1)
