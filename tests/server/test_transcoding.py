"""Audio is converted where it has to be, and what that needs is imported where it is needed, before the first call."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trio_voice.realtime.settings import AudioFormat
from trio_voice.server.model_audio import Transcoder
from trio_voice.server.transcoding import transcoder

PCM, PCMA, PCMU = AudioFormat.PCM, AudioFormat.PCMA, AudioFormat.PCMU


def test_mu_law_needs_no_transcoder() -> None:
    assert transcoder(PCMU, PCMU) is None


@pytest.mark.parametrize("formats", [(PCM, PCM), (PCMA, PCMA), (PCMU, PCM), (PCMA, PCMU)])
def test_all_else_has_one_for_its_formats(formats: tuple[AudioFormat, AudioFormat]) -> None:
    found = transcoder(*formats)
    assert isinstance(found, Transcoder)
    assert (found.input_format, found.output_format) == formats


@pytest.mark.parametrize(("audio_format", "is_imported"), [("PCMU", False), ("PCM", True), ("PCMA", True)])
def test_what_converts_is_imported_when_it_will_be_needed(audio_format: str, is_imported: bool) -> None:
    code = (
        "import sys; from trio_voice.realtime.settings import AudioFormat;"
        "from trio_voice.server.transcoding import be_ready_for;"
        f"be_ready_for(AudioFormat.{audio_format}, AudioFormat.{audio_format});"
        "print('trio_voice.server.model_audio' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert told.stdout == f"{is_imported}\n"
