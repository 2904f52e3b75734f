from __future__ import annotations

from trio_voice.realtime_server.audio_formats import PCM, PCMU
from trio_voice.realtime_server.speech_stream import SpeechStream


def test_deltas_wait_for_the_voice_and_the_length_is_a_multiple_of_50_ms() -> None:
    stream = SpeechStream(PCM, 250, 100)
    stream.add(bytes(48 * 240))
    assert stream.next_delta() is None
    stream.add(bytes(48 * 70))
    assert len(stream.next_delta() or b"") == 48 * 250
    assert stream.next_delta() is None
    stream.end()
    stream.end()
    assert stream.total_ms == 310 + 40 + 100
    assert len(stream.next_delta() or b"") == 48 * 200
    assert stream.finished
    assert stream.next_delta() is None


def test_a_voice_that_says_nothing_leaves_the_tail() -> None:
    stream = SpeechStream(PCMU, 250, 0)
    finished = [stream.finished]
    stream.end()
    finished.append(stream.finished)
    assert (finished, stream.total_ms) == ([False, True], 0)


def test_audio_goes_in_as_it_is() -> None:
    stream = SpeechStream(PCMU, 100, 0)
    stream.add(b"\x01" * 1200)
    stream.end()
    assert [stream.next_delta(), stream.next_delta()] == [b"\x01" * 800, b"\x01" * 400]
