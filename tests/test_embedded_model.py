"""The model that is there without a key: started as the settings want it, or given up with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog.testing
import trio
import trio.testing

from trio_voice import embedded_model as module
from trio_voice.embedded_model import start_embedded_model
from trio_voice.errors import UserError
from trio_voice.realtime_server.server import ModelServerSettings
from trio_voice.sections import ModelAudioFormat, ModelSettings, VoiceEngine


async def test_a_model_that_does_not_start_is_given_up_after_exactly_the_limit(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_settings: object, *, tell_voice: object, task_status: trio.TaskStatus[str]) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(module, "serve_model", never)
    async with trio.open_nursery() as nursery:
        with pytest.raises(UserError, match="the embedded model did not start within 20 s"):
            await start_embedded_model(nursery, ModelSettings(), print)
    assert trio.current_time() == 20.0


async def test_the_embedded_model_has_the_script_and_the_voice_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[ModelServerSettings] = []

    async def serve(settings: ModelServerSettings, *, tell_voice: object, task_status: trio.TaskStatus[str]) -> None:
        started.append(settings)
        task_status.started("ws://127.0.0.1:1/v1/realtime")

    monkeypatch.setattr(module, "serve_model", serve)
    (tmp_path / "s.toml").write_text('[[rule]]\nsay = "Hello from a script."\n', encoding="utf-8")
    async with trio.open_nursery() as nursery:
        model = ModelSettings(script=tmp_path / "s.toml", voice=VoiceEngine.TONES)
        assert await start_embedded_model(nursery, model, print) == "ws://127.0.0.1:1/v1/realtime"
    assert "Hello from a script." in repr(started[0].script)
    assert started[0].voice.engine == "tones"
    async with trio.open_nursery() as nursery:
        with pytest.raises(UserError, match=r"nowhere\.toml"):
            await start_embedded_model(nursery, ModelSettings(script=tmp_path / "nowhere.toml"), print)


@pytest.mark.parametrize("audio_format", ModelAudioFormat)
async def test_what_pcm_wants_is_imported_before_the_model_serves(
    audio_format: ModelAudioFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    async def serve(_settings: object, *, tell_voice: object, task_status: trio.TaskStatus[str]) -> None:
        done.append("serves")
        task_status.started("ws://127.0.0.1:1/v1/realtime")

    monkeypatch.setattr(module, "serve_model", serve)
    monkeypatch.setattr(module, "be_ready_for_pcm", lambda: done.append("is ready for PCM"))
    async with trio.open_nursery() as nursery:
        await start_embedded_model(nursery, ModelSettings(audio_format=audio_format), print)
    assert done == (["is ready for PCM", "serves"] if audio_format is ModelAudioFormat.PCM else ["serves"])


async def test_it_begins_without_a_word_of_its_own() -> None:
    told: list[str] = []
    with structlog.testing.capture_logs() as logged:
        async with trio.open_nursery() as nursery:
            url = await start_embedded_model(nursery, ModelSettings(voice=VoiceEngine.TONES), told.append)
            nursery.cancel_scope.cancel()
    assert url.startswith("ws://127.0.0.1:")
    assert told == ["tones stand for speech, as the settings ask"]
    assert [line["event"] for line in logged if line["log_level"] != "debug"] == []
