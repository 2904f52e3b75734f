"""Real calls, recorded once, go the same way for ever."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.tools.record_calls import FOLDER, RECORDINGS
from trio_voice.storage.journal_reader import JournalReader
from trio_voice.storage.replay import Verdict, replay

JOURNALS = sorted(FOLDER.glob("*.jsonl.gz"))
LARGEST_FOLDER = 300 * 1024


def lines_of(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return lines.read().splitlines()


def happenings(name: str) -> list[str]:
    """The names of what happened and was done in a call, in order, but for single frames."""
    records: list[dict[str, Any]] = [json.loads(line) for line in lines_of(FOLDER / f"{name}.jsonl.gz")[1:]]
    named = [str(record.get("event") or record.get("command") or record.get("timer")) for record in records]
    return [each for each in named if each not in ("CallerAudio", "AppendAudio", "ModelAudio", "PlayAudio")]


def follow(names: list[str], *wanted: str) -> bool:
    """Whether these happened in this order, with anything between them."""
    rest = iter(names)
    return all(each in rest for each in wanted)


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: path.name)
def test_r36_a_recorded_call_brings_about_the_same_commands_for_ever(path: Path) -> None:
    replayed = replay(JournalReader(iter(lines_of(path))))
    assert replayed.difference is None
    assert replayed.verdict is Verdict.SAME
    assert replayed.ended


def test_every_recording_is_kept_and_every_kept_one_can_be_made_again() -> None:
    assert {path.name.removesuffix(".jsonl.gz") for path in JOURNALS} == set(RECORDINGS)


def test_the_recordings_are_small() -> None:
    assert sum(path.stat().st_size for path in JOURNALS) < LARGEST_FOLDER


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("two_turns_and_a_goodbye", "CreateResponse turn_end CreateResponse turn_end CreateResponse HangUpAsked HangUp Close"),
        ("barge_in_while_the_model_speaks", "ClearPlayback CancelResponse TruncateItem ItemTruncated ResponseDone Close"),
        ("barge_in_after_the_model_has_spoken", "ResponseDone ResponseDone ClearPlayback TruncateItem ItemTruncated Close"),
        ("barge_in_that_is_confirmed", "ClearPlayback barge_in_confirm TruncateItem Close"),
        ("caller_hangs_up_in_mid_reply", "turn_end CreateResponse ResponseCreated CallerHungUp Close"),
        (
            "model_dies_and_comes_back",
            "SessionReady SessionLost OpenSession SessionLost SessionReady AddText CreateResponse Close",
        ),
        ("digits", "DigitPressed DigitPressed DigitPressed DigitPressed DigitPressed AddText CreateResponse ResponseDone Close"),
        ("carrier_that_echoes_no_marks", "SendMark mark Note CreateResponse SendMark Close"),
        ("silent_caller", "idle CreateResponse ResponseDone idle CreateResponse ResponseDone HangUp Close"),
        ("audio_that_was_kept", "CreateResponse ResponseCreated CallerHungUp Close"),
    ],
)
def test_a_recording_shows_what_it_is_kept_for(name: str, wanted: str) -> None:
    assert follow(happenings(name), *wanted.split())


def test_no_cancel_is_in_a_call_whose_reply_was_complete() -> None:
    assert "CancelResponse" not in happenings("barge_in_after_the_model_has_spoken")


def test_no_mark_is_echoed_in_the_call_without_echoes() -> None:
    assert "PlaybackMarked" not in happenings("carrier_that_echoes_no_marks")


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: path.name)
def test_only_one_recording_holds_audio(path: Path) -> None:
    assert any('"base64"' in line for line in lines_of(path)) == (path.name == "audio_that_was_kept.jsonl.gz")
