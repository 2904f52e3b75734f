"""The small files of calls that are not in the database yet, and what is found in a folder after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.records.samples import call_id, facts, write_journal
from trio_voice.records.spool import LIVE_FOR_S, Spool
from trio_voice.storage.call_record import Outcome


def test_what_is_put_is_there_for_the_next_who_looks_and_for_this_user_alone(tmp_path: Path) -> None:
    known = facts(1, dialect="twilio", caller="…5310")
    assert Spool(tmp_path).put(known)
    again = Spool(tmp_path)
    assert again.waiting() == {call_id(1)}
    assert (again.folder.stat().st_mode & 0o777, (again.folder / f"{call_id(1)}.json").stat().st_mode & 0o777) == (0o700, 0o600)
    found = again.record(call_id(1))
    assert found is not None
    assert (found.facts, found.outcome) == (known, Outcome.CUT_OFF)
    again.remove(call_id(1))
    again.remove(call_id(1))
    assert again.waiting() == set()


def test_the_spool_is_bounded(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit=2)
    assert [spool.put(facts(number)) for number in (1, 2, 3)] == [True, True, False]
    assert spool.waiting() == {call_id(1), call_id(2)}
    spool.remove(call_id(1))
    assert spool.put(facts(3))


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text("a file")
    with pytest.raises(OSError, match=r"File exists|Not a directory"):
        Spool(tmp_path / "calls").put(facts())
    assert Spool(tmp_path / "calls").waiting() == set()
    assert Spool(tmp_path / "calls").journals() == set()


def test_a_record_is_made_of_the_journal_and_of_what_the_spool_knows(tmp_path: Path) -> None:
    write_journal(tmp_path)
    spool = Spool(tmp_path)
    spool.put(facts(caller="…5310"))
    found = spool.record(call_id(1))
    assert found is not None
    assert (found.facts.caller, found.outcome, found.duration_s) == ("…5310", Outcome.COMPLETED, 10.0)
    better = facts(caller="…0000")
    found = spool.record(call_id(1), better)
    assert found is not None
    assert found.facts == better


def test_a_spool_file_that_was_damaged_leaves_the_journal(tmp_path: Path) -> None:
    write_journal(tmp_path)
    spool = Spool(tmp_path)
    spool.put(facts(caller="…5310"))
    (spool.folder / f"{call_id(1)}.json").write_text('{"call_id":')
    found = spool.record(call_id(1))
    assert found is not None
    assert (found.facts.call_sid, found.facts.caller) == ("CA1", None)


def test_of_a_call_of_which_nothing_is_left_there_is_no_record(tmp_path: Path) -> None:
    assert Spool(tmp_path).record(call_id(1)) is None


def test_only_folders_of_calls_are_calls(tmp_path: Path) -> None:
    write_journal(tmp_path)
    (tmp_path / "20261121-093001-mine").mkdir()
    (tmp_path / "server.json").write_text("{}")
    assert Spool(tmp_path).journals() == {call_id(1)}


@pytest.mark.parametrize(
    ("end", "age_s", "is_over"),
    [("x", 0.0, True), (None, 0.0, False), (None, LIVE_FOR_S - 5.0, False), (None, LIVE_FOR_S + 5.0, True)],
)
def test_a_call_is_over_when_its_journal_says_so_or_says_nothing_any_more(
    tmp_path: Path, end: str | None, age_s: float, is_over: bool
) -> None:
    write_journal(tmp_path, end=end, age_s=age_s)
    assert Spool(tmp_path).is_over(call_id(1)) is is_over


def test_a_call_that_has_no_journal_yet_is_not_over(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(facts())
    assert not spool.is_over(call_id(1))
    assert spool.is_over(call_id(2))


def test_what_is_set_aside_does_not_wait_any_more(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(facts())
    spool.set_aside(call_id(1))
    spool.set_aside(call_id(2))
    assert spool.waiting() == set()
    assert [path.name for path in spool.folder.iterdir()] == [f"{call_id(1)}.refused"]
