"""From an answer to the output items of a response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define

from trio_voice.realtime_server.answers import Answer, AskApproval, CallFunction, CallMcp, Part, Say
from trio_voice.realtime_server.conversation import Conversation, Item
from trio_voice.realtime_server.events import EventSink
from trio_voice.realtime_server.output_items import (
    ApprovalRequest,
    FunctionCall,
    McpCall,
    Message,
    OutputItem,
    SpokenMessage,
)
from trio_voice.realtime_server.response_request import ResponseRequest
from trio_voice.realtime_server.speech_stream import SpeechStream
from trio_voice.realtime_server.switches import Switches

if TYPE_CHECKING:
    from trio_voice.realtime_server.prepared_speech import PreparedSpeech


@define
class OutputFactory:
    """Makes the items of one response."""

    response_id: str
    request: ResponseRequest
    sink: EventSink
    conversation: Conversation | None
    switches: Switches
    prepared: PreparedSpeech | None
    """Audio that is there already, instead of a voice's (load tests)."""

    def make(self, answer: Answer) -> list[OutputItem]:
        """Return the items in order."""
        return [self._item(index, part) for index, part in enumerate(answer.parts)]

    def _item(self, index: int, part: Part) -> OutputItem:
        match part:
            case Say(text, phase):
                return self._message(index, text, phase)
            case CallFunction(name, arguments):
                body = {"type": "function_call", "status": "in_progress", "name": name}
                body |= {"call_id": self.sink.ids.new("call"), "arguments": ""}
                return FunctionCall(*self._common(index, body), arguments)
            case CallMcp(label, name, arguments, output, error, approval_id):
                body = {"type": "mcp_call", "server_label": label, "name": name, "arguments": ""}
                if approval_id is not None:
                    body["approval_request_id"] = approval_id
                return McpCall(*self._common(index, body), arguments, output=output, error=error)
            case AskApproval(label, name, arguments):
                body = {"type": "mcp_approval_request", "server_label": label, "name": name, "arguments": arguments}
                return ApprovalRequest(*self._common(index, body), "")

    def _message(self, index: int, text: str, phase: str | None) -> OutputItem:
        body: dict[str, Any] = {"type": "message", "status": "in_progress", "role": "assistant", "content": []}
        if self.request.names_phases:
            body["phase"] = phase or "final_answer"
        if not self.request.speaks:
            return Message(*self._common(index, body), text)
        speech = SpeechStream(self.request.format, self.switches.delta_ms, self.switches.tail_silence_ms)
        if self.prepared is not None:
            speech.add(self.prepared.audio(text, self.request.format))
            speech.end()
        return SpokenMessage(*self._common(index, body), text, speech=speech, keeps_audio=self.prepared is None)

    def _common(self, index: int, body: dict[str, Any]) -> tuple[str, int, Item, EventSink, Conversation | None, Switches]:
        item = Item({"id": self.sink.ids.new("item"), **body}, audio_format=self.request.format.item_name)
        return self.response_id, index, item, self.sink, self.conversation, self.switches
