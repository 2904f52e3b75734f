from __future__ import annotations

import pytest

from trio_voice.realtime_server.audio_formats import PCM, PCMU
from trio_voice.realtime_server.errors_on_the_wire import ClientError
from trio_voice.realtime_server.input_audio import InputAudio


def numbered(duration_ms: int, start_ms: int = 0) -> bytes:
    """Mu-law whose every byte tells its millisecond."""
    return b"".join(bytes([millisecond % 256]) * 8 for millisecond in range(start_ms, start_ms + duration_ms))


def test_the_clock_counts_what_was_appended_over_all_formats() -> None:
    audio = InputAudio(PCM, 1 << 20)
    audio.append(bytes(48 * 100))
    audio.change_format(PCMU)
    audio.append(bytes(8 * 50))
    assert (audio.clock_ms, audio.kept_ms) == (150.0, 50.0)
    audio.clear()
    assert (audio.clock_ms, audio.kept_ms) == (150.0, 0.0)


def test_a_turn_is_taken_by_positions_on_the_clock() -> None:
    audio = InputAudio(PCMU, 1 << 20)
    audio.append(numbered(2000))
    assert audio.take(500, 700) == numbered(200, 500)
    assert audio.kept_ms == 1300.0  # what came before the turn is gone, too
    assert audio.take(None) == numbered(1300, 700)


def test_silence_is_thrown_away_except_the_padding() -> None:
    audio = InputAudio(PCMU, 1 << 20)
    for start in range(0, 10_000, 20):
        audio.append(numbered(20, start))
        audio.keep_last(300)
        assert audio.kept_ms <= 300 + 500 + 500
    assert audio.take(9700) == numbered(300, 9700)
    assert audio.clock_ms == 10_000


def test_the_oldest_makes_room_when_the_buffer_is_full() -> None:
    audio = InputAudio(PCMU, 800)
    audio.append(numbered(150))
    assert audio.take(None) == numbered(100, 50)


def test_a_commit_needs_100_ms() -> None:
    audio = InputAudio(PCMU, 1 << 20)
    audio.append(bytes(799))
    with pytest.raises(ClientError, match=r"only has 99\.88ms"):
        audio.check_commit(None)
    audio.append(bytes(1))
    audio.check_commit(None)
    with pytest.raises(ClientError, match=r"only has 80\.00ms"):
        audio.check_commit(80)  # detection is on, and nobody speaks
