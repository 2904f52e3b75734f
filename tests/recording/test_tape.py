"""Both sides of a call on one axis: jitter, stalls and losses of the caller's side; marks and clears of the agent's."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.recording.paper import SILENCE, Paper
from trio_voice.recording.tape import FARTHEST_AHEAD_S, HEARD, SAID, SAMPLES_PER_S, Blank, Move, Put, Tape

FRAME = 160


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


def happened(*steps: tuple[Any, ...], until_s: float) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """What is on both sides after this, whether all of it waits until then, or is given away at once."""
    late, prompt = Paper(), Paper()
    for what, *arguments in steps:
        for paper in (late, prompt):
            getattr(paper.tape, what)(*arguments)
        prompt.give()
    found = late.take(until_s)
    assert prompt.take(until_s) == found
    return runs_of(found[SAID]), runs_of(found[HEARD])


def said(*frames: tuple[float, int], until_s: float) -> list[tuple[int, int]]:
    """What the caller's side has when frames of these numbers came at these moments."""
    return happened(*(("said", voice(number), at_s) for at_s, number in frames), until_s=until_s)[SAID]


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
    paper = Paper()
    tape = paper.tape
    tape.said(voice(1), 0.02)
    assert runs_of(paper.take(1.0)[0]) == [(1, 160), (255, 7840)]
    for number in range(2, 102):  # two seconds at once, of which one was read off as silence
        tape.said(voice(number), 2.02)
    for frame in range(100):
        tape.said(SILENCE * FRAME if frame < 90 else voice(frame + 20), 2.04 + 0.02 * frame)
    assert runs_of(paper.take(4.22)[0]) == [
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


def heard(*steps: tuple[Any, ...], until_s: float) -> list[tuple[int, int]]:
    """What the agent's side has after this."""
    return happened(*steps, until_s=until_s)[HEARD]


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


def test_later_echoes_move_a_run_only_when_it_is_far_off() -> None:
    played = [("played", voice(1), 0.0), ("mark_sent", "1"), ("played", voice(2), 0.0), ("mark_sent", "2")]
    dated = [*played, ("mark_echoed", "1", 0.05)]
    assert heard(*dated, ("mark_echoed", "2", 0.27), until_s=0.07) == [(255, 240), (1, 160), (2, 160)]
    assert heard(*dated, ("mark_echoed", "2", 0.271), until_s=0.271) == [(255, 1848), (1, 160), (2, 160)]


def test_audio_of_which_a_part_is_settled_is_moved_only_when_it_is_far_off() -> None:
    for echoed_s, gap in ((2.19, []), (2.5, [(255, 4000)])):
        paper = Paper()
        tape = paper.tape
        tape.played(b"\x01" * 16_000, 0.0)
        tape.mark_sent("1")
        tape.played(b"\x02" * 800, 0.0)
        assert runs_of(paper.take(1.0)[1]) == [(1, 8000)]
        tape.mark_echoed("1", echoed_s)
        assert runs_of(paper.take(4.0)[1])[: 2 + len(gap)] == [*gap, (1, 8000), (2, 800)]


def test_both_sides_are_always_as_long_as_each_other_and_as_the_call() -> None:
    paper = Paper()
    tape = paper.tape
    tape.said(voice(1), 0.02)
    tape.played(voice(2) * 10, 0.01)
    assert [len(side) for side in paper.take(0.5)] == [4000, 4000]
    assert [len(side) for side in paper.take(0.4)] == [0, 0]
    assert tape.position_s == 0.5
    assert tape.held == 0


# --- what is given away before it is settled


def test_a_run_is_given_away_when_it_has_its_place_and_then_with_all_that_follows() -> None:
    tape = Tape()
    tape.played(voice(1), 0.5)
    tape.mark_sent("1")
    assert tape.take(0.5) == []  # an echo may tell that it was heard later
    tape.mark_echoed("1", 0.53)
    assert tape.take(0.5) == [Put(HEARD, 4080, voice(1))]
    tape.played(voice(2) * 2, 0.53)
    assert tape.take(0.5) == [Put(HEARD, 4240, voice(2) * 2)]
    tape.played(voice(3), 2.0)
    assert tape.take(2.01) == [Put(HEARD, 16_000, voice(3))]  # no echo came, and now it lies where it lies
    assert tape.take(3.0) == []
    assert tape.held == 0


def test_what_the_caller_says_behind_a_gap_is_given_away_when_the_gap_cannot_be_closed_any_more() -> None:
    tape = Tape()
    tape.said(voice(1), 0.02)
    tape.said(voice(2), 0.52)
    assert tape.take(0.02) == [Put(SAID, 0, voice(1))]
    tape.said(voice(3), 0.52)
    assert tape.take(0.481) == [Put(SAID, 3840, voice(2) + voice(3))]
    tape.said(voice(4), 0.54)
    assert tape.take(0.481) == [Put(SAID, 4160, voice(4))]


def dated_run(samples: int) -> Tape:
    """A tape with a run that was given away."""
    tape = Tape()
    tape.played(voice(1), 0.0)
    tape.mark_sent("first")
    tape.mark_echoed("first", 0.02)
    tape.played(b"\x02" * (samples - FRAME), 0.02)
    tape.mark_sent("last")
    assert tape.take(0.0) == [Put(HEARD, 0, voice(1) + b"\x02" * (samples - FRAME))]
    return tape


def test_what_is_given_away_is_cut_where_it_lies() -> None:
    tape = dated_run(8000)
    tape.played(voice(3), 0.5)
    tape.cleared(0.6)
    assert tape.take(0.0) == [Blank(HEARD, 4800, 3200)]  # and what was not given away never is
    tape.cleared(0.7)
    assert tape.take(0.0) == []


def test_what_is_given_away_is_moved_where_it_lies_and_what_it_runs_into_goes_first() -> None:
    tape = dated_run(8000)
    tape.played(voice(3), 1.2)
    assert tape.take(0.5) == []
    tape.mark_echoed("last", 1.3)
    assert tape.take(0.5) == [Move(HEARD, 4000, 6400, 4000)]
    assert tape.take(1.31) == [Put(HEARD, 10_400, voice(3))]  # it was pushed: the one before it was heard until 1.3


def test_two_runs_that_were_given_away_are_moved_the_last_one_first() -> None:
    tape = dated_run(8000)
    tape.played(voice(3), 1.1)
    tape.mark_sent("next")
    tape.mark_echoed("next", 1.12)
    assert tape.take(0.0) == [Put(HEARD, 8800, voice(3))]
    tape.mark_echoed("last", 1.3)
    assert tape.take(0.0) == [Move(HEARD, 8800, 10_400, 160), Move(HEARD, 0, 2400, 8000)]


def test_of_a_run_that_is_moved_late_what_is_settled_stays() -> None:
    tape = dated_run(16_000)
    assert tape.take(1.0) == []
    tape.mark_echoed("last", 2.5)
    assert tape.take(1.0) == [Move(HEARD, 8000, 12_000, 8000)]
    tape.cleared(2.6)
    assert tape.take(1.0) == []  # all of it was heard by then: the carrier said so
    tape.played(b"\x02" * 800, 2.6)
    assert tape.take(4.0) == [Put(HEARD, 20_800, b"\x02" * 800)]


STEPS = st.lists(
    st.tuples(
        st.floats(0, 0.5),
        st.sampled_from(["said", "played", "mark_sent", "mark_echoed", "cleared", "take"]),
        st.integers(0, 5),
        st.integers(1, 4000),
    ),
    max_size=40,
)


@given(STEPS, st.booleans())
def test_whatever_happens_sides_are_whole_nothing_is_made_up_and_it_does_not_matter_what_lies_in_the_file(
    steps: list[tuple[float, str, int, int]], is_settled_late: bool
) -> None:
    """One tape gives away all at once, the other when it is settled, which it is rarely or only at the end."""
    prompt, late, now_s = Paper(), Paper(), 0.0
    left, right, given_left, given_right = b"", b"", 0, 0
    for place, (after_s, what, number, size) in enumerate(steps):
        now_s += after_s
        for tape in (prompt.tape, late.tape):
            if what == "said":
                tape.said(bytes([place]) * size, now_s)
            elif what == "played":
                tape.played(bytes([place]) * size, now_s)
            elif what == "mark_sent":
                tape.mark_sent(str(number))
            elif what == "mark_echoed":
                tape.mark_echoed(str(number), now_s)
            elif what == "cleared":
                tape.cleared(now_s)
        given_left += size * (what == "said")
        given_right += size * (what == "played")
        if what == "take" and not is_settled_late:
            prompt.give()
            said_then, heard_then = prompt.take(now_s - 0.3)
            assert late.take(now_s - 0.3) == (said_then, heard_then)
            left, right = left + said_then, right + heard_then
        prompt.give()
        if what == "cleared":
            unheard = max(prompt.tape.position, round(now_s * SAMPLES_PER_S))
            assert not prompt.sides[HEARD][unheard:].strip(SILENCE)
    said_then, heard_then = prompt.take(now_s)
    assert late.take(now_s) == (said_then, heard_then)
    left, right = left + said_then, right + heard_then
    assert len(left) == len(right) == round(max(now_s, 0.0) * SAMPLES_PER_S)
    assert len(left) - left.count(SILENCE) <= given_left
    assert len(right) - right.count(SILENCE) <= given_right
