"""What is measured at the caller's ear: recordings are drawn with a pen of 5 ms."""

from __future__ import annotations

from trio_voice.phone.carrier import Happening, LineEvent
from trio_voice.phone.report import TurnReport, turn_reports, unanswered
from trio_voice.phone.scenario import Spoken

SOUND, SILENCE = bytes([0x90, 0x10]) * 4, b"\xff" * 8


def heard(*spans: tuple[float, float], until_s: float = 10.0) -> bytes:
    """What is heard when the agent sounds in these spans (seconds)."""
    recording = bytearray(SILENCE * round(until_s * 1000))
    for begin_s, end_s in spans:
        begin, end = round(begin_s * 8000), round(end_s * 8000)
        recording[begin:end] = SOUND * ((end - begin) // 8)
    return bytes(recording)


def cleared(at_s: float) -> LineEvent:
    return LineEvent(at_s, Happening.CLEARED)


def only(recording: bytes, spoken: Spoken, *events: LineEvent) -> TurnReport:
    (report,) = turn_reports(recording, [spoken], events)
    return report


def test_an_answer_is_timed_from_the_end_of_the_callers_sound_to_the_agents_first() -> None:
    spoken = Spoken("hello", 2.0, 4.0)
    assert only(heard((0.5, 1.5), (4.75, 6.0)), spoken) == TurnReport(spoken, answered_after_s=0.75)


def test_each_utterance_has_its_own_answer_or_none() -> None:
    turns = [Spoken("a", 1.0, 2.0), Spoken("b", 3.0, 4.0), Spoken("c", 6.0, 7.0)]
    reports = turn_reports(heard((4.5, 5.0), (7.25, 8.0)), turns, [])
    assert [report.answered_after_s for report in reports] == [None, 0.5, 0.25]


def test_a_barge_in_is_timed_from_the_callers_onset_to_the_clear() -> None:
    spoken = Spoken("wait", 3.0, 5.0)
    report = only(heard((1.0, 3.28), (5.9, 7.0)), spoken, cleared(3.282))
    assert report == TurnReport(spoken, answered_after_s=0.9, into_speech=True, silenced_after_s=0.282, cut=True)


def test_a_clear_in_a_pause_between_words_counts_from_the_clear() -> None:
    report = only(heard((1.0, 3.1)), Spoken("wait", 3.0, 5.0), cleared(3.3))
    assert (report.silenced_after_s, report.cut) == (0.3, True)


def test_audio_that_comes_after_the_clear_is_not_hidden_by_it() -> None:
    report = only(heard((1.0, 3.2), (3.25, 4.0)), Spoken("wait", 3.0, 5.0), cleared(3.2))
    assert (report.silenced_after_s, report.cut) == (1.0, True)


def test_an_agent_who_finishes_by_itself_was_not_cut() -> None:
    report = only(heard((1.0, 3.5), (3.6, 4.0), (6.0, 7.0)), Spoken("wait", 3.0, 5.0), cleared(8.0))
    assert (report.into_speech, report.silenced_after_s, report.cut) == (True, 1.0, False)


def test_an_agent_who_goes_on_was_not_silenced_and_has_not_answered() -> None:
    spoken = Spoken("wait", 3.0, 5.0)
    assert only(heard((1.0, 9.9)), spoken) == TurnReport(spoken, into_speech=True)


def test_an_utterance_that_the_call_did_not_live_to_see_is_left_out() -> None:
    assert turn_reports(heard(until_s=2.0), [Spoken("late", 3.0, 4.0)], []) == []
    assert turn_reports(b"", [Spoken("never", 0.0, 1.0)], []) == []


def test_an_agent_who_has_just_finished_was_not_interrupted() -> None:
    assert not only(heard((1.0, 2.8)), Spoken("hello", 3.0, 5.0)).into_speech
    assert only(heard((1.0, 2.8), (3.2, 4.0)), Spoken("hello", 3.0, 5.0)).into_speech
    assert not only(heard((3.2, 4.0)), Spoken("hello", 3.0, 5.0)).into_speech


def test_the_first_utterance_without_an_answer_is_found_if_the_caller_waited() -> None:
    turns = [Spoken("a", 1.0, 2.0), Spoken("b", 3.0, 4.0), Spoken("c", 6.0, 7.0)]
    assert unanswered(heard((2.5, 2.9)), turns, 2.0) == (turns[1], 2.0)
    assert unanswered(heard((2.5, 2.9)), turns, 2.5) == (turns[2], 3.0)
    assert unanswered(heard((2.5, 2.9), (4.5, 5.0), (9.5, 9.9)), turns, 2.0) is None
    assert unanswered(heard(), turns, 3.5) is None


def test_who_made_no_sound_needs_no_answer() -> None:
    assert unanswered(heard(), [Spoken("a silent recording", 1.0, 1.0)], 2.0) is None
    assert unanswered(heard(), [], 2.0) is None


def test_an_agent_who_is_still_heard_over_the_caller_has_said_something() -> None:
    turn = Spoken("wait", 3.0, 4.0)
    assert unanswered(heard((1.0, 4.8)), [turn], 2.0) is None
    assert unanswered(heard((1.0, 4.2)), [turn], 2.0) == (turn, 6.0)
