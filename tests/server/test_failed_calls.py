"""Which calls ended with an apology."""

from pathlib import Path

from trio_voice.core.commands import PlayAudio
from trio_voice.server import failed_calls
from trio_voice.server.call_watch import CallFacts
from trio_voice.server.failed_calls import FailedCalls


def test_a_call_that_says_sorry_has_failed_at_once_and_others_have_not() -> None:
    calls = FailedCalls()
    watcher = calls.watch(CallFacts("c1", "CA1", "twilio"))
    watcher.on_command(1.0, PlayAudio("r1", "i1", b"x"))
    assert "CA1" not in calls
    watcher.on_command(2.0, PlayAudio("apology", "apology", b"x"))
    assert "CA1" in calls
    assert "CA2" not in calls
    assert 7 not in calls


def test_other_workers_know_too(tmp_path: Path) -> None:
    here, there = FailedCalls(tmp_path / "words"), FailedCalls(tmp_path / "words")
    assert "CA1" not in there
    here.note("CA1")
    assert "CA1" in there
    assert "CA2" not in there


def test_a_folder_that_cannot_be_written_costs_only_the_others_knowledge(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    calls = FailedCalls(tmp_path / "file" / "words")
    calls.note("CA1")
    assert "CA1" in calls
    assert "CA2" not in calls


def test_no_more_are_remembered_than_could_still_be_asked_for() -> None:
    calls = FailedCalls()
    for number in range(failed_calls.REMEMBERED_CALLS + 1):
        calls.note(f"CA{number}")
    assert "CA0" not in calls
    assert "CA1" in calls
