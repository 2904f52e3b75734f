"""The protocol's sequences, as golden dialogues: every event of each, in order (repeated deltas folded)."""

from __future__ import annotations

import base64

from tests.realtime_server.wire import Wire, caller_ulaw, connect, opened
from trio_voice.audio import g711
from trio_voice.realtime_server.events import CloseConnection, StopSpeech
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.switches import Switches

COMMITTED = ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
MESSAGE_BEGINS = ["response.output_item.added", "conversation.item.added", "response.content_part.added"]
DELTAS = ["response.output_audio_transcript.delta", "response.output_audio.delta"]
MESSAGE_ENDS = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
]
SPOKEN_RESPONSE = ["response.created", *MESSAGE_BEGINS, *DELTAS, *MESSAGE_ENDS, "response.done"]
USER_TEXT = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}

TOOLS = [{"type": "function", "name": "book", "description": "Book a table.", "parameters": {"type": "object"}}]
BOOKING = parse_script(
    """
    [[rule]]
    when = { about = "text" }
    parts = [{ say = "One moment please.", phase = "commentary" }, { call = "book", arguments = { name = "{text}" } }]
    [[rule]]
    when = { about = "function_output" }
    say = "It is {output}."
    """,
    "test",
)


def answered(wire: Wire) -> Wire:
    """Have one response made and let it end."""
    wire.send("response.create").wait(3.0)
    return wire


def test_chart_a_connect_and_configure() -> None:
    wire = opened()
    (created,) = wire.take()
    assert created["type"] == "session.created"
    assert list(created) == ["type", "event_id", "session"]
    wire.send("session.update", session={"type": "realtime", "instructions": "Be kind."})
    updated = wire.one("session.updated")["session"]
    assert updated == {**created["session"], "instructions": "Be kind."}


def test_chart_a_a_rejected_update_changes_nothing() -> None:
    wire = connect()
    wire.send_raw('{"type":"session.update","session":{"type":"realtime","instructions":"Rude.","bogus_field":1}}')
    assert wire.error()["code"] == "unknown_parameter"
    wire.send("session.update", session={"type": "realtime"})
    assert "Rude" not in wire.one("session.updated")["session"]["instructions"]


def test_chart_b_a_turn_by_server_vad() -> None:
    wire = connect(transcription={"model": "whisper-1"}).silence(1.0).hear(caller_ulaw()).silence(4.0)
    events = wire.take()
    kinds = [event["type"] for event in events]
    transcription = [kind for kind in kinds if "input_audio_transcription" in kind]
    assert transcription == [
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
    ]
    folded = [kind for index, kind in enumerate(kinds) if not (kind.endswith(".delta") and kind in kinds[:index])]
    assert [kind for kind in folded if kind not in transcription] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        *COMMITTED,
        *SPOKEN_RESPONSE,
        "rate_limits.updated",
    ]
    by_type = {event["type"]: event for event in events}
    started, stopped = by_type["input_audio_buffer.speech_started"], by_type["input_audio_buffer.speech_stopped"]
    assert (started["audio_start_ms"] + 300) % 32 == 0
    assert stopped["audio_end_ms"] % 32 == 0
    assert started["item_id"] == stopped["item_id"] == by_type["input_audio_buffer.committed"]["item_id"]
    first_item = events[kinds.index("conversation.item.added")]
    assert first_item["previous_item_id"] is None
    assert first_item["item"]["content"] == [{"type": "input_audio", "transcript": None}]


def test_chart_b_order_in_time() -> None:
    """The transcript runs ahead of the audio, 310 and 430 ms after response.created; rate limits follow 35 ms after done."""
    wire = connect()
    wire.send("response.create").wait(3.0)
    first = {event["type"]: at for at, event in reversed(wire.seen)}
    assert first["response.created"] == 0.0
    assert first["response.output_audio_transcript.delta"] == 0.31
    assert first["response.output_audio.delta"] == 0.43
    assert round(first["rate_limits.updated"] - first["response.done"], 6) == 0.035
    kinds = [event["type"] for event in wire.take()]
    before_audio = kinds[: kinds.index("response.output_audio.delta")]
    assert before_audio.count("response.output_audio_transcript.delta") == 4


def test_chart_c_a_manual_turn() -> None:
    wire = connect(turn_detection=None)
    wire.hear(caller_ulaw())
    assert wire.types() == []
    wire.send("input_audio_buffer.commit").wait(1.0)
    assert wire.types() == COMMITTED  # a commit alone never makes a response
    assert answered(wire).types() == SPOKEN_RESPONSE


def test_chart_c_a_text_turn() -> None:
    wire = connect()
    wire.send("conversation.item.create", item=USER_TEXT)
    wire.send("response.create", response={"output_modalities": ["text"]}).wait(3.0)
    assert wire.types() == [
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        *MESSAGE_BEGINS,
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]


def test_chart_d_barge_in_while_the_response_is_made() -> None:
    wire = connect(switches=Switches(pace=1.0)).silence(1.0)
    wire.send("response.create").wait(0.6)
    wire.types()
    item_id = wire.last_item_id
    wire.hear(caller_ulaw())
    events = [event for event in wire.take() if not event["type"].endswith(".delta")]
    assert [event["type"] for event in events] == [
        "input_audio_buffer.speech_started",
        *MESSAGE_ENDS,
        "response.done",
        "rate_limits.updated",
    ]
    done = events[-2]["response"]
    assert done["status"] == "cancelled"
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["output"][0]["status"] == "incomplete"
    wire.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=250)
    assert wire.one("conversation.item.truncated")["audio_end_ms"] == 250
    wire.silence(3.0)
    assert wire.types()[:5] == ["input_audio_buffer.speech_stopped", *COMMITTED, "response.created"]


def test_chart_d_barge_in_when_the_response_is_done() -> None:
    wire = answered(connect().silence(1.0))
    wire.take()
    wire.hear(caller_ulaw()[:8000])
    assert wire.types() == ["input_audio_buffer.speech_started"]


def test_chart_e_barge_in_that_does_not_interrupt() -> None:
    vad = {"type": "server_vad", "interrupt_response": False}
    wire = connect(switches=Switches(pace=1.0, tail_silence_ms=6000), turn_detection=vad).silence(1.0)
    wire.send("response.create").wait(0.6)
    wire.types()
    wire.hear(caller_ulaw()).silence(1.0)
    turn = [event for event in wire.take() if not event["type"].endswith(".delta")]
    assert [event["type"] for event in turn] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        *COMMITTED,
        "error",
    ]
    assert turn[-1]["error"]["code"] == "conversation_already_has_active_response"
    assert turn[-1]["error"]["event_id"] is None
    wire.wait(15.0)
    assert wire.one("response.done")["response"]["status"] == "completed"  # and no other for the refused reply


def test_chart_e_the_reply_can_be_deferred() -> None:
    vad = {"type": "server_vad", "interrupt_response": False}
    switches = Switches(pace=1.0, tail_silence_ms=6000, reply_while_active="defer")
    wire = connect(switches=switches, turn_detection=vad).silence(1.0)
    wire.send("response.create").wait(0.6).hear(caller_ulaw()).silence(1.0)
    wire.take()
    wire.wait(15.0)
    kinds = [kind for kind in wire.types() if kind in ("response.created", "response.done", "error")]
    assert kinds == ["response.done", "response.created", "response.done"]


def test_chart_f_cancel() -> None:
    wire = connect(switches=Switches(pace=1.0, cancel_ms=125))
    wire.send("response.create").wait(0.5)
    response_id = wire.last_response_id
    wire.take()
    wire.send("response.cancel", event_id="c1", response_id=response_id).wait(0.125 - 2**-10)
    assert wire.types() == []
    wire.wait(2**-10)
    events = wire.take()
    assert [event["type"] for event in events] == [*MESSAGE_ENDS, "response.done"]
    assert events[-1]["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert any(isinstance(output, StopSpeech) for output in wire.others) is False  # the voice had spoken everything already


def test_chart_f_nothing_to_cancel() -> None:
    wire = connect()
    wire.send("response.cancel", event_id="c1")
    assert wire.error() == {
        "type": "invalid_request_error",
        "code": "response_cancel_not_active",
        "message": "Cancellation failed: no active response found",
        "param": None,
        "event_id": "c1",
    }
    wire.send("response.create").wait(0.6).send("response.cancel")
    wire.take()
    wire.send("response.cancel")  # a second one of the same
    assert wire.error()["code"] == "response_cancel_not_active"
    wire.wait(1.0).take()
    wire.send("response.create").wait(0.6)
    wire.take()
    wire.send("response.cancel", response_id="resp_other")
    assert wire.error()["code"] == "response_cancel_not_active"
    assert wire.wait(3.0).one("response.done")["response"]["status"] == "completed"


def test_chart_g_create_while_one_is_active() -> None:
    wire = connect()
    wire.send("response.create").wait(0.1)
    response_id = wire.last_response_id
    wire.take()
    wire.send("response.create", event_id="e1")
    error = wire.error()
    assert error["code"] == "conversation_already_has_active_response"
    assert error["message"] == (
        f"Conversation already has an active response in progress: {response_id}. "
        "Wait until the response is finished before creating a new one."
    )
    assert error["event_id"] == "e1"
    done = wire.wait(3.0).one("response.done")["response"]
    assert (done["id"], done["status"]) == (response_id, "completed")


def test_chart_h_truncate() -> None:
    wire = answered(connect())
    item_id = wire.last_item_id
    audio_ms = sum(len(base64.b64decode(e["delta"])) for e in wire.take() if e["type"] == "response.output_audio.delta") // 8
    assert audio_ms % 50 == 0
    wire.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=audio_ms + 1)
    error = wire.error()
    assert (error["code"], error["message"]) == (
        "invalid_value",
        f"Audio content of {audio_ms}ms is already shorter than {audio_ms + 1}ms",
    )
    wire.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=audio_ms)
    assert wire.types() == ["conversation.item.truncated"]
    wire.send("conversation.item.retrieve", item_id=item_id)
    assert wire.one("conversation.item.retrieved")["item"]["content"][0]["transcript"] is None  # no text of it is kept


def test_chart_h_truncate_what_is_still_being_spoken() -> None:
    wire = connect().send("response.create").wait(0.6)
    assert "response.output_audio.delta" in wire.types()
    wire.send("conversation.item.truncate", item_id=wire.last_item_id, content_index=0, audio_end_ms=50)
    assert wire.one("conversation.item.truncated")["audio_end_ms"] == 50
    wire.wait(5).take()
    wire.send("conversation.item.retrieve", item_id=wire.last_item_id)
    assert wire.one("conversation.item.retrieved")["item"]["content"][0]["transcript"] is None


def test_chart_h_what_cannot_be_truncated() -> None:
    wire = connect()
    wire.send("conversation.item.truncate", item_id="item_x", content_index=0, audio_end_ms=0)
    error = wire.error()
    assert error["code"] == "item_truncate_invalid_item_id"
    assert error["message"] == "Error truncating item: the item with id 'item_x' does not exist."
    wire.send("conversation.item.create", item={**USER_TEXT, "id": "mine"}).take()
    wire.send("conversation.item.truncate", item_id="mine", content_index=0, audio_end_ms=0)
    error = wire.error()
    assert (error["code"], error["message"]) == (
        "unsupported_content_type",
        "Only model output audio messages can be truncated",
    )
    wire.send("response.create").wait(0.35)  # announced, and no audio yet
    wire.take()
    wire.send("conversation.item.truncate", item_id=wire.last_item_id, content_index=0, audio_end_ms=0)
    assert wire.error()["code"] == "unsupported_content_type"
    wire.send("conversation.item.delete", item_id=wire.last_item_id)
    assert wire.types() == ["conversation.item.deleted"]


def test_chart_i_commit_and_clear() -> None:
    wire = connect(turn_detection=None)
    wire.send("input_audio_buffer.commit")
    error = wire.error()
    assert error["code"] == "input_audio_buffer_commit_empty"
    assert error["message"] == (
        "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
        "but buffer only has 0.00ms of audio."
    )
    wire.append(bytes(799)).send("input_audio_buffer.commit")
    assert "99.88ms" in wire.error()["message"]
    wire.send("input_audio_buffer.clear")
    assert wire.types() == ["input_audio_buffer.cleared"]
    wire.append(bytes(800)).send("input_audio_buffer.commit")
    assert wire.types() == COMMITTED


def test_chart_i_clear_drops_a_turn_without_a_word() -> None:
    wire = connect().silence(1.0).hear(caller_ulaw()[:8000])
    assert wire.types() == ["input_audio_buffer.speech_started"]
    wire.send("input_audio_buffer.clear").silence(2.0)
    assert wire.types() == ["input_audio_buffer.cleared"]


def test_chart_j_items() -> None:
    wire = connect()
    wire.send("conversation.item.create", item={**USER_TEXT, "id": "one"})
    wire.send("conversation.item.create", item={**USER_TEXT, "id": "two"})
    wire.send("conversation.item.create", item={**USER_TEXT, "id": "zero"}, previous_item_id="root")
    wire.send("conversation.item.create", item={**USER_TEXT, "id": "half"}, previous_item_id="zero")
    added = [(e["item"]["id"], e["previous_item_id"]) for e in wire.take() if e["type"] == "conversation.item.added"]
    assert added == [("one", None), ("two", "one"), ("zero", None), ("half", "zero")]
    for kind, message in {
        "retrieve": "Error retrieving item: the item with id 'nine' does not exist.",
        "delete": "Error deleting item: the item with id 'nine' does not exist.",
    }.items():
        wire.send(f"conversation.item.{kind}", item_id="nine")
        error = wire.error()
        assert (error["code"], error["message"]) == (f"item_{kind}_invalid_item_id", message)
    wire.send("conversation.item.create", item=USER_TEXT, previous_item_id="nine")
    error = wire.error()
    assert error["code"] == "item_create_invalid_previous_item_id"
    assert error["message"] == "Error adding item: the previous item with id 'nine' does not exist."
    wire.send("conversation.item.create", item={**USER_TEXT, "id": "one"})  # accepted, and it names itself
    assert [event["previous_item_id"] for event in wire.take()] == ["one", "one"]
    wire.send("conversation.item.delete", item_id="half").send("conversation.item.retrieve", item_id="half")
    assert wire.types() == ["conversation.item.deleted", "error"]


def test_chart_k_a_function_call() -> None:
    wire = connect(BOOKING)
    wire.send("session.update", session={"type": "realtime", "tools": TOOLS}).take()
    wire.send("conversation.item.create", item=USER_TEXT).take()
    answered(wire)
    events = wire.take()
    kinds = [event["type"] for event in events if event["type"] != "rate_limits.updated"]
    folded = [kind for index, kind in enumerate(kinds) if not (kind.endswith(".delta") and kind in kinds[:index])]
    assert folded == [
        "response.created",
        *MESSAGE_BEGINS,
        *DELTAS,
        "response.output_item.added",  # the call is added before the message is done
        "conversation.item.added",
        *MESSAGE_ENDS,
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    (arguments,) = [event for event in events if event["type"] == "response.function_call_arguments.done"]
    assert (arguments["name"], arguments["arguments"]) == ("book", '{"name": "Hello"}')
    (done,) = [event["response"] for event in events if event["type"] == "response.done"]
    assert [item["type"] for item in done["output"]] == ["message", "function_call"]
    assert [item.get("phase") for item in done["output"]] == ["commentary", None]
    output = {"type": "function_call_output", "call_id": arguments["call_id"], "output": "done"}
    wire.send("conversation.item.create", item=output)
    added = wire.take()[0]["item"]
    assert list(added) == ["id", "type", "call_id", "output"]  # no status
    answered(wire)
    assert [e["transcript"] for e in wire.take() if e["type"] == "response.output_audio_transcript.done"] == ["It is done."]


def test_chart_k_an_output_for_an_unknown_call() -> None:
    wire = connect(BOOKING)
    item = {"type": "function_call_output", "call_id": "call_X", "output": "{}"}
    wire.send("conversation.item.create", item=item, event_id="o1")
    error = wire.error()
    assert (error["code"], error["event_id"]) == ("invalid_tool_call_id", "o1")
    assert error["message"] == "Tool call ID 'call_X' not found in conversation."


def test_chart_l_out_of_band() -> None:
    wire = connect()
    wire.send("response.create").wait(0.1)
    wire.take()
    out_of_band = {
        "conversation": "none",
        "metadata": {"purpose": "summary"},
        "output_modalities": ["text"],
        "input": [USER_TEXT],
    }
    wire.send("response.create", response=out_of_band)
    created = wire.one("response.created")["response"]
    assert (created["conversation_id"], created["metadata"]) == (None, {"purpose": "summary"})
    wire.wait(3.0)
    events = wire.take()
    mine = [e for e in events if e.get("response_id") == created["id"] or e.get("response", {}).get("id") == created["id"]]
    assert mine[-1]["response"]["metadata"] == {"purpose": "summary"}
    assert sum(e["type"] == "conversation.item.added" for e in events) == 1  # the default response's
    item_id = mine[0]["item"]["id"]
    wire.send("conversation.item.retrieve", item_id=item_id)
    assert wire.error()["code"] == "item_retrieve_invalid_item_id"


def test_chart_m_idle_timeout_counts_appended_audio() -> None:
    wire = connect(turn_detection={"type": "server_vad", "idle_timeout_ms": 5000})
    answered(wire)
    audio_ms = sum(len(base64.b64decode(e["delta"])) for e in wire.take() if e["type"] == "response.output_audio.delta") // 8
    wire.wait(60.0)
    assert wire.types() == []  # no audio is appended: the clock stands still
    wire.hear(g711.ulaw_silence(audio_ms + 4980))
    assert wire.types() == []
    wire.hear(g711.ulaw_silence(20)).wait(5.0)
    events = wire.take()
    assert [event["type"] for event in events][:7] == [
        "input_audio_buffer.timeout_triggered",
        "conversation.item.added",
        "conversation.item.done",
        *COMMITTED,
        "response.created",
    ]
    timeout = events[0]
    assert timeout["audio_start_ms"] == audio_ms // 32 * 32
    assert timeout["audio_end_ms"] == (audio_ms + 5000) // 32 * 32
    assert events[1]["item"]["role"] == "system"
    assert events[3]["item_id"] == timeout["item_id"]


def test_chart_n_transcription_never_disturbs_the_response() -> None:
    heard = '[[rule]]\nsay = "Yes."\n[[heard]]\nturn = 1\nfails = true'
    wire = connect(parse_script(heard, "test"), transcription={"model": "gpt-4o-transcribe"})
    wire.silence(1.0).hear(caller_ulaw()).silence(3.0)
    events = wire.take()
    (failed,) = [event for event in events if event["type"].endswith("transcription.failed")]
    assert failed["error"]["type"] == "server_error"
    assert [event["response"]["status"] for event in events if event["type"] == "response.done"] == ["completed"]


def test_chart_o_limits() -> None:
    wire = connect(switches=Switches(fail_responses=1))
    wire.send("response.create").wait(1.0)
    created, done = [event["response"] for event in wire.take() if event["type"].startswith("response.")]
    assert created["status"] == "in_progress"
    assert done["status"] == "failed"
    assert done["status_details"]["error"]["code"] == "rate_limit_exceeded"
    assert (done["output"], done["usage"]["total_tokens"]) == ([], 0)
    wire.send("response.create", response={"max_output_tokens": 20}).wait(3.0)
    done = wire.one("response.done")["response"]
    assert (done["status"], done["status_details"]) == ("incomplete", {"type": "incomplete", "reason": "max_output_tokens"})
    assert done["output"][0]["status"] == "incomplete"
    assert done["usage"]["output_tokens"] <= 20


def test_chart_p_session_end() -> None:
    wire = connect().wait(3599.999)
    assert wire.types() == []
    wire.wait(0.001)
    assert wire.error()["code"] == "session_expired"
    assert wire.others == [CloseConnection(1001, "Your session hit the maximum duration of 60 minutes.")]


def test_chart_q_voice_lock() -> None:
    wire = connect()
    change = {"type": "realtime", "instructions": "New.", "audio": {"output": {"voice": "cedar"}}}
    wire.send("session.update", session=change)
    assert wire.one("session.updated")["session"]["audio"]["output"]["voice"] == "cedar"
    answered(wire).take()
    change["instructions"] = "Newer."
    wire.send("session.update", session=change)  # the same voice again is no change
    assert wire.types() == ["session.updated"]
    change["audio"] = {"output": {"voice": "marin"}}
    change["instructions"] = "Newest."
    wire.send("session.update", session=change)
    error = wire.error()
    assert error["code"] == "cannot_update_voice"
    assert error["message"] == "Cannot update a conversation's voice if assistant audio is present."
    wire.send("session.update", session={"type": "realtime"})
    assert wire.one("session.updated")["session"]["instructions"] == "Newer."  # the whole update was lost
