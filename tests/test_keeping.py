"""From settings to what is kept of calls."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.records.samples import STARTED_AT, call_id, write_journal
from tests.records.test_keeper import stored, until
from trio_voice.audio.wav import read_wav_8khz
from trio_voice.config import Settings
from trio_voice.core.events import CallerAudio
from trio_voice.errors import ConfigError
from trio_voice.keeping import keeping, past_calls, recordings_in_words, records_address, records_in_words
from trio_voice.recording import pictures, uploads
from trio_voice.recording.settings import RecordingSettings
from trio_voice.records.settings import RecordsSettings
from trio_voice.sections import ServerSettings
from trio_voice.server.directory import LiveCall
from trio_voice.web.past_calls import PastCallsQuery


def settings(folder: Path, *, enabled: bool = True, url: str | None = None) -> Settings:
    return Settings(server=ServerSettings(calls_folder=folder), records=RecordsSettings(enabled=enabled, url=url))


async def test_records_are_kept_in_the_calls_folder_by_default(tmp_path: Path) -> None:
    with trio.fail_after(10):
        live = LiveCall(call_id(1), "CA1", STARTED_AT, tmp_path / call_id(1), caller="+493012345310")
        async with keeping(settings(tmp_path)) as kept, kept.witnesses[0](live):
            assert [(name, each.waiting(), each.problem()) for name, each in kept.backlogs.items()] == [("records", 0, "")]
            write_journal(tmp_path)
    assert stored(tmp_path / "calls.db") == [(call_id(1), "…5310", "completed")]


async def test_no_records_are_kept_where_none_are_wanted(tmp_path: Path) -> None:
    async with keeping(settings(tmp_path, enabled=False)) as kept:
        assert (kept.witnesses, kept.backlogs) == ((), {})
    assert not (tmp_path / "calls.db").exists()


async def test_a_wrong_address_ends_the_start_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"records\.url names a database") as caught:
        async with keeping(settings(tmp_path, url="mysql://tom:hunter2@db/calls")):
            raise AssertionError("it does not begin")
    assert "hunter2" not in str(caught.value)


def test_where_the_records_are_in_words(tmp_path: Path) -> None:
    assert records_in_words(settings(tmp_path)) == f"{tmp_path}/calls.db"
    assert records_in_words(settings(tmp_path, url="postgresql://tom:hunter2@db/calls")) == "postgresql://tom:***@db/calls"
    assert records_in_words(settings(tmp_path, enabled=False)) == "none (records.enabled is false)"
    assert str(records_address(settings(tmp_path, url="sqlite:////tmp/x.db"))) == "/tmp/x.db"


async def test_past_calls_are_read_where_records_are_kept(tmp_path: Path) -> None:
    kept = settings(tmp_path)
    async with keeping(kept), past_calls(kept) as calls:
        assert calls is not None
        assert await calls.listed(PastCallsQuery()) == []
    async with past_calls(settings(tmp_path, enabled=False)) as calls:
        assert calls is None


# --- recordings and pictures


def recording(calls_folder: Path, **fields: Any) -> Settings:
    return Settings(
        server=ServerSettings(calls_folder=calls_folder),
        records=RecordsSettings(enabled=False),
        recording=RecordingSettings(enabled=True, **fields),
    )


async def test_calls_are_recorded_into_their_folders_on_demand(tmp_path: Path) -> None:
    with trio.fail_after(10):
        live = LiveCall(call_id(1), "CA1", STARTED_AT, tmp_path / call_id(1))
        async with keeping(recording(tmp_path)) as kept, kept.witnesses[0](live) as listener:
            assert listener is not None
            listener.on_event(1.0, CallerAudio(b"\x20" * 160))
    assert read_wav_8khz(tmp_path / call_id(1) / "recording.wav")[:15_680] == bytes(15_680)
    assert recordings_in_words(recording(tmp_path)) == f"{tmp_path}/{{call_id}}/recording.wav"


async def test_recordings_may_have_a_folder_of_their_own(tmp_path: Path) -> None:
    settings = recording(tmp_path / "calls", folder=tmp_path / "recordings", path="{call_id}.wav")
    with trio.fail_after(10):
        live = LiveCall(call_id(1), "CA1", STARTED_AT, tmp_path / call_id(1))
        async with keeping(settings) as kept, kept.witnesses[0](live) as listener:
            assert listener is not None
            listener.on_event(1.0, CallerAudio(b"\x20" * 160))
    assert (tmp_path / "recordings" / f"{call_id(1)}.wav").exists()


async def test_finished_recordings_are_uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("moto", reason="moto is not installed")
    from tests.recording.store import make_bucket, s3_store, set_credentials, stored

    set_credentials(monkeypatch, tmp_path)
    monkeypatch.setattr(uploads, "LAST_UPLOAD_LIMIT_S", 30.0)
    with s3_store() as endpoint, trio.fail_after(60):
        make_bucket(endpoint, "calls-kept")
        settings = recording(tmp_path, s3_url="s3://calls-kept", s3_endpoint=endpoint)
        assert recordings_in_words(settings) == f"{tmp_path}/{{call_id}}/recording.wav, uploaded to s3://calls-kept"
        live = LiveCall(call_id(1), "CA1", STARTED_AT, tmp_path / call_id(1))
        async with keeping(settings) as kept, kept.witnesses[0](live), kept.witnesses[1](live) as listener:
            assert [*kept.backlogs] == ["uploads"]
            assert listener is not None
            listener.on_event(1.0, CallerAudio(b"\x20" * 160))
        found = stored(endpoint, "calls-kept")
    assert found == {f"{call_id(1)}/recording.wav": (tmp_path / call_id(1) / "recording.wav").read_bytes()}
    assert len(found[f"{call_id(1)}/recording.wav"]) == 44 + 32_000


async def test_pictures_are_drawn_of_the_finished_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / call_id(1) / "recording.wav"
    look = f"import os; open({str(tmp_path / 'seen')!r}, 'w').write(str(os.path.getsize({str(path)!r})))"
    monkeypatch.setattr(pictures, "drawing", lambda _folder: [sys.executable, "-c", look])
    live = LiveCall(call_id(1), "CA1", STARTED_AT, tmp_path / call_id(1))
    with trio.fail_after(30):
        async with keeping(recording(tmp_path, pictures=True)) as kept:
            async with kept.witnesses[0](live), kept.witnesses[1](live) as listener:
                assert listener is not None
                listener.on_event(1.0, CallerAudio(b"\x20" * 160))
            await until((tmp_path / "seen").exists)
    assert (tmp_path / "seen").read_text() == str(44 + 32_000)
