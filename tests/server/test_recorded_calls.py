"""Whole calls that are recorded: the recording is what the telephone had, sample by sample."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import trio
import trio.testing

from tests.server.rig import VOICE, Rig, errors_in, rig
from trio_voice.audio.g711 import ulaw_to_pcm16
from trio_voice.core.settings import CallSettings
from trio_voice.recording.recordings import recordings_in
from trio_voice.recording.settings import RecordingSettings
from trio_voice.server.answering import Witness
from trio_voice.server.directory import LiveCall
from trio_voice.storage.digest import read_record
from trio_voice.storage.journal_reader import JournalReader
from trio_voice.storage.replay import Verdict, replay


def recorded(folder: Path) -> tuple[bytes, bytes]:
    """Both sides of the only recording, as 16-bit samples: what the caller said, and heard."""
    (path,) = folder.glob("*/recording.wav")
    with wave.open(str(path), "rb") as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return both[:, 0].tobytes(), both[:, 1].tobytes()


def journal_of(folder: Path) -> list[str]:
    """The lines of the only call's journal."""
    (path,) = folder.glob("*/call.jsonl")
    return path.read_text("utf-8").splitlines()


@asynccontextmanager
async def recording_rig(folder: Path, confirm_ms: int) -> AsyncIterator[Rig]:
    async with recordings_in(folder, RecordingSettings(enabled=True)) as recordings:
        call = CallSettings(greeting=False, idle_s=0, barge_in_confirm_ms=confirm_ms)
        async with rig(folder, settings=call, witnesses=(recordings.attend,)) as world:
            yield world


@pytest.mark.parametrize("confirm_ms", [0, 300])
async def test_r37_a_recording_is_what_the_caller_said_and_heard_cut_where_it_was_cleared(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, confirm_ms: int
) -> None:
    async with recording_rig(tmp_path, confirm_ms) as world, world.call() as phone:
        model = await world.session()
        await phone.say(50, VOICE)
        quiet_since = trio.current_time()
        await model.hear("u1")
        await model.expect("response.create")
        quiet_s = trio.current_time() - quiet_since
        await model.begin()
        for piece in range(20):  # two seconds of speech, faster than they are heard, every piece another
            await model.speak(100, sample=bytes([0x20 + piece]))
        await phone.say(40, VOICE)
        await model.send(type="input_audio_buffer.speech_started", event_id="e", item_id="u2", audio_start_ms=0)
        await phone.say(75, VOICE)
        await model.send(type="input_audio_buffer.speech_stopped", event_id="e", item_id="u2", audio_end_ms=2000)
        await model.finish(status="cancelled")
        await model.send(type="input_audio_buffer.committed", event_id="e", item_id="u2", previous_item_id=None)
        await model.expect("response.create")
        await model.answer(500, "r2", "i2")
        await trio.sleep(1.0)
        await phone.hang_up()
        await phone.end()
        phone.carrier.advance(trio.current_time())
        heard = ulaw_to_pcm16(bytes(phone.carrier.heard))
    left, right = recorded(tmp_path)
    assert 0.8 <= len(np.flatnonzero(np.frombuffer(heard, "<i2"))) / 8000 - 0.5 < 1.5  # of two seconds, and then half a one
    assert right == heard[: len(right)]
    assert not any(heard[len(right) :])
    pause = bytes(2 * round((quiet_s - 0.02) * 8000))  # a frame has been spoken when it comes
    said = ulaw_to_pcm16(VOICE) * 50 + pause + ulaw_to_pcm16(VOICE) * 115
    assert left[: len(said)] == said
    assert not any(left[len(said) :])
    assert errors_in(world.logs) == []


async def test_r37_the_tone_of_a_recorded_call_is_heard_recorded_journalled_and_lived_again(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    tone = bytes(range(0x20, 0x20 + 100)) * 16
    async with recordings_in(tmp_path, RecordingSettings(enabled=True)) as recordings:
        call = CallSettings(greeting=False, idle_s=0)
        async with rig(tmp_path, settings=call, witnesses=(recordings.attend,), beep=tone) as world, world.call() as phone:
            model = await world.session()
            await phone.say(50, VOICE)
            await model.hear("u1")
            await model.expect("response.create")
            await model.answer(500)
            await trio.sleep(1.0)
            await phone.hang_up()
            await phone.end()
    _, right = recorded(tmp_path)
    assert right[: 2 * len(tone)] == ulaw_to_pcm16(tone)
    lines = journal_of(tmp_path)
    assert replay(JournalReader(iter(lines))).verdict is Verdict.SAME
    record = read_record(lines)
    assert record is not None
    assert "beep" not in {turn.item_id for turn in record.turns}


async def test_who_is_there_in_a_call_leaves_when_its_journal_is_complete_also_when_it_is_cancelled(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    seen: list[str] = []

    def witness(name: str) -> Witness:
        @asynccontextmanager
        async def attend(live: LiveCall) -> AsyncIterator[None]:
            seen.append(f"{name} {(live.folder / 'call.jsonl').exists()}")
            try:
                yield
            finally:
                is_complete = '"command":"Close"' in (live.folder / "call.jsonl").read_text("utf-8")
                seen.append(f"{name} {is_complete}")

        return attend

    async with rig(tmp_path, witnesses=(witness("first"), witness("second"))) as world, world.call():
        await world.session()
        (call,) = world.directory
        call.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["first False", "second False", "second True", "first True"]
