from __future__ import annotations

import math
import struct

import pytest

from tests.test_public_names import imported_with
from trio_voice.audio import g711
from trio_voice.audio.levels import rms_dbfs
from trio_voice.realtime_server.audio_formats import FORMATS, PCM, PCMA, PCMU, AudioFormat, format_of, to_hearing
from trio_voice.realtime_server.voice_encoding import from_voice


def tone(rate_hz: int, duration_ms: int) -> bytes:
    samples = range(rate_hz * duration_ms // 1000)
    return b"".join(struct.pack("<h", round(8000 * math.sin(2 * math.pi * 440 * n / rate_hz))) for n in samples)


def test_formats_by_their_wire_names() -> None:
    assert format_of({"type": "audio/pcm", "rate": 24000}) is PCM
    assert [each.bytes_per_ms for each in FORMATS.values()] == [48, 8, 8]
    assert PCMU.silence_of(1) == b"\xff" * 8
    assert PCM.silence_of(1) == bytes(48)
    assert rms_dbfs(g711.alaw_to_pcm16(PCMA.silence_of(20))) < -70


@pytest.mark.parametrize("target", [PCM, PCMU, PCMA])
def test_there_and_back_a_tone_keeps_its_level(target: AudioFormat) -> None:
    voice, hearing = from_voice(target), to_hearing(target)
    spoken = tone(24000, 500)
    wire = b"".join(voice.convert(spoken[start : start + 998]) for start in range(0, len(spoken), 998))
    assert abs(len(wire) / target.bytes_per_ms - 500) <= 2
    heard = b"".join(hearing.convert(wire[start : start + 161]) for start in range(0, len(wire), 161))  # cut inside samples
    assert abs(len(heard) / 16 - 500) <= 4
    assert abs(rms_dbfs(heard[800:-800]) - rms_dbfs(spoken)) < 0.5


def test_only_pcm_wants_numpy_and_only_when_it_comes() -> None:
    begin = "from trio_voice.realtime_server.audio_formats import *\n"
    for harmless in (
        "PCMU, PCMA",
        "to_hearing(PCMU).convert(bytes(160))",
        "to_hearing(PCMA).convert(bytes(160))",
        "to_hearing(PCM)",
    ):
        assert "numpy" not in imported_with(begin + harmless)
    for wanted in ("to_hearing(PCM).convert(bytes(960))", "be_ready_for_pcm()"):
        assert "trio_voice.audio.resample" in imported_with(begin + wanted)
