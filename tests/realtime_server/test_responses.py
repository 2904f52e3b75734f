from __future__ import annotations

import json
from typing import Any

from tests.realtime_server.wire import Wire, connect
from trio_voice.realtime_server.responses import MOST_OUT_OF_BAND
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.switches import DEFAULT_SWITCHES

TEXT = {"conversation": "none", "output_modalities": ["text"]}


def statuses(wire: Wire) -> list[str]:
    return [event["response"]["status"] for event in wire.take() if event["type"] == "response.done"]


def test_out_of_band_responses_are_bounded() -> None:
    wire = connect()
    for _ in range(MOST_OUT_OF_BAND):
        wire.send("response.create", response=TEXT)
    assert wire.types(folded=False) == ["response.created"] * MOST_OUT_OF_BAND
    wire.send("response.create", response=TEXT)
    assert wire.error()["code"] == "conversation_already_has_active_response"
    assert statuses(wire.wait(9.0)) == ["completed"] * MOST_OUT_OF_BAND


def test_a_cancel_without_an_id_leaves_out_of_band_responses_alone() -> None:
    wire = connect()
    wire.send("response.create", response=TEXT)
    response_id = wire.last_response_id
    wire.take()
    wire.send("response.cancel")
    assert wire.error()["code"] == "response_cancel_not_active"
    wire.send("response.cancel", response_id=response_id)
    assert statuses(wire.wait(1.0)) == ["cancelled"]


def test_a_response_sees_the_context_that_it_is_given() -> None:
    script = parse_script("[[rule]]\nwhen = { about = 'text' }\nsay = 'About {text}.'\n[[rule]]\nsay = 'Nothing.'", "test")
    wire = connect(script)
    item: dict[str, Any] = {
        "id": "mine",
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "apples"}],
    }
    wire.send("conversation.item.create", item=item)
    other = {**item, "id": "x", "content": [{"type": "input_text", "text": "pears"}]}
    texts = []
    for context in ([], [other], [{"type": "item_reference", "id": "mine"}], None):
        response = {**TEXT, **({} if context is None else {"input": context})}
        wire.send_raw(json.dumps({"type": "response.create", "response": response})).wait(3.0)
        texts += [event["text"] for event in wire.take() if event["type"] == "response.output_text.done"]
    assert texts == ["Nothing.", "About pears.", "About apples.", "About apples."]
    wire.send_raw('{"type":"response.create","response":{"input":[{"type":"item_reference","id":"none"}]}}')
    error = wire.error()
    assert (error["code"], error["param"]) == ("invalid_value", "response.input[0].id")


def test_failures_come_at_once_and_name_their_error() -> None:
    for code, kind in (("insufficient_quota", "insufficient_quota"), ("server_error", "server_error")):
        wire = connect(switches=DEFAULT_SWITCHES.changed({"fail_responses": 1, "fail_code": code}, "test"))
        wire.send("response.create").wait(1.0)
        (_, done) = [event["response"] for event in wire.take() if event["type"].startswith("response.")]
        error = done["status_details"]["error"]
        assert (done["status"], error["type"]) == ("failed", kind)
        assert error["code"] == (None if code == "server_error" else code)


def test_rate_limits_tell_what_is_left() -> None:
    wire = connect()
    wire.send("response.create").wait(9.0)
    (limits,) = wire.one("rate_limits.updated")["rate_limits"]
    assert limits["name"] == "tokens"
    assert 0 < limits["remaining"] < limits["limit"]
    assert limits["reset_seconds"] > 0
