"""What the console shows follows from the settings."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.web.test_console_past import write_journal
from trio_voice.config import load_settings
from trio_voice.console_plan import console_plan
from trio_voice.web.console import ConsolePlan
from trio_voice.web.console_past import CallDigest, PastCalls


def plan_of(folder: Path, *assignments: str) -> ConsolePlan | None:
    return console_plan(load_settings(environ={}, assignments=assignments, folder=folder))


async def a_call(folder: Path) -> CallDigest:
    write_journal(folder, "c1")
    (call,) = (await PastCalls(folder).find()).calls
    return call


@pytest.mark.parametrize(("access", "is_local"), [("token", False), ("local", True)])
def test_who_may_see_it(tmp_path: Path, access: str, is_local: bool) -> None:
    plan = plan_of(tmp_path, f"server.console={access}")
    assert plan is not None
    assert (plan.is_local, plan.calls_folder) == (is_local, tmp_path / "calls")
    assert plan.settings["server"]["console"]["value"] == access


def test_there_may_be_none(tmp_path: Path) -> None:
    assert plan_of(tmp_path, "server.console=off") is None


@pytest.mark.parametrize(
    ("assignments", "path"),
    [
        ((), "calls/c1/recording.wav"),
        (("recording.path={year}/{month}/{day}/{hour}-{call_id}.wav",), "calls/2026/11/21/09-c1.wav"),
        (("recording.folder=tapes", "recording.path={dialect}/{call_sid}-{call_id}.wav"), "tapes/twilio/CA-c1-c1.wav"),
    ],
)
async def test_recordings_are_looked_for_where_they_are_put(tmp_path: Path, assignments: tuple[str, ...], path: str) -> None:
    plan = plan_of(tmp_path, *assignments)
    assert plan is not None
    assert tmp_path / path in plan.recordings(await a_call(tmp_path))


async def test_a_journal_without_a_date_has_its_recording_in_its_folder_or_none(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert plan is not None
    assert list(plan.recordings(msgspec.structs.replace(await a_call(tmp_path), started_at="yesterday"))) == []
