"""The `openai` package is the referee: its types are the protocol's reference in code."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter, ValidationError

from tests.realtime.samples import ALL, event
from trio_voice.realtime.messages import UNUSED_TYPES, AnyServerEvent

referee: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


def used_types() -> set[str]:
    return {kind.__struct_config__.tag for kind in get_args(AnyServerEvent)}


def test_every_event_type_of_the_protocol_is_used_or_named_as_unused() -> None:
    union = get_args(RealtimeServerEvent)[0]
    protocol = {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(union)}
    assert used_types() | UNUSED_TYPES == protocol
    assert not used_types() & UNUSED_TYPES


@pytest.mark.parametrize("sample", ALL, ids=lambda sample: sample["type"])
def test_the_samples_are_what_the_protocol_says(sample: dict[str, Any]) -> None:
    referee.validate_json(json.dumps(sample))


def test_every_used_type_has_a_sample() -> None:
    assert used_types() <= {sample["type"] for sample in ALL}


@pytest.mark.parametrize("wrong", [event("ping"), event("response.audio.delta", delta=""), event("response.done", response=5)])
def test_the_referee_can_say_no(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        referee.validate_json(json.dumps(wrong))
