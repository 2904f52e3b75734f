"""Both sides of a call on one axis: jitter, stalls and losses of the caller's side; marks and clears of the agent's."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trio_voice.recording.tape import FARTHEST_AHEAD_S, SAMPLES_PER_S, Tape

FRAME = 160
SILENCE = b"\xff"


def voice(number: int) -> bytes:
    """A frame of its own, loud."""
    return bytes([number % 100]) * FRAME


def runs_of(audio: bytes) -> list[tuple[int, int]]:
    """What is in it, as (code, how many in a row)."""
    found: list[tuple[int, int]] = []
    for code in audio:
        if found and found[-1][0] == code:
            found[-1] = (code, found[-1][1] + 1)
        else:
            found.append((code, 1))
    return found


def said(*frames: tuple[float, int], until_s: float) -> list[tuple[int, int]]:
    """What the caller's side has when frames of these numbers came at these moments."""
    tape = Tape()
    for at_s, number in frames:
        tape.said(voice(number), at_s)
    return runs_of(tape.take(until_s)[0])


# --- the caller


def test_frames_in_their_time_lie_where_they_were_spoken() -> None:
    assert said((0.02, 1), (0.04, 2), (0.06, 3), until_s=0.08) == [(1, 160), (2, 160), (3, 160), (255, 160)]


def test_a_stream_that_begins_later_begins_later() -> None:
    assert said((0.5, 1), (0.52, 2), until_s=0.52) == [(255, 3840), (1, 160), (2, 160)]


def test_jitter_makes_no_gap() -> None:
    assert said((0.02, 1), (0.09, 2), (0.091, 3), (0.1, 4), until_s=0.08) == [(1, 160), (2, 160), (3, 160), (4, 160)]


def test_frames_that_are_lost_leave_a_gap() -> None:
    assert said((0.02, 1), (0.52, 2), (0.54, 3), until_s=0.54) == [(1, 160), (255, 3840), (2, 160), (3, 160)]


def test_a_network_that_stood_still_leaves_none() -> None:
    stalled = [(0.52, number) for number in range(2, 27)]
    frames = said((0.02, 1), *stalled, (0.54, 27), until_s=0.54)
    assert frames == [(number, 160) for number in range(1, 28)]


def test_a_network_that_stood_still_and_lost_frames_leaves_a_gap_of_their_length() -> None:
    assert said((0.02, 1), (0.52, 2), (0.52, 3), (0.54, 4), until_s=0.54) == [(1, 160), (255, 3680), (2, 160), (3, 160), (4, 160)]


def test_after_a_stall_that_was_read_off_the_callers_side_catches_up_in_silence() -> None:
    tape = Tape()
    tape.said(voice(1), 0.02)
    assert runs_of(tape.take(1.0)[0]) == [(1, 160), (255, 7840)]
    for number in range(2, 102):  # two seconds at once, of which one was read off as silence
        tape.said(voice(number), 2.02)
    for frame in range(100):
        tape.said(SILENCE * FRAME if frame < 90 else voice(frame + 20), 2.04 + 0.02 * frame)
    assert runs_of(tape.take(4.22)[0]) == [
        *((number % 100, 160) for number in range(2, 102)),
        (255, 8160),  # of 1.8 s of silence, 0.78 s were left out: until the caller's side is ahead by no more than 0.2 s
        *((number, 160) for number in range(10, 20)),
    ]


def test_a_flood_is_not_kept() -> None:
    tape = Tape()
    for number in range(1000):
        tape.said(voice(number), 0.02)
    assert tape.held == FARTHEST_AHEAD_S * SAMPLES_PER_S + FRAME


# --- the agent


def heard(*happened: tuple[Any, ...], until_s: float) -> list[tuple[int, int]]:
    """What the agent's side has after this."""
    tape = Tape()
    for what, *arguments in happened:
        getattr(tape, what)(*arguments)
    return runs_of(tape.take(until_s)[1])


def test_what_comes_faster_than_it_is_heard_is_heard_in_its_turn() -> None:
    assert heard(("played", voice(1), 0.1), ("played", voice(2), 0.1), ("played", voice(3), 0.11), until_s=0.2) == [
        (255, 800),
        (1, 160),
        (2, 160),
        (3, 160),
        (255, 320),
    ]


def test_what_comes_when_nothing_plays_is_heard_at_once() -> None:
    assert heard(("played", voice(1), 0.0), ("played", voice(2), 0.1), until_s=0.12) == [(1, 160), (255, 640), (2, 160)]


def test_a_clear_cuts_what_was_not_heard() -> None:
    assert heard(("played", voice(1) + voice(2), 0.0), ("cleared", 0.03), ("played", voice(3), 0.05), until_s=0.07) == [
        (1, 160),
        (2, 80),
        (255, 160),
        (3, 160),
    ]


def test_a_clear_of_nothing_and_a_clear_of_several_runs() -> None:
    assert heard(("cleared", 0.0), until_s=0.01) == [(255, 80)]
    played = [("played", voice(1), 0.0), ("mark_sent", "1"), ("played", voice(2), 0.1), ("mark_echoed", "1", 0.2)]
    assert heard(*played, ("cleared", 0.19), until_s=0.3) == [(255, 1440), (1, 80), (255, 880)]


def test_the_first_echo_tells_when_a_run_began() -> None:
    played = [("played", voice(1), 0.0), ("mark_sent", "1"), ("played", voice(2), 0.0)]
    assert heard(*played, ("mark_echoed", "1", 0.05), until_s=0.07) == [(255, 240), (1, 160), (2, 160)]


def test_an_echo_that_comes_earlier_than_the_last_one_said_moves_nothing_back() -> None:
    played = [("played", voice(1), 0.0), ("mark_sent", "1"), ("played", voice(2), 0.0), ("mark_sent", "2")]
    assert heard(*played, ("mark_echoed", "1", 0.05), ("mark_echoed", "2", 0.06), until_s=0.07) == [
        (255, 240),
        (1, 160),
        (2, 160),
    ]


def test_a_run_that_is_moved_pushes_the_next_one() -> None:
    played = [("played", voice(1), 0.0), ("mark_sent", "1"), ("played", voice(2), 0.03)]
    assert heard(*played, ("mark_echoed", "1", 0.06), until_s=0.08) == [(255, 320), (1, 160), (2, 160)]


def test_marks_of_what_was_cleared_move_nothing() -> None:
    played = [("played", voice(1), 0.0), ("mark_sent", "1"), ("cleared", 0.01), ("played", voice(2), 0.01)]
    assert heard(*played, ("mark_echoed", "1", 0.02), ("mark_echoed", "9", 0.02), until_s=0.03) == [(1, 80), (2, 160)]


def test_audio_in_which_the_file_stands_is_moved_only_when_it_is_far_off() -> None:
    for echoed_s, gap in ((2.19, []), (2.5, [(255, 4000)])):
        tape = Tape()
        tape.played(b"\x01" * 16_000, 0.0)
        tape.mark_sent("1")
        tape.played(b"\x02" * 800, 0.0)
        assert runs_of(tape.take(1.0)[1]) == [(1, 8000)]
        tape.mark_echoed("1", echoed_s)
        assert runs_of(tape.take(4.0)[1])[: 2 + len(gap)] == [*gap, (1, 8000), (2, 800)]


def test_both_sides_are_always_as_long_as_each_other_and_as_the_call() -> None:
    tape = Tape()
    tape.said(voice(1), 0.02)
    tape.played(voice(2) * 10, 0.01)
    assert [len(side) for side in tape.take(0.5)] == [4000, 4000]
    assert [len(side) for side in tape.take(0.4)] == [0, 0]
    assert tape.position_s == 0.5
    assert tape.held == 0


STEPS = st.lists(
    st.tuples(
        st.floats(0, 0.5),
        st.sampled_from(["said", "played", "mark_sent", "mark_echoed", "cleared", "take"]),
        st.integers(0, 5),
        st.integers(1, 4000),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_sides_are_whole_and_nothing_is_made_up(steps: list[tuple[float, str, int, int]]) -> None:
    tape, now_s = Tape(), 0.0
    left, right, given_left, given_right = b"", b"", 0, 0
    for after_s, what, number, size in steps:
        now_s += after_s
        if what == "said":
            tape.said(b"\x01" * size, now_s)
            given_left += size
        elif what == "played":
            tape.played(b"\x02" * size, now_s)
            given_right += size
        elif what == "mark_sent":
            tape.mark_sent(str(number))
        elif what == "mark_echoed":
            tape.mark_echoed(str(number), now_s)
        elif what == "cleared":
            tape.cleared(now_s)
        else:
            said_then, heard_then = tape.take(now_s - 0.3)
            left, right = left + said_then, right + heard_then
    said_then, heard_then = tape.take(now_s)
    left, right = left + said_then, right + heard_then
    assert len(left) == len(right) == round(max(now_s, 0.0) * SAMPLES_PER_S)
    assert left.count(1) + left.count(255) == len(left)
    assert left.count(1) <= given_left
    assert right.count(2) + right.count(255) == len(right)
    assert right.count(2) <= given_right
