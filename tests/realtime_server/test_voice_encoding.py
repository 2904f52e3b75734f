"""From the voice to the wire: the same bytes however it is cut, and the same for all that is said in one go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trio_voice.audio.g711 import pcm16_to_alaw, pcm16_to_ulaw
from trio_voice.audio.resample import Downsampler24To8
from trio_voice.realtime_server.audio_formats import PCM, PCMA, PCMU, AudioFormat
from trio_voice.realtime_server.voice_encoding import from_voice
from trio_voice.realtime_server.voice_tones import spoken_in_tones

SPOKEN = b"".join(spoken_in_tones("Good morning, who is there?", 120.0, 1.0))


@pytest.mark.parametrize(("target", "encode"), [(PCMU, pcm16_to_ulaw), (PCMA, pcm16_to_alaw)])
def test_g711_is_the_voice_at_8000_hz_wherever_it_is_cut(target: AudioFormat, encode: Callable[[bytes], bytes]) -> None:
    whole = encode(Downsampler24To8().convert(SPOKEN))
    assert len(whole) == len(SPOKEN) // 6
    for cut in (2, 4, 194, 4800, len(SPOKEN)):
        voice = from_voice(target)
        assert b"".join(voice.convert(SPOKEN[begin : begin + cut]) for begin in range(0, len(SPOKEN), cut)) == whole


def test_pcm_is_the_voice_itself() -> None:
    assert from_voice(PCM).convert(SPOKEN) == SPOKEN


@pytest.mark.parametrize("target", [PCMU, PCMA])
def test_sentences_one_by_one_are_what_they_are_in_one_go(target: AudioFormat) -> None:
    """A sentence ends with a pause longer than the filter: nothing of it reaches into the next."""
    assert SPOKEN[-90:] == bytes(90)
    whole = from_voice(target).convert(SPOKEN + SPOKEN)
    assert from_voice(target).convert(SPOKEN) + from_voice(target).convert(SPOKEN) == whole
    for samples in (1, 2):  # a sentence that ends within a sample of 8000 Hz is shorter by that
        assert from_voice(target).convert(SPOKEN + bytes(2 * samples)) == whole[: len(whole) // 2]
