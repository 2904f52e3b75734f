"""The faults and races of responses, each switched on and seen on the wire."""

from __future__ import annotations

import base64
from itertools import pairwise
from typing import Any

from tests.realtime_server.wire import ONE_SENTENCE, Wire, connect, opened
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.switches import Switches

USER_TEXT = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}


def speaking(**switches: Any) -> Wire:
    """A response that is in the middle of its audio; nothing of it is left to look at."""
    wire = connect(switches=Switches(pace=1.0, **switches))
    wire.send("response.create").wait(0.5)
    wire.take()
    return wire


def deltas(wire: Wire) -> list[tuple[float, int]]:
    """When audio deltas came, and their length in milliseconds (mu-law); forgets all events."""
    found = [(at, len(base64.b64decode(e["delta"])) // 8) for at, e in wire.seen if e["type"] == "response.output_audio.delta"]
    wire.take()
    return found


def test_stragglers_follow_a_cancel() -> None:
    wire = speaking(stragglers=2, cancel_ms=192)
    wire.send("response.cancel").wait(0.2)
    late = [at for at, event in wire.seen if event["type"] == "response.output_audio.delta"]
    assert [round(at - 0.5, 6) for at in late] == [0.064, 0.128]
    assert wire.types()[-1] == "response.done"


def test_stragglers_follow_a_barge_in_at_once() -> None:
    wire = speaking(stragglers=1)
    wire.session._responses.interrupt(wire.now)
    wire.perform(wire.session.handle_timer(wire.now))
    assert wire.types()[0] == "response.output_audio.delta"


def test_a_late_done_comes_after_the_next_created() -> None:
    wire = speaking(late_done=True)
    first = wire.last_response_id
    wire.send("response.cancel").wait(1.0)
    assert "response.done" not in wire.types()
    wire.send("response.create")
    created, done = [event["response"] for event in wire.take()]
    assert (created["status"], done["id"], done["status"]) == ("in_progress", first, "cancelled")


def test_a_late_done_comes_in_time_without_a_next_response() -> None:
    wire = speaking(late_done=True, cancel_ms=125)
    wire.send("response.cancel").wait(2.125 - 2**-10)
    assert "response.done" not in wire.types()
    wire.wait(2**-10)
    assert wire.types() == ["response.done"]


def test_a_next_response_may_come_before_the_late_one_has_closed() -> None:
    wire = speaking(late_done=True, cancel_ms=500)
    first = wire.last_response_id
    wire.send("response.cancel").send("response.create").wait(5.0)
    order = [(e["type"], e["response"]["id"] == first) for e in wire.take() if e["type"] in ("response.created", "response.done")]
    assert order == [("response.created", False), ("response.done", True), ("response.done", False)]


def test_a_done_may_be_missing() -> None:
    wire = connect(switches=Switches(missing_done=1))
    wire.send("response.create").wait(5.0)
    kinds = wire.types(folded=False)
    assert kinds[-1] == "response.output_item.done"
    wire.send("response.create").wait(5.0)  # the server itself is not confused
    assert "response.done" in wire.types()


def test_creates_are_refused() -> None:
    wire = connect(switches=Switches(refuse_creates=1))
    wire.send("response.create", event_id="e1")
    error = wire.error()
    assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "e1")
    wire.send("response.create")
    assert wire.types() == ["response.created"]


def test_slow_first_audio() -> None:
    wire = connect(switches=Switches(first_audio_ms=5000))
    wire.send("response.create").wait(4.999)
    assert deltas(wire) == []
    wire.wait(0.001)
    assert deltas(wire) == [(5.0, 250)]


def test_a_stall_in_mid_reply() -> None:
    wire = connect(switches=Switches(pace=0, first_audio_ms=500, stall_after_ms=500, stall_ms=3000))
    wire.send("response.create").wait(3.0)
    assert deltas(wire) == [(0.5, 250), (0.5, 250)]
    wire.wait(0.5)
    assert {at for at, _ in deltas(wire)} == {3.5}


def test_burst_and_real_time() -> None:
    for pace, between_s in ((0, 0.0), (1, 0.25), (2, 0.125)):
        wire = connect(switches=Switches(pace=pace, first_audio_ms=500))
        wire.send("response.create").wait(10.0)
        times = [at for at, _ in deltas(wire)]
        assert [round(later - earlier, 9) for earlier, later in pairwise(times)] == [between_s] * (len(times) - 1)


def test_surplus_pcm_is_not_counted() -> None:
    wire = opened(ONE_SENTENCE, Switches(surplus_pcm_ms=85))
    wire.send("response.create").wait(5.0)
    events = wire.take()
    received_ms = sum(len(base64.b64decode(e["delta"])) for e in events if e["type"] == "response.output_audio.delta") / 48
    (done,) = [event["response"] for event in events if event["type"] == "response.done"]
    counted_ms = done["usage"]["output_token_details"]["audio_tokens"] * 50
    assert received_ms == counted_ms + 85
    wire.send("conversation.item.truncate", item_id=wire.last_item_id, content_index=0, audio_end_ms=int(received_ms))
    assert wire.error()["message"] == f"Audio content of {counted_ms}ms is already shorter than {int(received_ms)}ms"


def test_an_update_is_rejected_as_a_whole() -> None:
    wire = opened(switches=Switches(reject_updates=1))
    before = wire.take()[0]["session"]
    wire.send("session.update", session={"type": "realtime", "instructions": "x"}, event_id="u1")
    error = wire.error()
    assert (error["type"], error["event_id"]) == ("server_error", "u1")
    wire.send("session.update", session={"type": "realtime"})
    assert wire.one("session.updated")["session"] == before


def test_item_acks_may_come_after_the_response() -> None:
    wire = speaking(late_item_acks=True)
    wire.send("conversation.item.create", item={**USER_TEXT, "id": "mine"}).wait(10.0)
    kinds = [e["type"] for e in wire.take() if e.get("item", {}).get("id") == "mine" or e["type"] == "response.done"]
    assert kinds == ["response.done", "conversation.item.added", "conversation.item.done"]


def test_parts_may_go_without_their_done_events() -> None:
    wire = speaking(parts_done_when_cancelled=False)
    wire.send("response.cancel").wait(1.0)
    assert [kind for kind in wire.types() if "delta" not in kind] == [
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]


def test_the_documented_order_of_the_last_two_events() -> None:
    wire = connect(switches=Switches(done_order="output_first"))
    wire.send("response.create").wait(5.0)
    assert wire.types()[-3:] == ["response.output_item.done", "conversation.item.done", "response.done"]


def test_a_response_may_have_switches_of_its_own() -> None:
    script = parse_script(
        '[[rule]]\nsay = "Slow."\ntimes = 1\nswitches = { first_audio_ms = 2000 }\n[[rule]]\nsay = "Fast."', "t"
    )
    wire = connect(script)
    wire.send("response.create").wait(4.0)
    assert deltas(wire)[0][0] == 2.0
    wire.send("response.create").wait(4.0)
    assert deltas(wire)[0][0] == 4.43


def test_small_differences_that_clients_have_to_bear() -> None:
    switches = Switches(obfuscation=False, rate_limits=False, error_event_ids=False, truncate_error_code="none")
    wire = connect(switches=switches)
    wire.send("response.create").wait(5.0)
    events = wire.take()
    assert not any("obfuscation" in event or event["type"] == "rate_limits.updated" for event in events)
    wire.send("conversation.item.truncate", item_id=wire.last_item_id, content_index=0, audio_end_ms=99_999, event_id="t1")
    error = wire.error()
    assert (error["code"], error["event_id"]) == (None, None)


def test_an_id_may_not_be_used_twice() -> None:
    wire = connect(switches=Switches(duplicate_item_ids="refuse"))
    for _ in range(2):
        wire.send("conversation.item.create", item={**USER_TEXT, "id": "mine"})
    assert wire.types()[-1] == "error"
