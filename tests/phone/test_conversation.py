"""The caller's part: which steps, in which order, at which moments."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from trio_voice.audio.wav import write_wav_8khz
from trio_voice.errors import UserError
from trio_voice.phone.conversation import (
    conversation,
    recorded_interruption,
    recorded_sentences,
    sentences_from_files,
    synthetic_interruption,
    synthetic_sentences,
)
from trio_voice.phone.scenario import AfterAgent, DuringAgent, HangUp, Press, Say
from trio_voice.phone.speech import Prompts, open_prompts
from trio_voice.phone.synthetic import synthetic_speech
from trio_voice.phone.voice import Speech

A, B, I = (Speech(b"x" * 160, text, 0, 20) for text in "ABI")  # noqa: E741 - A, B and the interruption


def test_the_caller_takes_turns_with_the_agent_and_hangs_up() -> None:
    assert conversation([A, B]).steps == (Say(A, AfterAgent()), Say(B, AfterAgent()), HangUp(AfterAgent(2.5)))


def test_an_interruption_comes_into_the_first_answer() -> None:
    scenario = conversation([A, B], interruption=I, barge_in_at_s=3.0)
    assert scenario.steps[:3] == (Say(A, AfterAgent()), Say(I, DuringAgent(3.0)), Say(B, AfterAgent()))
    assert conversation([A, B], interruption=I).steps == conversation([A, B]).steps


def test_keys_come_after_the_greeting() -> None:
    assert conversation([A], digits="1#").steps == (Press("1#", AfterAgent()), Say(A, AfterAgent()), HangUp(AfterAgent(2.5)))


def test_the_hang_up_time_is_the_scenarios() -> None:
    assert conversation([A], hang_up_at_s=4.0).hang_up_at_s == 4.0


def test_synthetic_sentences_differ() -> None:
    sentences = [*synthetic_sentences(), synthetic_interruption()]
    assert len({sentence.ulaw for sentence in sentences}) == 5
    assert [sentence.frames for sentence in sentences] == [275, 300, 175, 75, 200]


def test_recorded_sentences_are_made_of_the_prompts_they_name(tmp_path: Path) -> None:
    prompts = pretended_prompts(tmp_path)
    assert [sentence.text for sentence in recorded_sentences(prompts)][:2] == [
        "Hello. something-terribly-wrong tt-weasels",
        "vm-num-i-have digits/5 digits/5 digits/5 digits/oh digits/1 digits/4 digits/2",
    ]
    assert recorded_interruption(prompts).text == "one-moment-please im-sorry vm-nonumber"


def pretended_prompts(folder: Path) -> Prompts:
    sounds = folder / "prompts/usr/share/asterisk/sounds/en_US_f_Allison"
    (sounds / "digits").mkdir(parents=True)
    names = ["hello", "something-terribly-wrong", "tt-weasels", "vm-num-i-have", "vm-sorry", "please-try-again", "auth-thankyou"]
    names += [
        "goodbye",
        "one-moment-please",
        "im-sorry",
        "vm-nonumber",
        *(f"digits/{digit}" for digit in ("5", "oh", "1", "4", "2")),
    ]
    for name in names:
        write_wav_8khz(sounds / f"{name}.wav", synthetic_speech(1, 0.2))
    transcripts = folder / "prompts/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
    transcripts.parent.mkdir(parents=True)
    transcripts.write_bytes(gzip.compress(b"; a heading: not a prompt\n\nhello: Hello.\n"))
    prompts = open_prompts(folder)
    assert prompts is not None
    return prompts


def test_wav_files_are_left_as_they_were_recorded(tmp_path: Path) -> None:
    write_wav_8khz(tmp_path / "a.wav", synthetic_speech(1, 0.4))
    (speech,) = sentences_from_files([tmp_path / "a.wav"])
    assert (speech.text, speech.frames) == ("a.wav", 20)


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    write_wav_8khz(tmp_path / "empty.wav", b"")
    with pytest.raises(UserError, match=r"empty\.wav: an empty recording"):
        sentences_from_files([tmp_path / "empty.wav"])
    with pytest.raises(UserError, match=r"nowhere\.wav: no such file"):
        sentences_from_files([tmp_path / "nowhere.wav"])
