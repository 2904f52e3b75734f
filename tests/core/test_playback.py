from typing import Any

from trio_voice.core.commands import ClearPlayback, Command, PlayAudio, SendMark
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.events import ModelAudio
from trio_voice.core.playback import Cut, Flow, Playback
from trio_voice.core.settings import CallSettings


def ledger(*, marks: bool = True, **settings: Any) -> Playback:
    return Playback(CallSettings(mark_every_ms=200, mark_grace_s=2.0, **settings), Deadlines(), marks)


def audio(ms: float, item_id: str = "i1", response_id: str = "r1", level_dbfs: float | None = None) -> ModelAudio:
    return ModelAudio(1, response_id, item_id, b"a" * int(8 * ms), level_dbfs)


def sizes(commands: list[Command]) -> list[int | str]:
    """The audio's milliseconds and the marks' names."""
    return [len(c.audio) // 8 if isinstance(c, PlayAudio) else c.name if isinstance(c, SendMark) else "clear" for c in commands]


def test_a_mark_follows_every_200_ms_and_the_end() -> None:
    line = ledger()
    assert sizes(line.play(audio(150), 0.0)) == [150]
    assert sizes(line.play(audio(50), 0.0)) == [50, "1.1"]
    assert sizes(line.play(audio(30), 0.0)) == [30]
    assert sizes(line.end_item("i1", 0.0)) == ["1.2"]
    assert sizes(line.end_item("i1", 0.0)) == []


def test_a_long_piece_is_cut_so_that_marks_have_their_distance() -> None:
    assert sizes(ledger().play(audio(1000), 0.0)) == [400, "1.1", 400, "1.2", 200, "1.3"]


def test_the_position_moves_with_the_clock_up_to_the_next_mark() -> None:
    line = ledger()
    line.play(audio(200), 10.0)
    line.play(audio(200), 10.0)
    assert line.heard_ms("i1", 9.0) == 0
    assert line.heard_ms("i1", 10.0) == 0
    assert line.heard_ms("i1", 10.15) == 150
    assert line.heard_ms("i1", 10.2) == 200
    assert line.heard_ms("i1", 10.35) == 200  # the first mark has not been echoed
    assert line.marked("1.1", 10.25)
    assert line.heard_ms("i1", 10.35) == 300  # from the echo on
    assert line.heard_ms("i1", 10.9) == 400


def test_heard_is_never_more_than_sent_and_unknown_items_are_zero() -> None:
    line = ledger()
    line.play(audio(30), 0.0)
    assert line.heard_ms("i1", 100.0) == 30
    assert line.heard_ms("other", 100.0) == 0


def test_speaking_until_the_last_mark_is_echoed() -> None:
    line = ledger()
    assert not line.speaking
    line.play(audio(200), 0.0)
    line.play(audio(50), 0.0)
    line.end_item("i1", 0.0)
    line.marked("1.1", 0.2)
    states = [line.speaking]
    assert line.marked("1.2", 0.25)
    assert [*states, line.speaking] == [True, False]
    assert not line.marked("1.2", 0.25)


def test_a_later_mark_stands_for_those_before_it() -> None:
    line = ledger()
    line.play(audio(400), 0.0)
    line.play(audio(400), 0.0)
    assert line.marked("1.2", 0.8)
    assert not line.speaking
    assert not line.marked("1.1", 0.8)


def test_an_echo_of_a_flushed_mark_says_nothing_about_the_ear() -> None:
    line = ledger()
    line.play(audio(200), 0.0)
    assert sizes(line.clear(0.05)[0]) == ["clear"]
    line.play(audio(200, "i2"), 0.1)
    assert not line.marked("1.1", 0.1)
    assert line.heard_ms("i2", 0.1) == 0
    assert line.marked("2.2", 0.3)


def test_a_clear_says_what_was_cut_in_order() -> None:
    line = ledger()
    line.play(audio(200, "i1"), 0.0)
    line.end_item("i1", 0.0)
    line.play(audio(300, "i2"), 0.0)
    line.play(audio(100, "i3"), 0.0)
    assert line.marked("1.1", 0.2)
    commands, cuts = line.clear(0.25)
    assert commands == [ClearPlayback()]
    assert cuts == [Cut(1, "r1", "i2", 50, 300), Cut(1, "r1", "i3", 0, 100)]
    assert not line.speaking
    assert line.clear(0.25) == ([], [])


def test_an_item_heard_to_its_end_is_not_cut_but_one_that_goes_on_is() -> None:
    line = ledger()
    line.play(audio(200), 0.0)
    line.marked("1.1", 0.2)
    assert line.cuts(0.2) == [Cut(1, "r1", "i1", 200, 200)]
    line.end_item("i1", 0.2)
    assert line.cuts(0.2) == []


def test_audio_after_a_gap_begins_a_new_run() -> None:
    line = ledger()
    line.play(audio(100), 0.0)
    line.play(audio(150), 1.0)
    assert line.heard_ms("i1", 1.0) == 100
    assert line.heard_ms("i1", 1.05) == 150
    assert line.expected_end(1.05) == 1.15


def test_sizes_that_are_no_whole_milliseconds_add_up() -> None:
    line = ledger()
    for _ in range(16):
        line.play(ModelAudio(1, "r1", "i1", b"a" * 101), 0.0)
    line.end_item("i1", 0.0)
    assert line.heard_ms("i1", 0.1) == 100
    line.marked("1.1", 0.2)
    assert line.heard_ms("i1", 1.0) == 101 * 16 // 8


def test_items_side_by_side_have_several_spans() -> None:
    line = ledger()
    line.play(audio(50, "i1"), 0.0)
    line.play(audio(50, "i2"), 0.0)
    line.play(audio(50, "i1"), 0.0)
    assert [line.heard_ms(item, 0.125) for item in ("i1", "i2")] == [75, 50]
    assert [(cut.item_id, cut.heard_ms, cut.received_ms) for cut in line.cuts(0.07)] == [("i1", 50, 100), ("i2", 20, 50)]


def test_a_mark_that_is_not_echoed_is_taken_as_played() -> None:
    line = ledger()
    line.play(audio(200), 0.0)
    assert line.deadlines.at(Timer.MARK) == 2.2
    line.clock_passed(2.2)
    assert not line.speaking
    assert line.deadlines.at(Timer.MARK) is None


def test_where_marks_are_lost_the_clock_is_believed_up_to_where_it_stands() -> None:
    line = ledger()
    for _ in range(20):
        line.play(audio(200), 0.0)
    line.clock_passed(2.2)
    assert line.heard_ms("i1", 2.2) == 2200
    assert line.heard_ms("i1", 2.5) == 2400  # not beyond the next mark
    assert line.deadlines.at(Timer.MARK) == 4.4
    line.clock_passed(4.4)
    assert not line.speaking  # 4 s of audio, 2.4 s of waiting: not 20 times the grace


def test_nothing_is_no_audio() -> None:
    line = ledger()
    assert line.play(audio(0), 0.0) == []
    assert line.end_item("i1", 0.0) == []
    line.play(audio(200, "i2"), 0.0)
    line.end_item("i2", 0.0)
    line.play(audio(200, "i3"), 0.0)
    assert line.marked("1.2", 0.4)


def test_a_model_that_never_ends_is_more_than_a_line_takes() -> None:
    line = ledger(unheard_limit_s=1.0)
    line.play(audio(1000), 0.0)
    assert not line.overfull
    line.play(ModelAudio(1, "r1", "i1", b"a"), 0.0)
    assert line.overfull


def test_held_audio_is_speech_even_if_all_of_it_was_heard() -> None:
    line = ledger(barge_in_confirm_ms=200)
    line.play(audio(200), 0.0)
    line.hold(0.2)
    assert line.speaking
    assert line.resume(0.3) == []
    assert [line.speaking] == [False]


def test_what_ended_while_it_was_held_has_its_mark_when_it_goes_on() -> None:
    line = ledger(barge_in_confirm_ms=200)
    line.play(audio(100), 0.0)
    line.hold(0.05)
    assert line.end_item("i1", 0.1) == []
    assert sizes(line.resume(0.2)) == [50, "2.1"]


def test_without_marks_the_clock_alone_tells() -> None:
    line = ledger(marks=False)
    assert sizes(line.play(audio(400), 1.0)) == [400]
    line.play(audio(100), 1.0)
    assert line.deadlines.at(Timer.PLAYBACK_END) == 1.5
    line.clock_passed(1.5)
    assert not line.speaking
    assert line.deadlines.at(Timer.PLAYBACK_END) is None


def test_the_loudest_of_the_last_300_ms_is_the_echo_guard_s_reference() -> None:
    line = ledger()
    assert line.level_dbfs(0.0) is None
    line.play(audio(100, level_dbfs=-10.0), 0.0)
    line.play(audio(100, level_dbfs=-20.0), 0.0)
    line.play(audio(400, level_dbfs=-30.0), 0.0)
    line.marked("1.1", 0.2)
    assert [line.level_dbfs(at) for at in (0.2, 0.25, 0.4, 0.5, 0.6)] == [-10.0, -10.0, -20.0, -30.0, -30.0]


def test_held_then_resumed_from_where_it_was_cut() -> None:
    line = ledger(barge_in_confirm_ms=200)
    line.play(ModelAudio(1, "r1", "i1", b"1" * 800 + b"2" * 800), 0.0)
    assert line.hold(0.1) == [ClearPlayback()]
    assert (line.flow, line.speaking) == (Flow.HELD, True)
    assert line.heard_ms("i1", 9.0) == 100
    assert line.play(ModelAudio(1, "r1", "i1", b"3" * 400), 0.2) == []
    assert line.resume(0.5) == [PlayAudio("r1", "i1", b"2" * 800), PlayAudio("r1", "i1", b"3" * 400)]
    assert line.flow is Flow.PLAYING
    assert line.heard_ms("i1", 0.6) == 200


def test_held_then_dropped_clears_nothing_twice() -> None:
    line = ledger(barge_in_confirm_ms=200)
    line.play(audio(200), 0.0)
    line.hold(0.1)
    commands, cuts = line.clear(0.5)
    assert commands == []
    assert cuts == [Cut(1, "r1", "i1", 100, 200)]


def test_what_was_cleared_is_never_resumed() -> None:
    line = ledger(barge_in_confirm_ms=300)
    line.play(audio(400), 0.0)
    line.clear(0.1)
    line.play(audio(100, "i2"), 0.1)
    line.hold(0.15)
    assert sizes(line.resume(1.0)) == [50]


def test_what_was_heard_is_forgotten_even_if_nobody_asks_how_loud_it_was() -> None:
    line = ledger(marks=False)
    for number in range(1, 101):
        line.play(audio(100), number / 10)
        line.clock_passed(number / 10)
    assert len(line._pieces) <= 5
