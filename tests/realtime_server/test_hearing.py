"""The detector as a machine: its two clocks, its boundaries, its settings. test_hearing_noise measures how well it hears."""

from __future__ import annotations

import random

import numpy as np
import pytest
from attrs import define, field

from trio_voice.realtime_server.hearing import (
    BYTES_PER_MS,
    Hearing,
    HearingSettings,
    SpeechBegan,
    SpeechEnded,
    TelephoneJudge,
)


@define
class ScriptedJudge:
    """Voiced frames are those whose first sample is not 0; it keeps the thresholds that it was asked with."""

    frame_ms: int = 20
    onset_window: int = 5
    onset_voiced: int = 4
    thresholds: list[float] = field(factory=list)

    def is_voiced(self, pcm16: bytes, threshold: float) -> bool:
        assert len(pcm16) == self.frame_ms * BYTES_PER_MS
        self.thresholds.append(threshold)
        return pcm16[0] != 0


def frames(pattern: str) -> bytes:
    """One 20 ms frame a character: `#` voiced, anything else not."""
    return b"".join(bytes([c == "#"]) * (20 * BYTES_PER_MS) for c in pattern)


def scripted(*, silence_ms: int = 500, prefix_ms: int = 300, threshold: float = 0.5) -> Hearing:
    return Hearing(HearingSettings(threshold, prefix_ms, silence_ms), judge=ScriptedJudge())


def babbling(seconds: float, level_dbfs: float = -20.0) -> bytes:
    """Something voiced: harmonics of 140 Hz, four syllables a second."""
    t = np.arange(int(8000 * seconds)) / 8000
    sound = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 20)) * (0.15 + np.abs(np.sin(2 * np.pi * 2 * t)))
    sound *= 10 ** (level_dbfs / 20) * 32768 / np.sqrt(np.mean(sound**2))
    return np.clip(sound, -32768, 32767).astype("<i2").tobytes()


def noise(seconds: float, level_dbfs: float = -60.0, seed: int = 1) -> bytes:
    samples = np.random.default_rng(seed).standard_normal(int(8000 * seconds)) * 10 ** (level_dbfs / 20) * 32768
    return np.clip(samples, -32768, 32767).astype("<i2").tobytes()


def test_speech_is_dated_to_the_wire_frame_of_its_first_voiced_judged_frame() -> None:
    hearing = scripted(prefix_ms=300)
    # 25 silent frames: voiced from 500 ms on, which lies in the wire frame 480..512
    assert hearing.hear(frames("." * 25 + "####")) == []  # the fourth voiced frame ends at 580 ms; the boundary after it is 608
    assert hearing.audio_ms == 580
    assert hearing.hear(frames(".")) == []  # 600 ms
    assert hearing.hear(frames(".")) == [SpeechBegan(480 - 300)]
    assert hearing.speaking


@pytest.mark.parametrize(("padding_ms", "start_ms"), [(0, 160), (100, 60), (160, 0), (161, 0), (5000, 0)])
def test_prefix_padding_never_reaches_before_the_beginning(padding_ms: int, start_ms: int) -> None:
    assert scripted(prefix_ms=padding_ms).hear(frames("." * 8 + "#####" + "..")) == [SpeechBegan(start_ms)]


def test_four_of_five_begin_speech_and_three_do_not() -> None:
    assert scripted().hear(frames("###..###..###...#.#.#.##..")) == []
    assert scripted(prefix_ms=0).hear(frames("." * 16 + "##.##" + "....")) == [SpeechBegan(320)]


@pytest.mark.parametrize(
    ("silence_ms", "end_ms"),
    [(0, 96), (28, 128), (29, 160), (60, 160), (61, 192), (200, 320), (500, 608), (512, 640), (508, 608), (509, 640)],
)
def test_speech_ends_at_the_first_boundary_after_the_silence(silence_ms: int, end_ms: int) -> None:
    """The last voiced frame ends at 100 ms."""
    hearing = scripted(silence_ms=silence_ms)
    told = [(hearing.audio_ms, event) for _ in range(1000) for event in hearing.hear(b"")]
    assert told == []
    for ms in range(1, 1000):
        told += [(ms, event) for event in hearing.hear(frames("#####" + "." * 45)[(ms - 1) * BYTES_PER_MS : ms * BYTES_PER_MS])]
    assert told == [(96, SpeechBegan(0)), (end_ms, SpeechEnded(end_ms))]
    assert not hearing.speaking


def test_a_pause_shorter_than_the_silence_does_not_end_the_turn() -> None:
    hearing = scripted(silence_ms=500)
    events = hearing.hear(frames("#####" + "." * 24 + "#" + "." * 40))
    # voiced until 100 ms, again until 600 ms; the first boundary from 1100 ms on is 1120
    assert events == [SpeechBegan(0), SpeechEnded(1120)]


def test_the_next_turn_needs_its_own_onset() -> None:
    hearing = scripted(silence_ms=32, prefix_ms=0)
    events = hearing.hear(frames("#####" + "..#.." + "###" + "." * 8 + "####" + "." * 10))
    assert [type(event) for event in events] == [SpeechBegan, SpeechEnded, SpeechBegan, SpeechEnded]
    assert events[2] == SpeechBegan(416)  # voiced from 420 ms


def test_how_the_audio_is_cut_changes_nothing() -> None:
    audio = frames("." * 12 + "##.####.##" + "." * 40 + "#####.#.#" + "." * 40) + b"\x00"
    whole = scripted().hear(audio)
    assert len(whole) == 4
    shuffle = random.Random(7)
    for _ in range(20):
        hearing, told, at = scripted(), [], 0
        while at < len(audio):
            size = shuffle.choice([1, 2, 3, 319, 320, 321, 511, 512, 513, 4000])
            told += hearing.hear(audio[at : at + size])
            at += size
        assert told == whole
        assert hearing.audio_ms == (len(audio) - 1) // BYTES_PER_MS


def test_audio_ms_counts_whole_milliseconds() -> None:
    hearing = scripted()
    hearing.hear(bytes(BYTES_PER_MS - 1))
    assert hearing.audio_ms == 0
    hearing.hear(b"\x00")
    assert hearing.audio_ms == 1


def test_reset_forgets_the_turn_but_not_the_clock() -> None:
    hearing = scripted(prefix_ms=0)
    assert hearing.hear(frames("#####" + "..")) == [SpeechBegan(0)]
    hearing.reset()
    assert not hearing.speaking
    assert hearing.audio_ms == 140
    assert hearing.hear(frames("." * 60)) == []  # no end is told of a turn that was dropped
    assert hearing.hear(frames("....####" + "...")) == [SpeechBegan(1408)]  # voiced from 1420 ms


def test_reset_in_an_onset_needs_four_new_voiced_frames() -> None:
    hearing = scripted()
    hearing.hear(frames("...###"))
    hearing.reset()
    assert hearing.hear(frames("###....")) == []


def test_settings_may_be_replaced_in_mid_turn() -> None:
    judge = ScriptedJudge()
    hearing = Hearing(HearingSettings(0.5, 300, 5000), judge=judge)
    hearing.hear(frames("#####" + "." * 30))
    assert set(judge.thresholds) == {0.5}
    hearing.settings = HearingSettings(threshold=0.9, prefix_padding_ms=0, silence_duration_ms=200)
    assert hearing.hear(frames("..")) == [SpeechEnded(704)]  # the new silence is long over: it ends at the next boundary
    assert judge.thresholds[-1] == 0.9


@pytest.mark.parametrize(("threshold", "prefix_ms", "silence_ms"), [(-0.1, 0, 0), (1.1, 0, 0), (0.5, -1, 0), (0.5, 0, -1)])
def test_settings_out_of_range_are_refused(threshold: float, prefix_ms: int, silence_ms: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        HearingSettings(threshold, prefix_ms, silence_ms)


def test_a_voice_is_heard_over_the_line_and_its_end_too() -> None:
    hearing = Hearing(HearingSettings(0.5, 0, 500))
    events = hearing.hear(noise(2.0) + babbling(1.5) + noise(1.5, seed=2))
    assert [type(event) for event in events] == [SpeechBegan, SpeechEnded]
    assert isinstance(events[0], SpeechBegan)
    assert isinstance(events[1], SpeechEnded)
    assert 1984 <= events[0].audio_start_ms <= 2048
    assert 3900 <= events[1].audio_end_ms <= 4160  # webrtcvad itself holds on for a few frames


@pytest.mark.parametrize("level_dbfs", [-75.0, -50.0, -35.0])
def test_steady_noise_is_no_speech(level_dbfs: float) -> None:
    """The first 2 s are left out: until then the floor is capped at -45 dBFS for the sake of callers who speak at once."""
    hearing = Hearing(HearingSettings(0.5, 300, 500))
    hearing.hear(noise(3.0, level_dbfs))
    assert hearing.hear(noise(20.0, level_dbfs, seed=2)) == []


@pytest.mark.parametrize("audio", [bytes(16000), b"\xff\x7f" * 8000, b"\x00\x80\xff\x7f" * 4000, b"\x55" * 16001])
def test_odd_audio_is_no_error(audio: bytes) -> None:
    Hearing(HearingSettings()).hear(audio)


def test_a_higher_threshold_asks_for_a_louder_voice() -> None:
    """A voice at -40 dBFS: heard at 0.5 (-48 dBFS), not at 1.0 (-36 dBFS); one at -54 dBFS only at 0 (-60 dBFS)."""

    def heard(level_dbfs: float, threshold: float) -> bool:
        return bool(Hearing(HearingSettings(threshold)).hear(noise(2.0, -75.0) + babbling(1.0, level_dbfs) + noise(1.0, -75.0)))

    assert [heard(-41.0, threshold) for threshold in (0.0, 0.5, 1.0)] == [True, True, False]
    assert [heard(-54.0, threshold) for threshold in (0.0, 0.5, 1.0)] == [True, False, False]


def test_the_judge_learns_the_floor_of_its_line() -> None:
    judge = TelephoneJudge()
    Hearing(HearingSettings(), judge=judge).hear(noise(3.0, -50.0))
    assert judge.floor.dbfs == pytest.approx(-51, abs=1.5)  # a 10th percentile lies below the mean
