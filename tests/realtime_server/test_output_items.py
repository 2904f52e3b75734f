from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.realtime_server.wire import connect
from trio_voice.realtime_server.output_items import word_pieces
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.switches import Switches


@given(st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    pieces = word_pieces(text)
    assert "".join(pieces) == text
    assert all(pieces)


def test_pieces_are_parts_of_words() -> None:
    assert list(word_pieces("You would like an appointment. ")) == ["You", " would", " like", " an", " appoin", "tment.", " "]


def test_items_may_follow_one_after_the_other() -> None:
    script = parse_script('[[rule]]\nparts = [{ say = "One." }, { say = "Two." }]', "test")
    order = {}
    for overlapping in (True, False):
        wire = connect(script, Switches(overlapping_items=overlapping))
        wire.send("response.create").wait(9.0)
        order[overlapping] = [event["type"] for event in wire.take() if event["type"].startswith("response.output_item.")]
    added, done = "response.output_item.added", "response.output_item.done"
    assert order == {True: [added, added, done, done], False: [added, done, added, done]}


def test_several_messages_have_audio_and_index_of_their_own() -> None:
    script = parse_script('[[rule]]\nparts = [{ say = "One.", phase = "commentary" }, { say = "Two." }]', "test")
    wire = connect(script)
    wire.send("response.create").wait(9.0)
    events = wire.take()
    starts = {event["output_index"]: event["item_id"] for event in events if event["type"] == "response.output_audio.done"}
    assert sorted(starts) == [0, 1]
    (done,) = [event["response"] for event in events if event["type"] == "response.done"]
    assert [(item["id"], item["phase"]) for item in done["output"]] == [(starts[0], "commentary"), (starts[1], "final_answer")]
    for item_id in starts.values():
        wire.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=50)
        assert wire.types() == ["conversation.item.truncated"]


def test_the_null_predecessor_and_its_switch() -> None:
    for quirk, expected in ((True, None), (False, "first")):
        wire = connect(switches=Switches(first_predecessor_is_null=quirk))
        item = {"type": "message", "role": "user", "content": [], "id": "first"}
        wire.send("conversation.item.create", item=item).send("response.create").wait(9.0)
        events = [event for event in wire.take() if event.get("item", {}).get("role") == "assistant"]
        by_type = {event["type"]: event.get("previous_item_id") for event in events}
        assert by_type["conversation.item.added"] == "first"
        assert by_type["conversation.item.done"] == expected
