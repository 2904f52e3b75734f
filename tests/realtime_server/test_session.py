from __future__ import annotations

import base64
import json
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.realtime_server.wire import Wire, caller_ulaw, connect, opened
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.events import SendEvent, StartSpeech
from trio_voice.realtime_server.prepared_speech import PreparedSpeech
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.scripted_thinking import ScriptedThinking
from trio_voice.realtime_server.session import Session
from trio_voice.realtime_server.switches import Switches

SCRIPT = parse_script(
    """
    [[rule]]
    when = { about = "text" }
    parts = [{ say = "One moment.", phase = "commentary" }, { call = "f", arguments = { n = 1 } }]
    [[rule]]
    say = "Yes, of course, that can be done."
    """,
    "test",
)
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
AUDIO = base64.b64encode(caller_ulaw()[:12_000]).decode()
SILENCE = base64.b64encode(b"\xff" * 8000).decode()

# Client messages, right and wrong, with ids that may or may not exist.
item_ids = st.sampled_from(["one", "two", "none", "LAST"])
messages: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"type": "input_audio_buffer.append", "audio": AUDIO}),
    st.just({"type": "input_audio_buffer.append", "audio": SILENCE}),
    st.sampled_from([{"type": f"input_audio_buffer.{name}"} for name in ("commit", "clear")]),
    st.builds(lambda r: {"type": "response.create", "response": r}, st.sampled_from([
        {}, {"conversation": "none"}, {"output_modalities": ["text"]}, {"max_output_tokens": 9}, {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "required"}, {"audio": {"output": {"voice": "cedar"}}}, {"input": []}, {"nope": 1},
    ])),
    st.sampled_from([{"type": "response.cancel", **each} for each in ({}, {"response_id": "LAST"}, {"response_id": "x"})]),
    st.builds(
        lambda i, after: {
            "type": "conversation.item.create",
            "previous_item_id": after,
            "item": {"id": i, "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        },
        st.sampled_from(["one", "two", "bad id"]), st.sampled_from([None, "root", "one", "none"]),
    ),
    st.builds(lambda k, i: {"type": f"conversation.item.{k}", "item_id": i}, st.sampled_from(["delete", "retrieve"]), item_ids),
    st.builds(
        lambda i, ms: {"type": "conversation.item.truncate", "item_id": i, "content_index": 0, "audio_end_ms": ms},
        item_ids, st.sampled_from([-1, 0, 50, 10**6]),
    ),
    st.builds(lambda s: {"type": "session.update", "session": {"type": "realtime", **s}}, st.sampled_from([
        {}, {"instructions": "x"}, {"audio": {"input": {"turn_detection": None}}}, {"nope": 1}, {"tools": [TOOL]},
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000, "interrupt_response": False}}}},
        {"audio": {"input": {"format": {"type": "audio/pcma"}, "transcription": {"model": "whisper-1"}}}},
        {"audio": {"output": {"voice": "echo", "format": {"type": "audio/pcm", "rate": 24000}}}},
    ])),
    st.sampled_from([{"type": "nope"}, {}, {"type": 7}]),
)  # fmt: skip
steps = st.lists(st.tuples(messages, st.sampled_from([0.0, 0.02, 0.35, 1.0, 3.0])), max_size=14)
switches = st.builds(
    Switches,
    pace=st.sampled_from([0.0, 1.0, 12.0]),
    stragglers=st.sampled_from([0, 2]),
    late_done=st.booleans(),
    overlapping_items=st.booleans(),
    late_item_acks=st.booleans(),
    reply_while_active=st.sampled_from(["refuse", "defer"]),
)


def fill_in(message: dict[str, Any], wire: Wire) -> dict[str, Any]:
    """Replace the id LAST by the newest one."""
    last = {"item_id": wire.last_item_id, "response_id": wire.last_response_id}
    return {key: (last[key] or "none") if value == "LAST" else value for key, value in message.items()}


@given(steps, switches)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_client_does_the_session_keeps_its_word(said: list[tuple[dict[str, Any], float]], switched: Switches) -> None:
    """Nothing raises, every event is valid, every response that began ends once, and in the end nothing is left to do."""
    wire = connect(SCRIPT, switched)
    events: list[dict[str, Any]] = []
    for message, wait_s in said:
        wire.send_raw(json.dumps(fill_in(message, wire))).wait(wait_s)
        events += wire.take()
    wire.send_raw('{"type":"response.cancel"}').wait(30.0)
    events += wire.take()
    created = [event["response"]["id"] for event in events if event["type"] == "response.created"]
    done = [event["response"]["id"] for event in events if event["type"] == "response.done"]
    assert sorted(created) == sorted(done)
    assert len(set(created)) == len(created)
    for response_id in created:
        assert_whole(response_id, [event for event in events if of_response(event) == response_id])
    assert len({event["event_id"] for event in events}) == len(events)
    assert wire.session.next_deadline() == 3600.0


def of_response(event: dict[str, Any]) -> str | None:
    found: str | None = event.get("response_id") or event.get("response", {}).get("id")
    return found


def assert_whole(response_id: str, events: list[dict[str, Any]]) -> None:
    """Created first, done last, and every item opened before it is filled and closed."""
    assert events[0]["type"] == "response.created", response_id
    assert events[-1]["type"] == "response.done"
    opened_items = set()
    for event in events[1:-1]:
        if event["type"] == "response.output_item.added":
            opened_items.add(event["output_index"])
        else:
            assert event["output_index"] in opened_items
        if event["type"] == "response.output_item.done":
            opened_items.remove(event["output_index"])
    assert not opened_items


def test_the_same_randomness_gives_the_same_session() -> None:
    def run() -> list[tuple[float, dict[str, Any]]]:
        wire = connect(transcription={"model": "gpt-4o-transcribe"}).silence(0.5).hear(caller_ulaw()).silence(3.0)
        return wire.seen

    assert run() == run()


def test_prepared_speech_needs_no_voice_and_keeps_no_audio() -> None:
    session = Session("gpt-realtime", ScriptedThinking(SCRIPT), Behaviour(), random.Random(1), prepared=PreparedSpeech())
    wire = Wire(session)
    wire.perform(session.open(0.0, 0.0))
    outputs = session.receive('{"type":"response.create"}', 0.0)
    assert not any(isinstance(output, StartSpeech) for output in outputs)
    wire.perform(outputs)
    wire.wait(5.0)
    assert "response.output_audio.done" in wire.types()
    wire.send("conversation.item.retrieve", item_id=wire.last_item_id)
    assert "audio" not in wire.one("conversation.item.retrieved")["item"]["content"][0]


def test_deadlines_change_only_with_outputs_when_a_client_speaks() -> None:
    """The shell looks at the clock again only when an input had outputs (see connection.py)."""
    wire = connect()
    for message, _ in [({"type": "input_audio_buffer.append", "audio": AUDIO}, 0)] * 20:
        before = wire.session.next_deadline()
        outputs = wire.session.receive(json.dumps(message), wire.now)
        assert outputs or wire.session.next_deadline() == before
        wire.perform(outputs)


def test_a_session_without_a_first_update_speaks_pcm() -> None:
    wire = opened()
    wire.send("response.create").wait(3.0)
    delta = next(event for event in wire.take() if event["type"] == "response.output_audio.delta")
    assert len(base64.b64decode(delta["delta"])) == 12_000


def test_events_are_plain_json_but_for_audio() -> None:
    session = Session("gpt-realtime", ScriptedThinking(SCRIPT), prepared=PreparedSpeech())
    outputs = session.open(0.0, 0.0) + session.receive('{"type":"response.create"}', 0.0) + session.handle_timer(2.0)
    audio = [
        output.event["delta"] for output in outputs if isinstance(output, SendEvent) and "audio.delta" in output.event["type"]
    ]
    assert audio
    assert all(isinstance(delta, bytes) for delta in audio)
