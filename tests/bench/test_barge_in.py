"""The bench of barge-ins: its own arithmetic, and that the guards do what the table says of them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from bench.barge_in import OFF, ON, REVERSIBLE, Case, Figures, coughs, measured
from bench.barge_in_call import Carrier, Line
from bench.barge_in_callers import Conduct, Diary, Stop, Turn, Uttered
from bench.barge_in_lines import FRAME_SAMPLES, NOISES, Echo, EchoPath, Samples, echo_paths, noise
from bench.barge_in_voices import Voices, load_voices


@cache
def voices() -> Voices:
    return load_voices(None, 1, 1)


def rms_dbfs(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples**2)) - 20 * np.log10(32768))


# --- what is counted


def test_a_stop_belongs_to_the_sound_it_falls_into() -> None:
    diary = Diary(agent_s=60.0, end_s=60.0, stops=[Stop(5.0), Stop(10.25), Stop(11.3), Stop(11.4)])
    diary.uttered.append(Uttered(Conduct.INTERRUPTS, 10.0, 11.0))
    assert diary.stops_of(diary.uttered[0]) == [Stop(10.25), Stop(11.3)]
    assert diary.false_stops() == [Stop(5.0), Stop(11.4)]


def test_a_turn_in_which_nobody_spoke_counts_unless_it_was_dropped() -> None:
    turns = [Turn("of the caller", 10.5, 11.5), Turn("of nobody", 20.0, 21.0), Turn("dropped", 30.0, 31.0, dropped=True)]
    diary = Diary(end_s=60.0, turns=turns, uttered=[Uttered(Conduct.LISTENS, 10.0, 11.0)])
    assert [turn.item_id for turn in diary.false_turns()] == ["of nobody"]


def test_the_figures_of_two_calls() -> None:
    listening = Diary(agent_s=30.0, end_s=60.0, stops=[Stop(5.0)])
    sounds = [Uttered(Conduct.INTERRUPTS, at, at + 1.0) for at in (10.0, 20.0, 59.0)]
    figures = Figures()
    figures.add(listening, Diary(end_s=60.0, stops=[Stop(10.12)], uttered=sounds))
    assert figures.summary() == {
        "false_barge_ins_a_minute": 2.0,
        "false_turns_a_minute": 0.0,
        "interruptions": 2,  # the third had not ended when the call did
        "hits_percent": 50.0,
        "onset_median_ms": 120,
        "onset_p90_ms": 120,
        "agent_minutes": 0.5,
    }
    assert figures.plus(figures).summary()["interruptions"] == 4
    assert Figures().summary()["hits_percent"] is None


# --- lines


@pytest.mark.parametrize("kind", NOISES)
def test_noise_has_its_level_and_is_the_same_for_a_seed(kind: str) -> None:
    made = noise(kind, 2.0, -40.0, 1, voices().talk)
    assert rms_dbfs(made) == pytest.approx(-40.0)
    assert np.array_equal(made, noise(kind, 2.0, -40.0, 1, voices().talk))


@pytest.mark.parametrize("path", echo_paths(1), ids=lambda path: path.name)
def test_an_echo_is_as_far_below_the_speech_as_was_asked(path: EchoPath) -> None:
    speech = voices().replies[0]
    assert rms_dbfs(speech) - rms_dbfs(path.with_return_loss(20.0, speech).returned(speech)) == pytest.approx(20.0)


@pytest.mark.parametrize("path", echo_paths(1), ids=lambda path: path.name)
def test_frame_by_frame_the_same_echo_comes_back_after_its_delay(path: EchoPath) -> None:
    speech = voices().replies[0][: 100 * FRAME_SAMPLES]
    echo = Echo(path)
    frames = [echo.frame(speech[at : at + FRAME_SAMPLES]) for at in range(0, len(speech), FRAME_SAMPLES)]
    delay = path.delay_ms * 8
    assert np.allclose(np.concatenate(frames)[delay:], path.returned(speech)[: len(speech) - delay])


def test_the_carrier_plays_by_frames_and_flushes_marks() -> None:
    carrier = Carrier()
    for piece in (b"a" * 200, "1", b"b" * 100, "2"):
        carrier.queue(piece)
    assert carrier.left_s == 0.0375
    assert carrier.play() == (b"a" * 160, [])
    assert carrier.play() == (b"a" * 40 + b"b" * 100, ["1", "2"])
    carrier.queue("3")
    assert carrier.clear() == ["3"]
    assert carrier.play() == (b"", [])


# --- the guards


def test_with_the_guard_the_echo_interrupts_nobody_and_the_caller_does() -> None:
    breath = noise("pink", 2.0, -65.0, 1, voices().talk)
    case = Case("echo", "handset", Line(breath, echo_paths(1)[0].with_return_loss(20.0, voices().replies[0])))
    on, off = (measured(case, settings, voices(), [1]) for settings in (ON, OFF))
    assert on.false_stops == 0 < off.false_stops
    assert len(on.onsets_ms) == on.interruptions > 0


def test_after_a_cough_the_agent_goes_on_only_if_barge_ins_are_confirmed() -> None:
    assert coughs(voices(), ON, [1])["went_on"] == 0
    reversible = coughs(voices(), REVERSIBLE, [1])
    assert reversible["went_on"] == reversible["silenced"] > 0
