"""The noise floor: each rule at its boundary, and the sorted window against the plain definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_voice.audio.floor import CAP_DBFS, CAP_EARLY_DBFS, FALLBACK_DBFS, LOWEST_DBFS, NoiseFloor


def fed(*levels_dbfs: float) -> NoiseFloor:
    floor = NoiseFloor()
    for level_dbfs in levels_dbfs:
        floor.add(level_dbfs)
    return floor


def test_under_five_frames_there_is_no_estimate() -> None:
    assert NoiseFloor().dbfs == FALLBACK_DBFS
    assert fed(*[-50.0] * 4).dbfs == FALLBACK_DBFS
    assert fed(*[-50.0] * 5).dbfs == -50.0


def test_at_first_it_is_the_minimum_and_from_15_frames_the_tenth_percentile() -> None:
    assert fed(*[-50.0] * 13, -58.0).dbfs == -58.0
    assert fed(*[-50.0] * 14, -58.0).dbfs == -50.0
    assert fed(*[-50.0] * 18, -58.0, -57.0).dbfs == -50.0
    assert fed(*[-50.0] * 17, -58.0, -57.0, -56.0).dbfs == -56.0


def test_digital_silence_is_skipped() -> None:
    floor = fed(*[-100.0] * 50, *[-85.1] * 50, *[-55.0] * 4)
    assert floor.usable_frames == 4
    assert floor.dbfs == FALLBACK_DBFS
    floor.add(-85.0)
    assert floor.dbfs == LOWEST_DBFS


def test_a_caller_who_speaks_at_once_does_not_count_as_noise() -> None:
    assert fed(*[-20.0] * 99).dbfs == CAP_EARLY_DBFS
    assert fed(*[-20.0] * 100).dbfs == CAP_DBFS
    assert fed(*[-30.0] * 100).dbfs == -30.0


def test_it_follows_the_line_within_its_window_of_three_seconds() -> None:
    floor = fed(*[-60.0] * 150)
    for _ in range(135):
        floor.add(-40.0)
        assert floor.dbfs == -60.0 or floor.usable_frames == 150
    assert floor.dbfs == -40.0  # 15 of the old levels are left: index 15 is a new one
    floor = fed(*[-60.0] * 150, *[-40.0] * 134)
    assert floor.dbfs == -60.0


def test_a_step_down_is_followed_in_a_third_of_a_second() -> None:
    floor = fed(*[-40.0] * 150, *[-60.0] * 15)
    assert floor.dbfs == -40.0
    floor.add(-60.0)
    assert floor.dbfs == -60.0


@given(st.lists(st.integers(-10_000, 0).map(lambda hundredths: hundredths / 100), max_size=400))
def test_it_is_what_the_definition_says(levels_dbfs: list[float]) -> None:
    usable = [level_dbfs for level_dbfs in levels_dbfs if level_dbfs >= -85.0]
    window = sorted(usable[-150:])
    count = len(window)
    floor = fed(*levels_dbfs)
    assert floor.usable_frames == count
    if count < 5:
        assert floor.dbfs == -60.0
        return
    estimate = window[0] if count < 15 else window[count // 10]
    assert floor.dbfs == min(max(estimate, -72.0), -45.0 if count < 100 else -28.0)


def test_a_level_above_all_that_can_be_counts_as_the_highest() -> None:
    assert fed(*[1e9] * 200).dbfs == -28.0
    assert fed(*[-60.0] * 20, *[1e300] * 5).dbfs == -60.0


def test_levels_are_kept_to_a_hundredth() -> None:
    assert fed(*[-51.3] * 20).dbfs == -51.3
    assert fed(*[-51.304] * 20).dbfs == -51.3
