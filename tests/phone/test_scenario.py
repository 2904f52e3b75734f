"""A performance, frame by frame: what is heard goes in, what is said comes out, at exactly the right frame."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.phone.fake_server import TONE
from trio_voice.audio.g711 import ulaw_silence
from trio_voice.phone.carrier import Happening
from trio_voice.phone.scenario import (
    After,
    AfterAgent,
    At,
    DuringAgent,
    Frame,
    HangUp,
    Performance,
    Press,
    Say,
    Scenario,
    Spoken,
    Step,
)
from trio_voice.phone.voice import Speech, comfort_noise

QUIET = ulaw_silence(20)


def utterance(letter: bytes, frames: int = 3) -> Speech:
    return Speech(letter * 160 * frames, letter.decode(), 20, frames * 20 - 20)


def perform(scenario: Scenario, heard: Iterator[bytes] | None = None, frames: int = 2000) -> tuple[str, Performance]:
    """Play until the hang-up: one letter a frame for what was said (`.`: nothing), `!` for the hang-up."""
    caller, told = Performance(scenario), ""
    for _ in range(frames):
        frame = caller.perform(next(heard) if heard else QUIET)
        told += frame.digits or ("." if frame.said == QUIET else chr(frame.said[0]))
        if frame.hangs_up:
            return told[:-1] + "!", caller
    return told, caller


def agent(pattern: str) -> Iterator[bytes]:
    """What the caller hears: `#` the agent speaks, `.` nothing; after the pattern, nothing."""
    for letter in pattern:
        yield TONE if letter == "#" else QUIET
    while True:
        yield QUIET


def line(*steps: Say | Press | HangUp, hang_up_at_s: float | None = None, limit_s: float = 180.0) -> Scenario:
    return Scenario(steps, hang_up_at_s=hang_up_at_s, limit_s=limit_s, noise_dbfs=None)


def test_an_utterance_at_a_moment_begins_in_the_frame_of_that_moment() -> None:
    told, caller = perform(line(Say(utterance(b"a"), At(0.1)), HangUp(After(0.04))))
    assert told == ".....aaa..!"
    assert caller.spoken == [Spoken("a", 0.12, 0.14)]


def test_a_moment_that_is_over_means_now() -> None:
    told, _ = perform(line(Say(utterance(b"a"), At(0.1)), Say(utterance(b"b"), At(0.02)), HangUp(At(0))))
    assert told == ".....aaabbb!"


def test_the_caller_speaks_when_the_agent_has_been_silent_for_the_pause() -> None:
    heard = agent("..####..###")
    told, _ = perform(line(Say(utterance(b"a"), AfterAgent(pause_s=0.06)), HangUp(After(0))), heard)
    assert told == "..............aaa!"  # heard until frame 10; 11, 12, 13 are the pause


def test_silence_before_the_agent_is_no_pause() -> None:
    told, _ = perform(line(Say(utterance(b"a"), AfterAgent(pause_s=0.02)), HangUp(After(0))), agent("." * 50 + "#"))
    assert told == "." * 52 + "aaa!"


def test_an_agent_who_says_nothing_is_spoken_to_after_the_limit() -> None:
    told, _ = perform(line(Say(utterance(b"a"), AfterAgent(limit_s=0.2)), HangUp(At(0))))
    assert told == "." * 10 + "aaa!"


def test_each_step_waits_for_its_own_answer() -> None:
    heard = agent("##......" + "." * 12 + "##..")
    steps: list[Step] = [Say(utterance(b"a"), AfterAgent(0.04)), Say(utterance(b"b"), AfterAgent(0.04)), HangUp(After(0))]
    told, _ = perform(line(*steps), heard)
    assert told == "....aaa" + "." * 17 + "bbb!"


def test_a_barge_in_comes_so_long_after_the_agent_began() -> None:
    heard = agent("..." + "#" * 50)
    told, _ = perform(line(Say(utterance(b"a"), DuringAgent(0.1)), HangUp(After(0))), heard)
    assert told == "........aaa!"


def test_a_barge_in_without_an_agent_comes_after_the_limit() -> None:
    told, _ = perform(line(Say(utterance(b"a"), DuringAgent(0.1, limit_s=0.08)), HangUp(After(0))))
    assert told == "....aaa!"


def test_keys_are_pressed_200_ms_apart() -> None:
    told, _ = perform(line(Press("1#", At(0.04)), Say(utterance(b"a"), After(0.02)), HangUp(After(0))))
    assert told == "..1" + "." * 9 + "#" + ".aaa!"
    with pytest.raises(ValueError, match="digits"):
        Press("x")


def test_a_hang_up_time_cuts_everything() -> None:
    told, caller = perform(line(Say(utterance(b"a", 50), At(0)), hang_up_at_s=0.1))
    assert told == "aaaaa!"
    assert not caller.over


def test_the_longest_call_is_bounded() -> None:
    assert perform(line(Say(utterance(b"a"), At(1000)), limit_s=1.0))[0] == "." * 50 + "!"
    assert perform(line(hang_up_at_s=9.0, limit_s=0.1))[0] == "." * 5 + "!"


def test_after_the_last_step_the_caller_waits_for_the_last_word_and_hangs_up() -> None:
    heard = agent("." * 10 + "####")
    told, caller = perform(line(Say(utterance(b"a"), At(0))), heard)
    assert told == "aaa" + "." * 51 + "!"  # the agent's last frame is 13; 800 ms later
    assert caller.over


def test_between_the_utterances_the_line_breathes() -> None:
    caller = Performance(Scenario([Say(utterance(b"a"), At(0.02))]))
    noise = comfort_noise(-65.0)
    assert caller.perform(QUIET) == Frame(noise[:160])
    assert [caller.perform(QUIET).said for _ in range(3)] == [b"a" * 160] * 3
    assert caller.perform(QUIET) == Frame(noise[640:800])
    for number in range(5, 201):
        frame = caller.perform(QUIET).said
        begin = number * 160 % len(noise)
        assert frame == noise[begin : begin + 160]


def test_what_is_heard_and_said_is_told() -> None:
    heard = agent(".###" + "." * 30 + "#" + "." * 31 + "##")
    _, caller = perform(line(Say(utterance(b"a"), At(0.1)), HangUp(At(2.5))), heard)
    told = [(event.at_s, event.what, event.detail) for event in caller.events]
    assert told == [
        (0.02, Happening.AGENT_HEARD, ""),
        (0.12, Happening.CALLER_SPEAKS, "a"),
        (0.14, Happening.CALLER_SILENT, ""),
        (0.7, Happening.AGENT_SILENT, ""),  # 600 ms are a pause between sentences, 620 ms are not
        (1.32, Happening.AGENT_HEARD, ""),
        (1.36, Happening.AGENT_SILENT, ""),
    ]
