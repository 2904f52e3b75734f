from __future__ import annotations

import random

from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.errors_on_the_wire import cancel_not_active
from trio_voice.realtime_server.events import CloseConnection, EventSink, SendEvent
from trio_voice.realtime_server.identifiers import Identifiers
from trio_voice.realtime_server.switches import Switches


def sink(switches: Switches | None = None) -> EventSink:
    return EventSink(Identifiers(random.Random(1)), Behaviour(switches or Switches()))


def test_type_and_event_id_come_first() -> None:
    events = sink()
    events.send("a.b", item_id="i", delta="d")
    events.do(CloseConnection(1000, ""))
    sent, close = events.drain()
    assert isinstance(sent, SendEvent)
    assert list(sent.event) == ["type", "event_id", "item_id", "delta"]
    assert close == CloseConnection(1000, "")
    assert events.drain() == []


def test_text_deltas_are_padded_to_16_characters() -> None:
    events = sink()
    events.send_text_delta("x.delta", delta="hello")
    events.send_text_delta("x.delta", delta="much longer than sixteen")
    lengths = [len(each.event["delta"] + each.event["obfuscation"]) for each in events.drain() if isinstance(each, SendEvent)]
    assert lengths == [16, 24]
    plain = sink(Switches(obfuscation=False))
    plain.send_text_delta("x.delta", delta="hello")
    assert "obfuscation" not in str(plain.drain())


def test_an_error_carries_the_clients_event_id() -> None:
    events = sink()
    events.error(cancel_not_active(), "e1")
    (sent,) = events.drain()
    assert isinstance(sent, SendEvent)
    assert sent.event["error"]["event_id"] == "e1"
