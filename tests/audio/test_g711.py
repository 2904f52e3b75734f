"""G.711 against the formulas of ITU-T G.711, code by code."""

from __future__ import annotations

import struct

import pytest

from trio_voice.audio import g711

CODES = bytes(range(256))


def unpack(pcm16: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(pcm16) // 2}h", pcm16)


def pack(*samples: int) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


def ulaw_value(code: int) -> int:
    """The decoder's output of table 2 of the recommendation, at 16 bits."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def alaw_value(code: int) -> int:
    code ^= 0x55
    mantissa, segment = (code & 0x0F) << 4, code >> 4 & 7
    magnitude = mantissa + 8 if segment == 0 else mantissa + 0x108 << (segment - 1)
    return magnitude if code & 0x80 else -magnitude


def test_every_ulaw_code_is_decoded_as_the_recommendation_says() -> None:
    assert unpack(g711.ulaw_to_pcm16(CODES)) == tuple(map(ulaw_value, CODES))


def test_every_alaw_code_is_decoded_as_the_recommendation_says() -> None:
    assert unpack(g711.alaw_to_pcm16(CODES)) == tuple(map(alaw_value, CODES))


def test_decoding_and_encoding_again_loses_nothing() -> None:
    assert g711.pcm16_to_alaw(g711.alaw_to_pcm16(CODES)) == CODES
    again = g711.pcm16_to_ulaw(g711.ulaw_to_pcm16(CODES))
    assert [code for code in CODES if again[code] != code] == [0x7F]  # mu-law has two zeros: minus zero becomes plus zero
    assert again[0x7F] == 0xFF


@pytest.mark.parametrize(("encode", "value"), [(g711.pcm16_to_ulaw, ulaw_value), (g711.pcm16_to_alaw, alaw_value)])
def test_the_error_of_encoding_is_at_most_half_a_step(encode: object, value: object) -> None:
    assert callable(encode)
    assert callable(value)
    for sample in range(-32768, 32768, 7):
        coded = value(encode(pack(sample))[0])
        step = max(16, abs(sample) // 16)
        assert abs(coded - sample) <= step / 2 + 16 or abs(sample) > 32124  # beyond the largest code it is clipped


def test_lengths() -> None:
    assert g711.FRAME_BYTES == 160
    assert len(g711.ulaw_to_pcm16(bytes(160))) == 320
    assert len(g711.pcm16_to_ulaw(bytes(320))) == 160
    assert g711.ulaw_to_pcm16(b"") == b""


def test_silence() -> None:
    silence = g711.ulaw_silence(20)
    assert len(silence) == g711.FRAME_BYTES
    assert g711.ulaw_to_pcm16(silence) == bytes(320)
    assert g711.ulaw_silence(0) == b""
    assert set(unpack(g711.alaw_to_pcm16(bytes([g711.ALAW_SILENCE])))) == {8}  # A-law has no zero
