"""Past calls, read from their journals: in short, found by their words, whole, lived again."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.json import decode, encode

from trio_voice.core.commands import (
    CancelResponse,
    ClearPlayback,
    Close,
    CreateResponse,
    Discard,
    PlayAudio,
    Purpose,
    Refusal,
    RunTool,
)
from trio_voice.core.events import (
    CallerAudio,
    CallerTranscribed,
    CallStarted,
    ModelAudio,
    ModelTranscript,
    SessionLost,
    SpeechStarted,
    SpeechStopped,
    TurnCommitted,
)
from trio_voice.storage.journal import JOURNAL, Header, JournalWriter
from trio_voice.web.console_past import MAY_GO_ON_S, MOST_CALLS, READ_AT_ONCE_S, PastCalls

AUDIO = bytes(1600)


def lines_of_a_call(call_id: str = "c1", words: str = "An appointment, please.") -> list[str]:
    write = JournalWriter()
    header = Header(call_id=call_id, call_sid=f"CA-{call_id}", started_at="2026-11-21T09:30:12.123456Z", version="0.1.0")
    return [
        write.header(header),
        write.event(0.0, CallStarted("CA1")),
        write.event(0.1, CallerAudio(bytes(160), -35.0)),
        write.event(0.5, SpeechStarted(1, "i1", 400)),
        write.command(0.5, Discard(Refusal.GREETING_LOCK)),
        write.event(1.5, SpeechStopped(1, "i1", 1400)),
        write.event(1.5, TurnCommitted(1, "i1")),
        write.command(1.5, CreateResponse(1, 1, Purpose.TURN)),
        write.event(1.9, ModelAudio(1, "r1", "i2", AUDIO, -20.0)),
        write.command(1.9, PlayAudio("r1", "i2", AUDIO)),
        write.event(1.95, ModelTranscript(1, "r1", "i2", "Of course.", final=True)),
        write.event(2.0, CallerTranscribed(1, "i1", words)),
        write.event(2.05, SpeechStarted(1, "i3", 2000)),
        write.command(2.05, ClearPlayback()),
        write.command(2.05, CancelResponse(1, "r1")),
        write.command(2.1, RunTool("t1", "book", "{}")),
        write.event(2.2, SessionLost(1, "gone")),
        write.command(2.5, Close("the caller hung up")),
    ]


def write_journal(folder: Path, call_id: str = "c1", lines: list[str] | None = None) -> Path:
    path = folder / call_id / JOURNAL
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines or lines_of_a_call(call_id)), "utf-8")
    return path


async def found(past: PastCalls, search: str = "") -> list[str]:
    return [call.call_id for call in (await past.find(search)).calls]


def plain(value: Any) -> Any:
    return decode(encode(value))


async def test_a_call_in_short(tmp_path: Path) -> None:
    write_journal(tmp_path)
    (call,) = (await PastCalls(tmp_path).find()).calls
    assert plain(call) == {
        "call_id": "c1",
        "call_sid": "CA-c1",
        "started_at": "2026-11-21T09:30:12.123456Z",
        "duration_s": 2.5,
        "end_reason": "the caller hung up",
        "turns": 2,
        "barge_ins": 1,
        "tools": 1,
        "faults": 1,
        "reply_ms": [400],
        "refusals": {"greeting_lock": 1},
        "first_words": "An appointment, please.",
        "has_recording": False,
        "in_progress": False,
        "caller": None,
        "outcome": "caller_hung_up",
    }


async def test_the_sound_for_a_caller_who_waits_for_a_model_is_no_reply(tmp_path: Path) -> None:
    write = JournalWriter()
    lines = [
        *lines_of_a_call()[:1],
        write.event(1.0, SpeechStopped(1, "u1", 900)),
        write.command(2.5, PlayAudio("comfort", "comfort-2500", b"a" * 160)),
        write.command(3.5, PlayAudio("r1", "i1", b"a" * 160)),
        write.command(9.0, Close("the caller hung up")),
    ]
    write_journal(tmp_path, lines=lines)
    (call,) = (await PastCalls(tmp_path).find()).calls
    assert call.reply_ms == [2500]


async def test_the_newest_calls_come_first_and_other_things_in_the_folder_are_passed_over(tmp_path: Path) -> None:
    for name in ("20261121-1", "20261122-1", "20261120-1"):
        write_journal(tmp_path, name)
    (tmp_path / "server.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    assert await found(PastCalls(tmp_path)) == ["20261122-1", "20261121-1", "20261120-1"]
    assert await found(PastCalls(tmp_path / "nowhere")) == []


@pytest.mark.parametrize(
    ("search", "calls"),
    [
        ("appointment", ["c2", "c1"]),
        ("APPOINTMENT course", ["c2", "c1"]),
        ("ca-c2", ["c2"]),
        ("2026-11-21", ["c2", "c1"]),
        ("hung up", ["c2", "c1"]),
        ("cat", []),
    ],
)
async def test_calls_are_found_by_all_the_words_in_any_case(tmp_path: Path, search: str, calls: list[str]) -> None:
    write_journal(tmp_path, "c1")
    write_journal(tmp_path, "c2")
    assert await found(PastCalls(tmp_path), search) == calls


async def test_a_journal_that_has_grown_is_read_again_and_one_in_progress_is_told(tmp_path: Path) -> None:
    lines = lines_of_a_call()
    path = write_journal(tmp_path, lines=lines[:-1])
    past = PastCalls(tmp_path, is_live=lambda call_id: call_id == "c1")
    (call,) = (await past.find()).calls
    assert (call.end_reason, call.in_progress, call.outcome) == (None, True, None)
    write_journal(tmp_path, lines=lines)
    os.utime(path, ns=(1, 1))
    (call,) = (await past.find()).calls
    assert call.end_reason == "the caller hung up"


async def test_a_call_that_is_not_ours_was_cut_off_only_when_its_journal_has_not_grown_for_a_while(tmp_path: Path) -> None:
    path = write_journal(tmp_path, lines=lines_of_a_call()[:-1])
    past = PastCalls(tmp_path)
    assert [call.outcome for call in (await past.find()).calls] == [None]
    os.utime(path, (time.time() - MAY_GO_ON_S - 1,) * 2)
    assert [call.outcome for call in (await past.find()).calls] == ["cut_off"]


async def test_so_many_calls_are_looked_at_and_the_others_are_counted(tmp_path: Path) -> None:
    for number in range(MOST_CALLS + 2):
        write_journal(tmp_path, f"c{number:04}", lines_of_a_call()[:1])
    listed = await PastCalls(tmp_path).find()
    assert (len(listed.calls), listed.left_out) == (MOST_CALLS, 2)


async def test_what_takes_too_long_to_read_is_read_when_it_is_asked_for_again(tmp_path: Path) -> None:
    for number in range(5):
        write_journal(tmp_path, f"c{number}")
    looks = iter(range(100))  # half a second passes between two looks at the clock
    past = PastCalls(tmp_path, clock=lambda: next(looks) * READ_AT_ONCE_S / 2)
    listed = [await past.find("appointment") for _ in range(6)]
    assert [each.unread for each in listed] == [4, 3, 2, 1, 0, 0]
    assert [len(each.calls) for each in listed] == [1, 2, 3, 4, 5, 5]


async def test_one_call_is_shown_without_its_frames_and_with_its_levels(tmp_path: Path) -> None:
    write_journal(tmp_path)
    (tmp_path / "c1" / "call.wav").write_bytes(b"RIFF")
    shown = await PastCalls(tmp_path).look("c1")
    assert shown is not None
    assert shown.digest.has_recording
    names = [json.loads(bytes(line)).get("event") or json.loads(bytes(line)).get("command") for line in shown.lines]
    assert names[:3] == [None, "CallStarted", "SpeechStarted"]
    assert "PlayAudio" not in names
    assert "CallerAudio" not in names
    assert len(shown.lines) == len(lines_of_a_call()) - 3
    assert shown.levels[0] == (-35.0, None)
    assert shown.levels[9] == (None, -20.0)


async def test_a_journal_that_was_cut_off_in_a_line_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_journal(tmp_path)
    path.write_bytes(path.read_bytes()[:-20] + b"\xff\n[]\n")
    past = PastCalls(tmp_path)
    shown = await past.look("c1")
    assert shown is not None
    assert len(shown.lines) == len(lines_of_a_call()) - 4
    assert shown.digest.end_reason is None


@pytest.mark.parametrize("kept", [40, -1])
async def test_a_last_line_of_audio_that_was_cut_off_keeps_no_call_from_the_list(tmp_path: Path, kept: int) -> None:
    lines = lines_of_a_call()
    (heard,) = (place for place, line in enumerate(lines) if '"command":"PlayAudio"' in line)
    path = write_journal(tmp_path, "c2", lines[:heard])
    path.write_bytes(path.read_bytes() + lines[heard].encode()[:kept])
    write_journal(tmp_path)
    assert [(call.call_id, call.reply_ms) for call in (await PastCalls(tmp_path).find()).calls] == [("c2", []), ("c1", [400])]


@pytest.mark.parametrize("call_id", ["c2", "..", ".", "../c1", "c1/../c1", "", "x" * 65])
async def test_what_is_no_call_is_none(tmp_path: Path, call_id: str) -> None:
    write_journal(tmp_path)
    past = PastCalls(tmp_path)
    assert await past.look(call_id) is None
    assert await past.recording(call_id) is None
    assert await past.replay(call_id) is None


async def test_a_call_is_lived_again(tmp_path: Path) -> None:
    recorded = Path(__file__).parents[1] / "recorded" / "caller_hangs_up_in_mid_reply.jsonl.gz"
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1" / JOURNAL).write_bytes(gzip.decompress(recorded.read_bytes()))
    past = PastCalls(tmp_path)
    verdict = await past.replay("c1")
    assert verdict is not None
    assert (verdict.verdict, verdict.ended, verdict.detail) == ("same", True, None)
    assert verdict.events > 100


async def test_a_difference_is_told_with_its_line_and_a_journal_that_cannot_be_read_with_the_reason(tmp_path: Path) -> None:
    write_journal(tmp_path)
    past = PastCalls(tmp_path)
    verdict = await past.replay("c1")
    assert verdict is not None
    assert verdict.verdict == "different"
    assert verdict.detail is not None
    assert verdict.detail.startswith("line 3, ")
    assert verdict.context == lines_of_a_call()[1:3]
    write_journal(tmp_path, lines=["no journal"])
    verdict = await past.replay("c1")
    assert verdict is not None
    assert verdict.verdict == "unreadable"
    assert verdict.detail


async def test_who_does_not_wait_any_more_ends_the_reading(tmp_path: Path) -> None:
    for call_id in ("c1", "c2"):
        write_journal(tmp_path, call_id)
    asked = list[str]()

    def is_live(call_id: str) -> bool:  # it is asked in the thread, when a journal has been read
        asked.append(call_id)
        trio.from_thread.run_sync(scope.cancel)
        return False

    with trio.CancelScope() as scope:
        await PastCalls(tmp_path, is_live).find()
    assert scope.cancelled_caught
    assert asked == ["c2"]


async def test_a_recording_is_looked_for_where_recordings_are_put(tmp_path: Path) -> None:
    write_journal(tmp_path)
    elsewhere = tmp_path / "recordings" / "CA-c1.wav"
    past = PastCalls(tmp_path, elsewhere=lambda call: [tmp_path / "recordings" / f"{call.call_sid}.wav"])
    assert await past.recording("c1") is None
    (tmp_path / "c1" / "call.wav").touch()
    assert await past.recording("c1") == tmp_path / "c1" / "call.wav"
    elsewhere.parent.mkdir()
    elsewhere.touch()
    assert await past.recording("c1") == elsewhere
    (call,) = (await past.find()).calls
    assert call.has_recording
