"""How well the detector hears real telephone prompts in line noise; noisy_calls.py says how the calls are made and measured.

The recordings are those of `make speech`. `make test` runs a small part; the whole (250 utterances a row) is a proof:
`pytest -m prove -s tests/realtime_server/test_hearing_noise.py` prints the table.
"""

from __future__ import annotations

from functools import cache, partial

import pytest
from attrs import frozen

from tests.realtime_server.noisy_calls import (
    Prompt,
    Score,
    find_recordings,
    load_prompts,
    measure,
    noisy_call,
    rates,
)
from trio_voice.errors import UserError
from trio_voice.phone.speech import speech_folder
from trio_voice.realtime_server.hearing import Hearing, HearingSettings
from trio_voice.realtime_server.hearing_silero import SileroModel

FEWEST = 120


@cache
def prompts(every: int) -> list[Prompt]:
    recordings = find_recordings(speech_folder()) if speech_folder().is_dir() else []
    if len(recordings) < FEWEST:
        pytest.skip(f"fewer than {FEWEST} recordings in {speech_folder()}: fetch them with `make speech`")
    return load_prompts(recordings[:: max(1, len(recordings) // every)])


@frozen
class Row:
    kind: str | None
    snr_db: float
    least_hits_percent: float
    most_false_starts_a_minute: float = 0.3


# The rates that were measured for this method (webrtcvad 3 AND level, floor of the 10th percentile, 7 dB), less chance.
ROWS = [
    Row(None, 0.0, 99.5, 0.0),
    Row("white", 10.0, 96.0),
    Row("white", 5.0, 88.0),
    Row("pink", 10.0, 98.0),
    Row("pink", 5.0, 92.5),
    Row("hum", 10.0, 99.0),
    Row("hum", 5.0, 99.0),
    Row("babble", 10.0, 79.0, 5.3),
    Row("babble", 5.0, 60.0, 8.0),
]
# Silero hears what the other does not; where several people talk at once none is good.
SILERO_ROWS = [
    Row(None, 0.0, 97.0, 0.0),
    Row("white", 10.0, 98.0),
    Row("white", 5.0, 98.0),
    Row("white", 0.0, 97.0),
    Row("pink", 5.0, 98.0),
    Row("pink", 0.0, 92.0),
    Row("hum", 5.0, 97.0),
    Row("babble", 10.0, 69.5, 8.1),
]


def holds(row: Row, score: Score, chance_percent: float = 0.0) -> None:
    print(f"\n{row.kind or 'quiet':7s} {row.snr_db if row.kind else '':4}  {score}", end="")
    assert score.hit_percent >= row.least_hits_percent - chance_percent
    assert score.false_starts_a_minute <= row.most_false_starts_a_minute * (1 + chance_percent / 10)
    assert score.first_starts <= 2 * score.calls


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.snr_db in {0.0, 10.0}], ids=lambda row: f"{row.kind}_{row.snr_db:g}dB"
)
def test_prompts_are_heard_in_noise(row: Row) -> None:
    score = rates(prompts(100), row.kind, row.snr_db, partial(Hearing, HearingSettings()), calls=1, said=25, seed=4)
    holds(row, score, chance_percent=10.0 if row.kind == "babble" else 4.0)  # of 25 utterances each is 4 %


@pytest.mark.prove
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}_{row.snr_db:g}dB")
def test_the_rates_of_webrtcvad_and_level(row: Row) -> None:
    holds(row, rates(prompts(10_000), row.kind, row.snr_db, partial(Hearing, HearingSettings()), calls=10, said=25, seed=1))


@pytest.mark.prove
@pytest.mark.parametrize("row", SILERO_ROWS, ids=lambda row: f"{row.kind}_{row.snr_db:g}dB")
def test_the_rates_of_silero(row: Row) -> None:
    try:
        model = SileroModel.load()
    except UserError as missing:
        pytest.skip(str(missing))

    def make() -> Hearing:
        return Hearing(HearingSettings(), judge=model.judge())

    holds(row, rates(prompts(10_000), row.kind, row.snr_db, make, calls=10, said=25, seed=1))


def test_the_measure_itself() -> None:
    """A detector that is deaf scores nothing, one that always hears is stuck: the rates above can fail."""
    said = prompts(100)[:20]
    call = noisy_call(said, "white", 10.0, 3, said)
    deaf, stuck = Score(), Score()
    measure(call, lambda: Hearing(HearingSettings(), judge=FixedJudge(voiced=False)), deaf)
    measure(call, lambda: Hearing(HearingSettings(), judge=FixedJudge(voiced=True)), stuck)
    assert (deaf.hits, deaf.missed, deaf.first_starts) == (0, 20, 0)
    assert (stuck.hits, stuck.stuck, stuck.first_starts) == (0, 20, 1)


@frozen
class FixedJudge:
    voiced: bool
    frame_ms: int = 20
    onset_window: int = 5
    onset_voiced: int = 4

    def is_voiced(self, pcm16: bytes, threshold: float) -> bool:
        return self.voiced
