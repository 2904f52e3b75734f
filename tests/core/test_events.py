from typing import Any

import attrs
import pytest

from trio_voice.core import events
from trio_voice.core.call import Call
from trio_voice.core.events import CallerAudio, Event, ItemKind, ModelAudio, ResponseStatus, size_of

KINDS = [value for value in vars(events).values() if isinstance(value, type) and issubclass(value, Event) and value is not Event]
NOT_FROM_A_SESSION = {
    "CallStarted", "CallerAudio", "PlaybackMarked", "DigitPressed", "CallerHungUp", "HangUpAsked", "ToolFinished", "TextInjected",
    "OutboxOverran", "FatalErrorRaised", "ToolStarted", "JobStarted", "JobEnded", "ChangeAsked", "FillerAsked", "DigitsAsked",
}  # fmt: skip
SAMPLES: dict[str, Any] = {
    "session": 1, "audio": b"12345678", "level_dbfs": -20.0, "at_ms": 5, "kind": ItemKind.MESSAGE, "final": False,
    "retryable": True, "status": ResponseStatus.COMPLETED, "audio_end_ms": 7, "request": 1, "leg": "model",
    "limit_s": 5.0, "job": 1, "change": 1, "voice_changes": True, "reply": False, "transcribes": False,
}  # fmt: skip


def sample(kind: type[Event]) -> Event:
    """An event of this kind; texts are their field's name."""
    return kind(**{field.name: SAMPLES.get(field.name, field.name) for field in attrs.fields(kind)})


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_slotted_and_explained(kind: type[Event]) -> None:
    event = sample(kind)
    assert kind.__doc__
    assert not hasattr(event, "__dict__")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(event, attrs.fields(kind)[0].name, None)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_model_says_carries_its_session(kind: type[Event]) -> None:
    first = attrs.fields(kind)[0].name
    assert (first == "session") == (kind.__name__ not in NOT_FROM_A_SESSION)


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_knows_every_kind_in_any_state(kind: type[Event]) -> None:
    assert isinstance(Call().receive(sample(kind), 0.0), list)


def test_audio_is_shown_by_its_size() -> None:
    assert size_of(b"123") == "<3 bytes>"
    assert "<160 bytes>" in repr(CallerAudio(bytes(160)))
    assert "<8 bytes>" in repr(ModelAudio(1, "r1", "i1", bytes(8)))
