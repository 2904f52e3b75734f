"""WAV files: PCM of 8 to 32 bits, floats, mu-law and A-law in (any rate, any number of channels); 16 bits at 8000 Hz out."""

from __future__ import annotations

import struct
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trio_voice.audio.g711 import SAMPLE_RATE_HZ, alaw_to_pcm16, ulaw_to_pcm16
from trio_voice.audio.resample import resample_pcm16
from trio_voice.errors import UserError

_EXTENSIBLE = 0xFFFE
_CONVERT = "convert it, for instance with: ffmpeg -i {name} -ar 8000 -ac 1 out.wav"
Samples = npt.NDArray[np.float64]


def read_wav_8khz(path: Path) -> bytes:
    """Read a WAV file as mono signed 16-bit PCM at 8000 Hz; channels are averaged, other rates resampled.

    Raises UserError when the file is missing, is no WAV file, or holds samples of another kind.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the path of a WAV file") from None
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror})") from None
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise UserError(f"{path}: not a WAV file; {_CONVERT.format(name=path.name)}")
    chunks = dict(_chunks(data))
    head, audio = chunks.get(b"fmt ", b""), chunks.get(b"data")
    if len(head) < 16 or audio is None:
        raise UserError(f"{path}: a damaged WAV file: it has no {'sound' if len(head) >= 16 else 'header'}")
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", head[:16])
    if kind == _EXTENSIBLE and len(head) >= 26:
        (kind,) = struct.unpack("<H", head[24:26])
    if not rate or not channels:
        raise UserError(f"{path}: a damaged WAV file: {rate} samples a second in {channels} channels")
    size = bits // 8 * channels  # the last sample of a file that was cut off may be half there
    samples = _samples(kind, bits, audio[: len(audio) // size * size] if size else b"")
    if samples is None:
        what = f"samples of a kind that is not read (format {kind}, {bits} bits)"
        raise UserError(f"{path}: {what}; {_CONVERT.format(name=path.name)}")
    mixed = np.clip(np.rint(samples.reshape(-1, channels).mean(axis=1)), -32768, 32767)
    return resample_pcm16(mixed.astype("<i2").tobytes(), rate, SAMPLE_RATE_HZ)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Take a RIFF file apart; the first chunk of a name is the one that counts (the last is yielded first)."""
    found, at = [], 12
    while at + 8 <= len(data):
        name, size = struct.unpack("<4sI", data[at : at + 8])
        found.append((name, data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    yield from reversed(found)


def _samples(kind: int, bits: int, data: bytes) -> Samples | None:
    """Return samples from -32768 to 32767; None: nobody knows this kind."""
    match kind, bits:
        case (1, 8):
            return (np.frombuffer(data, "u1").astype(np.float64) - 128) * 256
        case (1, 16):
            return np.frombuffer(data, "<i2").astype(np.float64)
        case (1, 24):
            padded = np.zeros((len(data) // 3, 4), "u1")
            padded[:, 1:] = np.frombuffer(data, "u1").reshape(-1, 3)
            return padded.view("<i4").ravel().astype(np.float64) / 65536
        case (1, 32):
            return np.frombuffer(data, "<i4").astype(np.float64) / 65536
        case (3, 32 | 64):
            return np.frombuffer(data, f"<f{bits // 8}").astype(np.float64) * 32767
        case (6, 8):
            return np.frombuffer(alaw_to_pcm16(data), "<i2").astype(np.float64)
        case (7, 8):
            return np.frombuffer(ulaw_to_pcm16(data), "<i2").astype(np.float64)
    return None


def write_wav_8khz(path: Path, pcm16: bytes, channels: int = 1) -> None:
    """Write signed 16-bit PCM (interleaved when `channels` is 2) as an 8000 Hz WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(pcm16)
