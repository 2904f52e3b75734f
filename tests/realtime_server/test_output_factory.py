from __future__ import annotations

import random
from typing import Any

from trio_voice.realtime_server.answers import Answer, AskApproval, CallFunction, CallMcp, Say
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.events import EventSink
from trio_voice.realtime_server.identifiers import Identifiers
from trio_voice.realtime_server.output_factory import OutputFactory
from trio_voice.realtime_server.output_items import ApprovalRequest, FunctionCall, McpCall, Message, SpokenMessage
from trio_voice.realtime_server.prepared_speech import PreparedSpeech
from trio_voice.realtime_server.response_request import resolve
from trio_voice.realtime_server.session_object import new_realtime_session
from trio_voice.realtime_server.switches import Switches

PARTS = (
    Say("Hello."),
    CallFunction("f", "{}"),
    CallMcp("m", "g", "{}", "out", None, "item_1"),
    AskApproval("m", "g", "{}"),
)


def factory(model: str = "gpt-realtime-2.1", prepared: PreparedSpeech | None = None, **response: Any) -> OutputFactory:
    request = resolve(new_realtime_session(model, "sess_1", 0), response, assistant_audio_seen=False)
    sink = EventSink(Identifiers(random.Random(1)), Behaviour())
    return OutputFactory("resp_1", request, sink, None, Switches(), prepared)


def test_each_part_becomes_its_item() -> None:
    outs = factory().make(Answer(PARTS))
    assert [type(out) for out in outs] == [SpokenMessage, FunctionCall, McpCall, ApprovalRequest]
    assert [out.index for out in outs] == [0, 1, 2, 3]
    assert outs[0].item.body["phase"] == "final_answer"
    assert outs[1].item.body["call_id"].startswith("call_")
    assert outs[2].item.body["approval_request_id"] == "item_1"
    assert len({out.item.id for out in outs}) == 4


def test_messages_are_written_when_text_is_asked_for() -> None:
    (out,) = factory("gpt-realtime", output_modalities=["text"]).make(Answer(PARTS[:1]))
    assert type(out) is Message
    assert "phase" not in out.item.body


def test_prepared_speech_is_there_at_once_and_not_kept() -> None:
    (out,) = factory(prepared=PreparedSpeech()).make(Answer(PARTS[:1]))
    assert isinstance(out, SpokenMessage)
    assert (out.speech.ended, out.keeps_audio) == (True, False)
