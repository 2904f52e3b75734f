"""The conformance checklist: what a server of the Realtime protocol has to do, item by item, each with a check that does it.

Checks of the session are dialogues without I/O; checks of the connection go through the real shell over memory streams. Every
server event of either kind is validated by the openai package.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import trio
from attrs import frozen

from tests.realtime_server.peer import KEY, TARGET, hosting
from tests.realtime_server.test_mcp_listing import declared
from tests.realtime_server.wire import ONE_SENTENCE, Wire, caller_ulaw, client_events, connect, opened, server_events
from trio_voice.audio import g711
from trio_voice.realtime_server.client_events import EVENTS, SUPPORTED_TYPES
from trio_voice.realtime_server.script import parse_script
from trio_voice.realtime_server.switches import Switches

Check = Callable[[], Awaitable[None]]
USER_TEXT: dict[str, Any] = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}


@frozen
class Item:
    """One line of the table."""

    number: str
    text: str
    check: Check


CHECKLIST: list[Item] = []


def item(number: str, text: str) -> Callable[[Check], Check]:
    """Enter a check into the list."""

    def enter(check: Check) -> Check:
        CHECKLIST.append(Item(number, text, check))
        return check

    return enter


def answered(wire: Wire, **response: Any) -> list[dict[str, Any]]:
    """Have a response made, let it end, and return its events."""
    wire.take()
    wire.send("response.create", **({"response": response} if response else {})).wait(9.0)
    return wire.take()


def error_of(wire: Wire) -> tuple[str | None, str, str | None]:
    error = wire.error()
    return error["code"], error["message"], error["param"]


# --- 1, 2: the connection ----------------------------------------------------------------------------------------------


@item("1", "every upgrade is accepted; key, model and beta are refused by an error and CLOSE 3000/4000, reason type.code")
async def check_handshake() -> None:
    cases: list[tuple[str, list[tuple[bytes, bytes]], int, str | None]] = [
        (TARGET, [(b"Authorization", b"Bearer wrong")], 3000, "invalid_api_key"),
        (TARGET, [], 3000, None),
        ("/v1/realtime?model=nope", [KEY], 4000, "invalid_model"),
        ("/v1/realtime", [KEY], 4000, "missing_model"),
        (TARGET, [KEY, (b"OpenAI-Beta", b"realtime=v1")], 4000, "beta_api_shape_disabled"),
    ]
    async with hosting(api_key="sk-test") as host:
        for target, headers, close_code, code in cases:
            peer = host.dial()
            assert await peer.open(target, headers)
            event = await peer.receive()
            server_events.validate_python(event)
            assert event is not None
            assert event["error"]["code"] == code
            assert await peer.receive() is None
            assert peer.closed == (close_code, "invalid_request_error" + (f".{code}" if code else ""))


@item("1", "switches: 1013 quota, 1001 expiry, HTTP 500 at the upgrade, 1006 without CLOSE")
async def check_connection_switches() -> None:
    endings = {"no_quota": (True, 1013), "longest_session_s": (5.0, 1001), "close_code": (1006, 1006)}
    for name, (value, close_code) in endings.items():
        async with hosting() as host:
            more = {"close_after_s": 3.0} if name == "close_code" else {}
            host.server.switches = host.server.switches.changed({name: value, **more}, "test")
            peer = await host.connect()
            while await peer.receive() is not None:
                pass
            assert peer.closed is not None
            assert peer.closed[0] == close_code
    async with hosting() as host:
        host.server.switches = host.server.switches.changed({"refuse_upgrades": 1}, "test")
        peer = host.dial()
        assert not await peer.open()
        assert peer.rejected == 500


@item("2", "session.created at once, with the whole object; no conversation.created (a switch)")
async def check_first_event() -> None:
    created = opened().take()
    assert [event["type"] for event in created] == ["session.created"]
    session = created[0]["session"]
    assert session["expires_at"] == 1_700_003_600
    assert session["audio"]["output"] == {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0}
    switched = opened(switches=Switches(conversation_created=True)).types()
    assert switched == ["session.created", "conversation.created"]


# --- 3: session.update -------------------------------------------------------------------------------------------------


@item("3", "session.update is checked first, merged deeply, answered with the whole session, and all or nothing")
async def check_update() -> None:
    wire = connect()
    before = connect().send("session.update", session={"type": "realtime"}).one("session.updated")["session"]
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"instructions": "x"}, "missing_required_parameter"),
        ({"type": "realtime", "instructions": "x", "nope": 1}, "unknown_parameter"),
        (
            {"type": "realtime", "instructions": "x", "audio": {"output": {"format": {"type": "audio/pcm"}}}},
            "missing_required_parameter",
        ),
        ({"type": "realtime", "instructions": "x", "audio": {"output": {"speed": 9}}}, "decimal_above_max_value"),
        ({"type": "realtime", "instructions": "x", "max_output_tokens": 0}, "integer_below_min_value"),
        ({"type": "realtime", "instructions": "x", "modalities": ["audio"]}, "unknown_parameter"),
    ]
    for update, code in mistakes:
        wire.send_raw(json.dumps({"type": "session.update", "session": update}))
        assert error_of(wire)[0] == code
    wire.send("session.update", session={"type": "realtime"})
    assert {**wire.one("session.updated")["session"], "id": ""} == {**before, "id": ""}
    vad = {"type": "server_vad", "create_response": False}
    wire.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": vad}}})
    merged = wire.one("session.updated")["session"]["audio"]["input"]["turn_detection"]
    assert merged == {**before["audio"]["input"]["turn_detection"], "create_response": False}


@item("3", "parallel_tool_calls and reasoning only with gpt-realtime-2*; the voice is locked once it was heard")
async def check_model_and_voice() -> None:
    for model, accepted in (("gpt-realtime", False), ("gpt-realtime-2", True)):
        wire = opened(model=model)
        wire.take()
        wire.send("session.update", session={"type": "realtime", "parallel_tool_calls": False, "reasoning": {"effort": "low"}})
        assert wire.types() == (["session.updated"] if accepted else ["error"])
    wire = connect()
    answered(wire)
    wire.send("session.update", session={"type": "realtime", "audio": {"output": {"voice": "cedar"}}})
    assert error_of(wire) == (
        "cannot_update_voice",
        "Cannot update a conversation's voice if assistant audio is present.",
        None,
    )


# --- 4, 5: hearing -----------------------------------------------------------------------------------------------------


@item("4", "append has no answer; bad base64 is invalid_value of audio; every format has its own milliseconds")
async def check_append() -> None:
    for format_, bytes_per_ms in (
        ({"type": "audio/pcmu"}, 8),
        ({"type": "audio/pcma"}, 8),
        ({"type": "audio/pcm", "rate": 24000}, 48),
    ):
        wire = connect(pcmu=False, format=format_, turn_detection=None)
        wire.append(bytes(99 * bytes_per_ms))
        assert wire.types() == []
        wire.send("input_audio_buffer.commit")
        assert "99.00ms" in error_of(wire)[1]
    wire = connect()
    wire.send_raw('{"type":"input_audio_buffer.append","audio":"*"}')
    code, _, param = error_of(wire)
    assert (code, param) == ("invalid_value", "audio")


@item("5", "server VAD: 32 ms frames on the clock of appended audio; prefix, silence, create and interrupt obeyed")
async def check_vad() -> None:
    wire = connect(turn_detection={"type": "server_vad", "create_response": False, "silence_duration_ms": 320})
    wire.silence(1.0).wait(5.0).hear(caller_ulaw()).wait(5.0).silence(1.0)  # waiting is no audio
    events = wire.take()
    assert [event["type"] for event in events] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    start_ms, end_ms = events[0]["audio_start_ms"], events[1]["audio_end_ms"]
    assert (start_ms + 300) % 32 == end_ms % 32 == 0
    assert 600 <= start_ms <= 1100
    silent_from_ms = 1000 + len(caller_ulaw().rstrip(b"\xff\x7f")) // 8
    assert silent_from_ms + 320 - 64 <= end_ms <= silent_from_ms + 320 + 64


@item("5", "idle timeout on appended audio; semantic_vad, and turn detection off")
async def check_idle() -> None:
    wire = connect(turn_detection={"type": "server_vad", "idle_timeout_ms": 5000})
    answered(wire)
    wire.wait(30.0)
    assert wire.types() == []
    wire.silence(9.0)
    assert wire.types()[0] == "input_audio_buffer.timeout_triggered"
    semantic = connect(turn_detection={"type": "semantic_vad", "eagerness": "high"})
    assert "response.done" in semantic.hear(caller_ulaw()).silence(4.0).types()
    assert connect(turn_detection=None).hear(caller_ulaw()).silence(2.0).types() == []


# --- 6, 7, 8: responses ------------------------------------------------------------------------------------------------


@item("6", "the order of a response's events; conversation.item.done before response.output_item.done; rate limits follow")
async def check_order() -> None:
    wire = connect()
    wire.send("response.create").wait(9.0)
    kinds = [event["type"] for event in wire.take()]
    folded = [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]]
    assert folded == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]


@item("6", "every event begins with type and event_id, then its ids; text deltas are padded to 16 characters (a switch)")
async def check_event_shape() -> None:
    first = ["response_id", "item_id", "output_index", "content_index"]
    for event in answered(connect()):
        keys = list(event)
        assert keys[:2] == ["type", "event_id"]
        ids = [key for key in keys if key in first]
        assert keys[2 : 2 + len(ids)] == ids == [key for key in first if key in ids]
        if event["type"].endswith("transcript.delta"):
            assert len(event["delta"] + event["obfuscation"]) >= 16
    assert not any("obfuscation" in event for event in answered(connect(switches=Switches(obfuscation=False))))


@item("7", "deltas of 250 ms at 12 times real time after 310/430 ms; length a multiple of 50 ms; burst, real time, +85 ms")
async def check_audio() -> None:
    wire = connect()
    wire.send("response.create").wait(9.0)
    audio = [(at, len(base64.b64decode(e["delta"])) // 8) for at, e in wire.seen if e["type"] == "response.output_audio.delta"]
    assert audio[0] == (0.43, 250)
    assert {round(later[0] - earlier[0], 6) for earlier, later in pairwise(audio)} == {round(0.25 / 12, 6)}
    assert sum(duration_ms for _, duration_ms in audio) % 50 == 0
    for pace, between_s in ((0, 0.0), (1, 0.25)):
        wire = connect(switches=Switches(pace=pace))
        wire.send("response.create").wait(20.0)
        times = [at for at, event in wire.seen if event["type"] == "response.output_audio.delta"]
        assert round(times[1] - times[0], 6) == between_s
    events = answered(opened(ONE_SENTENCE, Switches(surplus_pcm_ms=85)))
    received_ms = sum(len(base64.b64decode(e["delta"])) for e in events if e["type"] == "response.output_audio.delta") // 48
    assert received_ms % 50 == 35


@item("8", "the transcript runs ahead in word pieces; the caller's transcript comes when it comes")
async def check_transcripts() -> None:
    events = answered(connect())
    kinds = [event["type"] for event in events]
    assert kinds[: kinds.index("response.output_audio.delta")].count("response.output_audio_transcript.delta") == 4
    text = "".join(e["delta"] for e in events if e["type"] == "response.output_audio_transcript.delta")
    assert text == ONE_SENTENCE.rule[0].say
    places = set()
    for least_ms in (10, 450, 3000):
        switches = Switches(transcription_least_ms=least_ms, transcription_most_ms=least_ms)
        wire = connect(switches=switches, transcription={"model": "whisper-1"})
        kinds = wire.hear(caller_ulaw()).silence(5.0).types(folded=False)
        completed = kinds.index("conversation.item.input_audio_transcription.completed")
        places.add((completed < kinds.index("response.output_item.added"), completed < kinds.index("response.done")))
    assert places == {(True, True), (False, True), (False, False)}


@item("9", "response.create while one is active: the error and nothing else; by VAD with event_id null (or deferred)")
async def check_active() -> None:
    wire = connect()
    wire.send("response.create").take()
    wire.send("response.create", event_id="e1")
    error = wire.error()
    assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "e1")
    for reply, expected in (("refuse", ["error"]), ("defer", [])):
        switches = Switches(pace=1, tail_silence_ms=9000).changed({"reply_while_active": reply}, "test")
        wire = connect(switches=switches, turn_detection={"type": "server_vad", "interrupt_response": False})
        wire.send("response.create").hear(caller_ulaw()).silence(1.0)
        errors = [event for event in wire.take() if event["type"] == "error"]
        assert [event["type"] for event in errors] == expected
        assert all(event["error"]["event_id"] is None for event in errors)


@item("10", "response.cancel: not active; otherwise stragglers, .done events, incomplete, cancelled; late done as a switch")
async def check_cancel() -> None:
    wire = connect()
    wire.send("response.cancel", event_id="c")
    assert error_of(wire)[0] == "response_cancel_not_active"
    wire = connect(switches=Switches(pace=1, stragglers=2))
    wire.send("response.create").wait(0.6).take()
    wire.send("response.cancel").wait(1.0)
    events = wire.take()
    assert [event["type"] for event in events][:2] == ["response.output_audio.delta"] * 2
    (done,) = [event["response"] for event in events if event["type"] == "response.done"]
    assert (done["status_details"]["reason"], done["output"][0]["status"]) == ("client_cancelled", "incomplete")
    wire = connect(switches=Switches(pace=1, late_done=True))
    wire.send("response.create").wait(0.6).send("response.cancel").wait(1.0).take()
    wire.send("response.create")
    assert wire.types() == ["response.created", "response.done"]


@item("11", "barge-in with interrupt_response: the same, turn_detected, at once; only if a response is active")
async def check_barge_in() -> None:
    wire = connect(switches=Switches(pace=1)).silence(0.5)
    wire.send("response.create").wait(0.6).take()
    wire.hear(caller_ulaw())
    started = next(at for at, event in wire.seen if event["type"] == "input_audio_buffer.speech_started")
    (at, done) = next((at, event) for at, event in wire.seen if event["type"] == "response.done")
    assert (at, done["response"]["status_details"]["reason"]) == (started, "turn_detected")
    wire = connect().silence(0.5)
    assert wire.hear(caller_ulaw()[:8000]).types() == ["input_audio_buffer.speech_started"]


# --- 12 to 16: items and errors ----------------------------------------------------------------------------------------


@item("12", "truncate checks item, then audio, then length; cuts, drops the transcript; negative is below minimum")
async def check_truncate() -> None:
    wire = connect()
    wire.send("conversation.item.create", item={**USER_TEXT, "id": "user"})
    events = answered(wire)
    spoken = next(event["item"]["id"] for event in events if event["type"] == "response.output_item.done")

    def truncated(item_id: str, audio_end_ms: int) -> Wire:
        return wire.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=audio_end_ms)

    assert error_of(truncated("none", 10**9))[0] == "item_truncate_invalid_item_id"
    assert error_of(truncated("user", 10**9))[0] == "unsupported_content_type"
    code, text, _ = error_of(truncated(spoken, 10**9))
    assert code == "invalid_value"
    assert text.endswith("ms is already shorter than 1000000000ms")
    assert error_of(truncated(spoken, -1))[0] == "integer_below_min_value"
    assert truncated(spoken, 50).types() == ["conversation.item.truncated"]
    wire.send("conversation.item.retrieve", item_id=spoken)
    assert wire.one("conversation.item.retrieved")["item"]["content"][0]["transcript"] is None


@item("13", "commit of less than 100 ms: commit_empty; clear: cleared")
async def check_commit() -> None:
    wire = connect(turn_detection=None)
    wire.send("input_audio_buffer.commit")
    assert error_of(wire)[0] == "input_audio_buffer_commit_empty"
    wire.append(g711.ulaw_silence(100)).send("input_audio_buffer.clear")
    assert wire.types() == ["input_audio_buffer.cleared"]


@item("14", "items: ids, previous_item_id, call_id; retrieve and delete, and their errors")
async def check_items() -> None:
    wire = connect()
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("conversation.item.create", {"item": {**USER_TEXT, "id": "x" * 33}}, "string_above_max_length"),
        ("conversation.item.create", {"item": USER_TEXT, "previous_item_id": "none"}, "item_create_invalid_previous_item_id"),
        (
            "conversation.item.create",
            {"item": {"type": "function_call_output", "call_id": "none", "output": ""}},
            "invalid_tool_call_id",
        ),
        ("conversation.item.retrieve", {"item_id": "none"}, "item_retrieve_invalid_item_id"),
        ("conversation.item.delete", {"item_id": "none"}, "item_delete_invalid_item_id"),
    ]
    for kind, fields, code in wrong:
        assert error_of(wire.send(kind, **fields))[0] == code
    wire.send("conversation.item.create", item={**USER_TEXT, "id": "mine"})
    wire.send("conversation.item.retrieve", item_id="mine").send("conversation.item.delete", item_id="mine")
    assert wire.types() == [
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.retrieved",
        "conversation.item.deleted",
    ]


@item("15", "out of band: no conversation.* events, conversation_id null, metadata echoed")
async def check_out_of_band() -> None:
    events = answered(connect(), conversation="none", metadata={"k": "v"})
    assert not any(event["type"].startswith("conversation.") for event in events)
    for response in (event["response"] for event in events if "response" in event):
        assert (response["conversation_id"], response["metadata"]) == (None, {"k": "v"})


@item("16", "unknown type, bad JSON, binary, no type: non-fatal errors that echo the client's event_id")
async def check_wrong_messages() -> None:
    wire = connect()
    wrong: list[tuple[str | bytes, str, str | None]] = [
        ('{"type":"nope","event_id":"e"}', "invalid_value", "e"),
        ("{nope", "invalid_json", None),
        (b"\x00", "invalid_event", None),
        ('{"event_id":"e"}', "invalid_event", "e"),
        ('{"type":"response.create","event_id":"e","nope":1}', "unknown_parameter", "e"),
    ]
    for message, code, event_id in wrong:
        error = wire.send_raw(message).error()
        assert (error["code"], error["event_id"]) == (code, event_id)
    assert answered(wire)[-1]["type"] == "rate_limits.updated"  # nothing else was lost


@item("17", "failed and incomplete responses, by script or by max_output_tokens")
async def check_failed() -> None:
    for code in ("rate_limit_exceeded", "insufficient_quota"):
        wire = connect(switches=Switches(fail_responses=1).changed({"fail_code": code}, "test"))
        done = answered(wire)[1]["response"]
        assert (done["status"], done["status_details"]["error"]["code"]) == ("failed", code)
        assert (done["output"], done["usage"]["total_tokens"]) == ([], 0)
    script = parse_script("[[rule]]\nends = { status = 'failed', type = 'server_error', message = 'Sorry.' }", "test")
    done = answered(connect(script))[1]["response"]
    assert done["status_details"]["error"] == {"type": "server_error", "code": None, "message": "Sorry."}
    (done,) = [e["response"] for e in answered(connect(), max_output_tokens=20) if e["type"] == "response.done"]
    assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}


@item("18", "a PING of four bytes every 20 s; close 1000 is echoed as 1000")
async def check_manners() -> None:
    async with hosting() as host:
        peer = await host.connect()
        started = trio.current_time()
        with trio.move_on_after(45):
            while True:
                await peer.receive()
        assert [(at - started, len(payload)) for at, payload in peer.pings] == [(20.0, 4), (40.0, 4)]
        await peer.close(1000, "")
        while await peer.receive() is not None:
            pass
        assert peer.closed is not None
        assert peer.closed[0] == 1000


@item("19", "every event that is sent, and every client event that is accepted, passes the openai package's types")
async def check_types() -> None:
    assert set(SUPPORTED_TYPES) > set(EVENTS)
    seen = set()
    for wire in (declared(), connect(transcription={"model": "whisper-1"}).hear(caller_ulaw()).silence(4.0)):
        seen |= {event["type"] for event in wire.take()}  # validated on their way
    assert len(seen) > 20
    for kind in ("input_audio_buffer.commit", "input_audio_buffer.clear", "response.create", "response.cancel"):
        client_events.validate_python({"type": kind})


@item("+", "function calls: arguments in deltas, the output answered; one response for several outputs")
async def check_functions() -> None:
    script = parse_script(
        "[[rule]]\nwhen = { about = 'text' }\nparts = [{ call = 'f' }, { call = 'g' }]\n[[rule]]\nsay = '{output}'", "test"
    )
    wire = connect(script)
    tools = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in "fg"]
    wire.send("session.update", session={"type": "realtime", "tools": tools})
    wire.send("conversation.item.create", item=USER_TEXT)
    calls = [e for e in answered(wire) if e["type"] == "response.function_call_arguments.done"]
    assert [call["name"] for call in calls] == ["f", "g"]
    for call in calls:
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": call["name"]}
        wire.send("conversation.item.create", item=output)
    (done,) = [e["response"] for e in answered(wire) if e["type"] == "response.done"]
    assert done["output"][0]["content"][0]["transcript"] == "g"


@item("+", "forced tools: tool_choice required, or of one function, calls it with arguments that fit its schema")
async def check_tool_choice() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tools = [{"type": "function", "name": "f", "parameters": schema}, {"type": "function", "name": "g"}]
    for choice, name, arguments in (("required", "f", {"n": 1}), ({"type": "function", "name": "g"}, "g", "some g")):
        events = answered(connect(), tools=tools, tool_choice=choice)
        (call,) = [e for e in events if e["type"] == "response.function_call_arguments.done"]
        assert (call["name"], json.loads(call["arguments"])) == (name, arguments)


@item("+", "MCP: tools are listed, calls are made or asked for")
async def check_mcp() -> None:
    assert "mcp_list_tools.completed" in declared().types()


@item("+", "a transcription session hears, transcribes, and never answers")
async def check_transcription_session() -> None:
    wire = opened(model="")
    session = wire.take()[0]["session"]
    assert "output_modalities" not in session
    update = {
        "type": "transcription",
        "audio": {"input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "whisper-1"}}},
    }
    wire.send("session.update", session=update).hear(caller_ulaw()).silence(3.0)
    kinds = wire.types()
    assert kinds[-1] == "conversation.item.input_audio_transcription.completed"
    assert not any(kind.startswith("response.") for kind in kinds)
