"""Every setting that concerns the model reaches its session."""

from __future__ import annotations

import pytest
from attrs import evolve

from trio_voice.agent.agent import HANG_UP, Agent
from trio_voice.agent.context import ModelApi
from trio_voice.audio.g711 import ulaw_to_pcm16
from trio_voice.audio.levels import rms_dbfs
from trio_voice.config import ModelAccess, Settings
from trio_voice.core.settings import CallSettings, Turns, Wording
from trio_voice.plan import call_plan, model_in_words
from trio_voice.realtime.settings import AudioFormat, NoiseReduction, SessionSettings
from trio_voice.recording.settings import RecordingSettings
from trio_voice.sections import ModelAudioFormat, ModelSettings

SETTINGS = Settings(
    model=ModelSettings(name="m-1", transcription_model="t-1", noise_reduction=NoiseReduction.FAR_FIELD, speed=1.25),
    agent=Agent(instructions="Be brief.", voice="cedar"),
    call=CallSettings(vad_threshold=0.7, vad_prefix_ms=111, vad_silence_ms=222),
    wording=Wording(farewell="Bye."),
    access=ModelAccess(base_url="https://host/v1", api_key="k-1"),
)


def test_the_session_is_what_the_settings_say() -> None:
    assert call_plan(SETTINGS, "https://host/v1", "1.2.3").session == SessionSettings(
        instructions="Be brief.",
        model="m-1",
        voice="cedar",
        input_format=AudioFormat.PCMU,
        output_format=AudioFormat.PCMU,
        vad_threshold=0.7,
        vad_prefix_ms=111,
        vad_silence_ms=222,
        create_response=False,
        interrupt_response=False,
        transcription_model="t-1",
        noise_reduction=NoiseReduction.FAR_FIELD,
        speed=1.25,
        tools=(HANG_UP,),
    )


def test_r14_both_turns_are_given_to_the_model_only_where_it_shall_have_them() -> None:
    session = call_plan(evolve(SETTINGS, call=CallSettings(turns=Turns.MODEL)), "https://host/v1", "1").session
    assert (session.create_response, session.interrupt_response) == (True, True)


@pytest.mark.parametrize("audio_format", list(ModelAudioFormat))
def test_the_audio_format_is_that_of_both_directions(audio_format: ModelAudioFormat) -> None:
    session = call_plan(evolve(SETTINGS, model=ModelSettings(audio_format=audio_format)), "https://host/v1", "1").session
    assert session.input_format is session.output_format
    assert session.input_format.value == f"audio/{audio_format.value}"


def test_a_model_elsewhere_is_asked_for_signs_of_life_and_our_own_is_not() -> None:
    settings = evolve(SETTINGS, model=ModelSettings(ping_every_s=2, ping_limit_s=3))
    endpoint = call_plan(settings, "https://host/v1", "1").endpoint
    assert (endpoint.ping_every_s, endpoint.ping_limit_s) == (2.0, 3.0)
    ours = evolve(settings, access=ModelAccess(base_url=None))
    assert call_plan(ours, "ws://127.0.0.1:1/v1", "1").endpoint.ping_every_s == 0


def test_the_model_gets_the_audio_in_messages_of_the_length_that_was_set() -> None:
    settings = evolve(SETTINGS, model=ModelSettings(append_ms=40))
    assert call_plan(settings, "https://host/v1", "1").endpoint.append_ms == 40
    with pytest.raises(ValueError, match="append_ms"):
        ModelSettings(append_ms=30)


def test_agents_may_ask_a_text_model_where_the_voice_comes_from() -> None:
    plan = call_plan(SETTINGS, "wss://host/v1/realtime", "1")
    assert plan.api == ModelApi(base_url="https://host/v1", key="k-1")
    assert "k-1" not in repr(plan.api)


def test_the_model_is_reached_at_its_url_with_its_key() -> None:
    plan = call_plan(SETTINGS, "https://host/v1", "1.2.3")
    assert plan.endpoint.url == "wss://host/v1/realtime?model=m-1"
    assert dict(plan.endpoint.headers) == {"Authorization": "Bearer k-1"}
    assert "k-1" not in repr(plan.endpoint)


def test_the_rest_of_the_plan_is_passed_on_and_there_is_an_apology() -> None:
    plan = call_plan(SETTINGS, "https://host/v1", "1.2.3")
    assert (plan.settings, plan.wording, plan.version) == (SETTINGS.call, SETTINGS.wording, "1.2.3")
    assert len(plan.apology) > 8000  # more than a second of speech
    assert len(plan.comfort) == 3200  # 0.4 s of soft tones
    assert -35 < rms_dbfs(ulaw_to_pcm16(plan.comfort)) < -25
    assert plan.agent_name == SETTINGS.agent.name


def test_r37_only_who_is_recorded_hears_the_tone_and_only_if_it_is_wanted() -> None:
    def tone(recording: RecordingSettings) -> bytes:
        return call_plan(evolve(SETTINGS, recording=recording), "https://host/v1", "1").beep

    wanted = tone(RecordingSettings(enabled=True, beep=True))
    assert len(wanted) == 1600  # 0.2 s
    assert -24 < rms_dbfs(ulaw_to_pcm16(wanted)) < -18
    assert tone(RecordingSettings(enabled=True)) == tone(RecordingSettings(beep=True)) == b""


def test_the_model_is_named_without_its_secrets() -> None:
    assert model_in_words(Settings()).startswith("the embedded Realtime server")
    access = ModelAccess(base_url="https://user:secret@host/v1?api-key=secret", api_key="k-1")
    assert (
        model_in_words(evolve(SETTINGS, access=access))
        == "m-1 at wss://host/v1/realtime (for the embedded one: --model embedded)"
    )
