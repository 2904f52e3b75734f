"""The levels of both sides, at the moment when they are heard."""

from __future__ import annotations

import pytest

from trio_voice.core.commands import ClearPlayback, PlayAudio
from trio_voice.core.events import CallerAudio, ModelAudio
from trio_voice.storage.journal import JournalWriter
from trio_voice.storage.meter import CALLER_HOLDS_S, MOST_LEVELS, UNMEASURED_DBFS, Levels, Meter, levels_of

WRITER = JournalWriter()
SECOND = bytes(8000)


def caller(t: float, level_dbfs: float | None) -> str:
    return WRITER.event(t, CallerAudio(bytes(160), level_dbfs))


def agent(t: float, level_dbfs: float, audio: bytes = SECOND) -> list[str]:
    return [
        WRITER.event(t, ModelAudio(1, "r1", "i1", audio, level_dbfs)),
        WRITER.command(t, PlayAudio("r1", "i1", audio)),
    ]


def meter(*lines: str) -> Meter:
    told = Meter()
    for line in lines:
        told.take(line)
    return told


def test_nothing_is_known_of_a_call_without_audio() -> None:
    assert Meter().levels(5.0) == Levels(None, None)


def test_the_callers_level_is_that_of_the_latest_frame_that_was_measured_and_holds_for_a_while() -> None:
    told = meter(caller(1.0, -30.5), caller(1.02, None))
    assert told.levels(1.02) == Levels(-30.5)
    assert told.levels(1.0 + CALLER_HOLDS_S) == Levels(-30.5)
    assert told.levels(1.301) == Levels(None)


def test_the_agents_level_is_that_of_what_is_heard_now_however_early_it_came() -> None:
    told = meter(*agent(2.0, -20.0), *agent(2.1, -25.0))
    assert told.levels(2.999).agent_dbfs == -20.0
    assert told.levels(3.0).agent_dbfs == -25.0
    assert told.levels(3.999).agent_dbfs == -25.0
    assert told.levels(4.0).agent_dbfs is None


def test_after_a_clear_nothing_is_heard_until_something_new_is_played() -> None:
    told = meter(*agent(2.0, -20.0), WRITER.command(2.5, ClearPlayback()))
    assert told.levels(2.5).agent_dbfs is None
    for line in agent(2.6, -22.0):
        told.take(line)
    assert told.levels(2.6).agent_dbfs == -22.0


def test_a_tone_of_our_own_is_seen_though_nobody_measured_it() -> None:
    told = meter(WRITER.command(0.0, PlayAudio("beep", "beep", bytes(1600))), *agent(0.1, -20.0))
    assert told.levels(0.1).agent_dbfs == UNMEASURED_DBFS
    assert told.levels(0.2).agent_dbfs == -20.0


@pytest.mark.parametrize("line", ["", "{", "[]", '{"t":"x"}', '{"t":1,"event":"CallerAudio","level_dbfs":"loud"}', "null"])
def test_a_line_that_cannot_be_read_is_passed_over(line: str) -> None:
    assert meter(caller(1.0, -30.0), line).levels(1.0) == Levels(-30.0)


def test_the_levels_of_a_whole_call_are_taken_at_the_end_of_each_piece_of_time() -> None:
    lines = ['{"journal":1,"call_id":"c1"}', '{"t":x}', caller(0.1, -40.0), *agent(0.2, -20.0, bytes(1600)), caller(0.75, -50.0)]
    assert levels_of(lines, 0.25) == [Levels(-40.0, -20.0), Levels(None, None), Levels(None, None)]
    assert levels_of([], 0.25) == []


@pytest.mark.parametrize("damaged", ["1e400", "1e18", "nan"])
def test_a_line_whose_time_is_damaged_makes_no_levels_without_end(damaged: str) -> None:
    lines = [caller(0.1, -40.0), f'{{"t":{damaged},"event":"CallerAudio","level_dbfs":-10.0}}', caller(0.75, -50.0)]
    assert levels_of(lines, 0.25) == [Levels(-40.0), Levels(None), Levels(None)]
    assert levels_of(lines[1:2], 1e305) == []
    last = caller(MOST_LEVELS * 0.25, -40.0)
    assert len(levels_of([last], 0.25)) == MOST_LEVELS
