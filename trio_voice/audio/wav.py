"""WAV files: 16-bit PCM in (any rate, any number of channels), 8000 Hz out, one or two channels."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from trio_voice.audio.g711 import SAMPLE_RATE_HZ
from trio_voice.audio.resample import resample_pcm16
from trio_voice.errors import UserError


def read_wav_8khz(path: Path) -> bytes:
    """Read a WAV file as mono signed 16-bit PCM at 8000 Hz; channels are averaged, other rates resampled.

    Raises UserError when the file is missing, is no WAV, or is not 16-bit PCM.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the path of a 16-bit PCM WAV file") from None
    except (wave.Error, EOFError, OSError) as error:
        raise UserError(f"{path}: not a readable WAV file ({error}); convert it to 16-bit PCM, for instance with sox") from None
    if width != 2:
        raise UserError(
            f"{path}: {width * 8}-bit samples; convert it to 16-bit PCM, for instance with: sox {path.name} -b 16 out.wav"
        )
    if not rate:
        raise UserError(f"{path}: a sample rate of 0 Hz; the file is damaged")
    data = data[: len(data) // (2 * channels) * 2 * channels]  # the last sample of a file that was cut off may be half there
    if channels > 1:
        mixed = np.frombuffer(data, "<i2").reshape(-1, channels).mean(axis=1)
        data = np.rint(mixed).astype("<i2").tobytes()
    return resample_pcm16(data, rate, SAMPLE_RATE_HZ)


def write_wav_8khz(path: Path, pcm16: bytes, channels: int = 1) -> None:
    """Write signed 16-bit PCM (interleaved when `channels` is 2) as an 8000 Hz WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(pcm16)
