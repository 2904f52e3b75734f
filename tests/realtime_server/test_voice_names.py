"""The voices' names: those of the Realtime API, no two alike in any engine, others refused."""

from __future__ import annotations

import pytest
from openai.types.realtime import RealtimeAudioConfigOutput

from trio_voice.errors import LocalProtocolError
from trio_voice.realtime_server.voice_names import VOICE_NAMES, voice_profile


def test_they_are_those_of_the_openai_package() -> None:
    documented = str(RealtimeAudioConfigOutput.model_fields["voice"].annotation)
    assert len(VOICE_NAMES) == 10
    assert all(f"'{name}'" in documented for name in VOICE_NAMES)


def test_no_two_sound_alike() -> None:
    profiles = [voice_profile(name) for name in VOICE_NAMES]
    assert len({profile.flite for profile in profiles}) == 10
    assert len({profile.espeak.variant for profile in profiles}) == 10
    assert len({profile.tone_hz for profile in profiles}) == 10
    for one in profiles:
        for other in profiles:
            same_speaker = one is not other and one.flite.speaker == other.flite.speaker
            assert not same_speaker or abs(one.flite.pitch_hz / other.flite.pitch_hz - 1) > 0.05


@pytest.mark.parametrize("name", ["nova", "", "Alloy", "voice_123"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="the voices are alloy, ash"):
        voice_profile(name)
