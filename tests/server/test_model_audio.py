"""The way between the call's mu-law and a model's A-law or PCM: equal lengths, no click, nothing for mu-law."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from trio_voice.audio.g711 import ULAW_SILENCE, alaw_to_pcm16, pcm16_to_ulaw, ulaw_to_pcm16
from trio_voice.audio.resample import FACTOR
from trio_voice.core.events import ModelAudio, ModelAudioEnded, ModelTranscript, ResponseDone, ResponseStatus
from trio_voice.realtime.codec import Decoded
from trio_voice.realtime.settings import AudioFormat
from trio_voice.server.model_audio import Transcoder

PCM = AudioFormat.PCM
PCMA = AudioFormat.PCMA
PCMU = AudioFormat.PCMU
ENDED = ModelAudioEnded(1, "r1", "i1")
Samples = npt.NDArray[np.float64]


def tone(samples: int, rate_hz: int, late_s: float = 0.0) -> bytes:
    """Two tones of speech's band, at a telephone's level."""
    t = np.arange(samples) / rate_hz - late_s
    wave = 5000 * np.sin(2 * np.pi * 440 * t) + 3000 * np.sin(2 * np.pi * 1230 * t)
    return bytes(np.rint(wave).astype("<i2").tobytes())


def deltas(audio: bytes, sizes: Sequence[int], item_id: str = "i1") -> list[Decoded]:
    """Cut audio into deltas of these sizes, over and over."""
    cut: list[Decoded] = []
    begin = 0
    while begin < len(audio):
        size = sizes[len(cut) % len(sizes)]
        cut.append(ModelAudio(1, "r1", item_id, audio[begin : begin + size]))
        begin += size
    return cut


def heard(facts: Sequence[Decoded], item_id: str = "i1") -> bytes:
    return b"".join(fact.audio for fact in facts if isinstance(fact, ModelAudio) and fact.item_id == item_id)


def pcm(ulaw: bytes) -> Samples:
    return np.frombuffer(ulaw_to_pcm16(ulaw), "<i2").astype(np.float64)


def snr_db(wanted: Samples, got: Samples) -> float:
    return float(10 * np.log10(np.square(wanted).sum() / np.square(wanted - got).sum()))


@pytest.mark.parametrize(("input_format", "bytes_per_frame"), [(PCMU, 160), (PCMA, 160), (PCM, 960)])
def test_each_frame_of_the_callers_becomes_twenty_milliseconds(input_format: AudioFormat, bytes_per_frame: int) -> None:
    both = Transcoder(input_format, PCM)
    ulaw = pcm16_to_ulaw(tone(8000, 8000))
    frames = [both.to_model(ulaw[begin : begin + 160]) for begin in range(0, len(ulaw), 160)]
    assert [len(frame) for frame in frames] == [bytes_per_frame] * 50


def test_the_callers_silence_is_silence_in_pcm() -> None:
    assert Transcoder(PCM, PCM).to_model(bytes([ULAW_SILENCE]) * 160) == bytes(960)


def test_a_law_keeps_what_the_caller_says() -> None:
    ulaw = pcm16_to_ulaw(tone(8000, 8000))
    alaw = Transcoder(PCMA, PCMA).to_model(ulaw)
    assert snr_db(pcm(ulaw), np.frombuffer(alaw_to_pcm16(alaw), "<i2").astype(np.float64)) > 34


@pytest.mark.parametrize(
    ("samples", "sizes"),
    [
        (24000, [12000]),
        (24000, [960, 7, 3001, 2]),  # a peer may cut in the middle of a sample, and in pieces smaller than the filter
        (23999, [4800]),
        (24001, [48002]),
        (30, [60]),  # shorter than the filter
        (3, [1]),
        (2, [4]),
    ],
)
def test_an_item_of_n_samples_becomes_a_third_as_many_bytes(samples: int, sizes: list[int]) -> None:
    both = Transcoder(PCM, PCM)
    facts = list(both.from_model([*deltas(tone(samples, 24000), sizes), ENDED]))
    assert len(heard(facts)) == samples // FACTOR
    assert facts[-1] == ENDED
    assert all(fact.audio for fact in facts if isinstance(fact, ModelAudio))


def test_before_its_end_an_item_is_never_longer_than_what_came() -> None:
    """What is truncated is a position in what came; the model refuses a position beyond it."""
    both = Transcoder(PCM, PCM)
    came = given = 0
    for delta in deltas(tone(2400, 24000), [100]):
        assert isinstance(delta, ModelAudio)
        came += len(delta.audio)
        given += len(heard(list(both.from_model([delta]))))
        assert given == max(0, came // 6 - 7)  # 0.9 ms behind, the filter's delay


@pytest.mark.parametrize("sizes", [[12000], [960], [7, 961, 3000]])
def test_pcm_is_heard_where_it_was_said_and_without_clicks(sizes: list[int]) -> None:
    facts = list(Transcoder(PCM, PCM).from_model([*deltas(tone(24000, 24000), sizes), ENDED]))
    wanted = np.frombuffer(tone(8000, 8000, late_s=0.5 / 24000), "<i2").astype(np.float64)
    got = pcm(heard(facts))
    inner = slice(40, -40)
    assert snr_db(wanted[inner], got[inner]) > 30  # what mu-law leaves
    assert float(np.abs(np.diff(got)).max()) < 1.1 * float(np.abs(np.diff(wanted)).max())


def test_where_an_item_is_cut_into_deltas_changes_nothing() -> None:
    audio = tone(24000, 24000)
    whole = heard(list(Transcoder(PCM, PCM).from_model([*deltas(audio, [48000]), ENDED])))
    assert heard(list(Transcoder(PCM, PCM).from_model([*deltas(audio, [7, 961, 3000]), ENDED]))) == whole


@pytest.mark.parametrize("frame_bytes", [160, 40])
def test_a_round_trip_through_pcm_keeps_the_callers_voice(frame_bytes: int) -> None:
    both = Transcoder(PCM, PCM)
    ulaw = pcm16_to_ulaw(tone(8000, 8000))
    sent = [both.to_model(ulaw[begin : begin + frame_bytes]) for begin in range(0, len(ulaw), frame_bytes)]
    back = heard(list(both.from_model([*(ModelAudio(1, "r1", "i1", piece) for piece in sent), ENDED])))
    assert len(back) == len(ulaw)
    lags = [snr_db(pcm(ulaw)[100:-100], np.roll(pcm(back), -lag)[100:-100]) for lag in range(12)]
    assert max(lags) > 15


def test_items_that_stream_side_by_side_do_not_mix() -> None:
    both = Transcoder(PCM, PCM)
    loud, quiet = deltas(tone(4800, 24000), [960]), deltas(bytes(9600), [960], "i2")
    mixed = [fact for pair in zip(loud, quiet, strict=True) for fact in pair]
    facts = list(both.from_model([*mixed, ENDED, ModelAudioEnded(1, "r1", "i2")]))
    assert heard(facts, "i2") == bytes([ULAW_SILENCE]) * 1600
    assert len(heard(facts)) == 1600


def test_a_response_that_is_over_leaves_nothing_behind() -> None:
    both = Transcoder(PCM, PCM)
    done = ResponseDone(1, "r1", ResponseStatus.CANCELLED)
    said = deltas(tone(480, 24000), [960])
    assert list(both.from_model([*said, done]))[-1] == done
    assert list(both.from_model([ENDED])) == [ENDED]  # no last piece of what was forgotten


def test_a_peer_that_begins_items_without_end_is_bounded() -> None:
    both = Transcoder(PCM, PCM)
    for number in range(100):
        list(both.from_model(deltas(tone(480, 24000), [960], f"i{number}")))
    ends = [ModelAudioEnded(1, "r1", f"i{number}") for number in range(100)]
    assert len([fact for fact in both.from_model(ends) if isinstance(fact, ModelAudio)]) == 16


def test_a_law_from_the_model_is_byte_for_byte_and_the_rest_passes() -> None:
    both = Transcoder(PCMA, PCMA)
    ulaw = pcm16_to_ulaw(tone(1600, 8000))
    words = ModelTranscript(1, "r1", "i1", "Good morning.")
    facts = list(both.from_model([ModelAudio(1, "r1", "i1", both.to_model(ulaw)), words, ENDED]))
    assert facts[1:] == [words, ENDED]
    assert len(heard(facts)) == len(ulaw)
    assert snr_db(pcm(ulaw), pcm(heard(facts))) > 34


def test_each_direction_has_its_own_format() -> None:
    both = Transcoder(PCM, PCMU)
    said = ModelAudio(1, "r1", "i1", b"\x12\x34")
    assert list(both.from_model([said])) == [said]
    assert len(both.to_model(bytes(160))) == 960
