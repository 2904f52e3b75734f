from __future__ import annotations

import msgspec
import pytest
from attrs.exceptions import FrozenInstanceError

from trio_voice.dialects import DIALECTS
from trio_voice.dialects.base import MALFORMED, Capabilities, ClearSource, Dialect, MarkSource, OddityKind, StreamAudio


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_every_dialect_declares_what_it_can_do(name: str) -> None:
    dialect: Dialect = DIALECTS[name]()
    can = dialect.capabilities
    assert isinstance(can, Capabilities)
    assert dialect.name == name
    assert can.encodings
    assert can.max_lead_ms > 0
    assert can.frame_multiple_bytes > 0
    if can.mark is MarkSource.NATIVE:
        assert 20 <= can.marks_every_ms <= 400
    if can.clear is ClearSource.OWN_QUEUE:
        assert can.max_lead_ms <= 200, "what a carrier cannot drop must not be handed to it early"


def test_capabilities_and_events_cannot_be_changed() -> None:
    can = DIALECTS["twilio"]().capabilities
    with pytest.raises(FrozenInstanceError):
        can.binary = True  # type: ignore[misc]  # - that is the point
    with pytest.raises(AttributeError, match="immutable"):
        StreamAudio(b"", 0, 1).audio = b"x"  # type: ignore[misc]  # - that is the point


def test_audio_events_are_equal_by_value() -> None:
    assert StreamAudio(b"\xff", 20, 2) == StreamAudio(b"\xff", 20, 2)
    assert StreamAudio(b"\xff", 20, 2) != StreamAudio(b"\xff", 20, None)
    assert not msgspec.structs.asdict(StreamAudio(b"", None, None))["audio"]


def test_only_what_no_carrier_sends_counts_as_malformed() -> None:
    legal = {
        OddityKind.UNKNOWN_EVENT,
        OddityKind.FOREIGN_STREAM,
        OddityKind.BEFORE_START,
        OddityKind.REPEATED,
        OddityKind.WRONG_TRACK,
        OddityKind.AFTER_STOP,
    }
    assert set(OddityKind) == legal | MALFORMED
    assert not legal & MALFORMED
