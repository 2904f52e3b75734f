"""What the database keeps of a call."""

from __future__ import annotations

from tests.records.samples import record
from trio_voice.storage.call_record import LatencyKind


def test_latencies_of_one_kind_come_in_their_order() -> None:
    assert record().latencies_of(LatencyKind.FIRST_AUDIO) == [500, 701]
    assert record(latencies=()).latencies_of(LatencyKind.GREETING) == []
