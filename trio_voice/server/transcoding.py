"""Whether a session's audio has to be converted. What converts it needs numpy, which weighs 10 MB and takes 0.1 s to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_voice.realtime.settings import AudioFormat

if TYPE_CHECKING:
    from trio_voice.server.model_audio import Transcoder


def transcoder(input_format: AudioFormat, output_format: AudioFormat) -> Transcoder | None:
    """Return what converts the audio of such a session; None where there is nothing to convert."""
    if input_format is output_format is AudioFormat.PCMU:
        return None
    from trio_voice.server.model_audio import Transcoder  # noqa: PLC0415 - see above; `be_ready_for` imports it before any call

    return Transcoder(input_format, output_format)


def be_ready_for(input_format: AudioFormat, output_format: AudioFormat) -> None:
    """Import what such sessions need, so that no call waits for it."""
    transcoder(input_format, output_format)
