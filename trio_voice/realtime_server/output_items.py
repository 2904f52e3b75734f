"""The items that a response puts out: each with the events that open it, fill it and close it, in the service's order.

A message: output_item.added, conversation.item.added, content_part.added, deltas, output_audio.done,
output_audio_transcript.done (or output_text.done), content_part.done, conversation.item.done, output_item.done. A call has
argument deltas instead of a part. An out-of-band response has no `conversation.*` events. Source: OpenAI Realtime API reference,
and the order seen on the service's wire.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from attrs import define, field

from trio_voice.realtime_server.conversation import Conversation, Item
from trio_voice.realtime_server.events import EventSink
from trio_voice.realtime_server.speech_stream import TOKEN_MS, SpeechStream
from trio_voice.realtime_server.switches import Switches
from trio_voice.realtime_server.usage import OutputTokens

_PIECES = re.compile(r"\s*\S{1,6}")


def word_pieces(text: str) -> deque[str]:
    """Cut a text as a model writes it: into words with the space before them, long words in parts; joined they are the text."""
    pieces = deque(_PIECES.findall(text))
    rest = text[sum(map(len, pieces)) :]
    if rest:
        pieces.append(rest)
    return pieces


@define
class OutputItem:
    """One output item on its way; the subclasses know what it is made of."""

    response_id: str
    index: int
    item: Item
    sink: EventSink
    conversation: Conversation | None
    switches: Switches
    text: str
    """A message's words, or a call's arguments."""
    tokens: OutputTokens = field(factory=OutputTokens)
    pieces: deque[str] = field(init=False)
    said: str = field(default="", init=False)
    is_open: bool = field(default=False, init=False)
    was_opened: bool = field(default=False, init=False)
    _previous_id: str | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.pieces = word_pieces(self.text)

    def open(self) -> None:
        """Send the events that announce the item, and add it to the conversation."""
        self.is_open = self.was_opened = True
        self.sink.send(
            "response.output_item.added", response_id=self.response_id, output_index=self.index, item=self.item.body.copy()
        )
        if self.conversation is not None:
            self._previous_id = self.conversation.add(self.item)
            self.sink.send("conversation.item.added", previous_item_id=self._previous_id, item=self.item.body.copy())
        self._open_parts()

    def write(self) -> bool:
        """Send the next piece of text, transcript or arguments; return whether more is to come."""
        if not self.pieces:
            return False
        piece = self.pieces.popleft()
        self.said += piece
        self.tokens.text += 1
        self._send_piece(piece)
        return bool(self.pieces)

    def write_pieces(self, count: int) -> None:
        """Send up to so many pieces."""
        while count > 0 and self.pieces:
            self.write()
            count -= 1

    def close(self, status: str) -> None:
        """Send the events that end the item: `status` is completed or incomplete."""
        self.is_open = False
        if status == "completed" or self.switches.parts_done_when_cancelled:
            self._close_parts()
        if "status" in self.item.body:
            self.item.body["status"] = status
        self._settle()
        item = self.item.body.copy()
        done = [("response.output_item.done", {"response_id": self.response_id, "output_index": self.index, "item": item})]
        if self.conversation is not None:
            first = self.switches.first_predecessor_is_null and self.conversation.is_first(self._previous_id)
            previous_id = None if first else self._previous_id
            done.append(("conversation.item.done", {"previous_item_id": previous_id, "item": item}))
        if self.switches.done_order == "conversation_first":
            done.reverse()
        for kind, fields in done:
            self.sink.send(kind, **fields)

    # --- what the subclasses say -----------------------------------------------------------------------------------

    def _open_parts(self) -> None:
        """Open what is inside the item."""

    def _send_piece(self, piece: str) -> None:
        """Send a delta of text."""

    def _close_parts(self) -> None:
        """Close what is inside the item."""

    def _settle(self) -> None:
        """Write into the item's body what was said."""


@define
class Message(OutputItem):
    """A message of the assistant; `_part` and the delta's name say whether it is spoken or written."""

    def _open_parts(self) -> None:
        self.sink.send("response.content_part.added", **self._place(), part=self._part(""))

    def _place(self) -> dict[str, Any]:
        return {
            "response_id": self.response_id,
            "item_id": self.item.id,
            "output_index": self.index,
            "content_index": 0,
        }

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "text", "text": text}

    def _send_piece(self, piece: str) -> None:
        self.sink.send_text_delta("response.output_text.delta", **self._place(), delta=piece)

    def _close_parts(self) -> None:
        self.sink.send("response.output_text.done", **self._place(), text=self.said)
        self.sink.send("response.content_part.done", **self._place(), part=self._part(self.said))

    def _settle(self) -> None:
        self.item.body["content"] = [{"type": "output_text", "text": self.said}]


@define(kw_only=True)
class SpokenMessage(Message):
    """A message that is heard: audio, and a transcript that runs ahead of it."""

    speech: SpeechStream
    keeps_audio: bool
    sent_ms: int = field(default=0, init=False)

    def pieces_due(self, lead_pieces: int, estimated_ms: int) -> int:
        """Return how many pieces of the transcript have to follow to stay `lead_pieces` ahead of the audio."""
        total = len(self.pieces) + self.tokens.text
        return lead_pieces + total * self.sent_ms // max(estimated_ms, 1) - self.tokens.text

    def send_audio(self, audio: bytes) -> None:
        """Send one audio delta; the item gets longer by it."""
        duration_ms = len(audio) // self.speech.format.bytes_per_ms
        self.sent_ms += duration_ms
        self.tokens.audio += duration_ms // TOKEN_MS
        if not self.item.frozen_length:
            self.item.audio_ms += duration_ms
            if self.keeps_audio:
                self.item.audio += audio
        self._send_delta(audio)

    def send_late_audio(self) -> None:
        """Send a delta that is ready although nobody wants it any more."""
        audio = self.speech.next_delta()
        if audio:
            self.send_audio(audio)

    def send_surplus_audio(self, duration_ms: int) -> None:
        """Send silence that the item does not count."""
        self._send_delta(self.speech.format.silence_of(duration_ms))

    def _send_delta(self, audio: bytes) -> None:
        self.sink.send("response.output_audio.delta", **self._place(), delta=audio)

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "audio", "transcript": text}

    def _send_piece(self, piece: str) -> None:
        self.sink.send_text_delta("response.output_audio_transcript.delta", **self._place(), delta=piece)

    def _close_parts(self) -> None:
        self.sink.send("response.output_audio.done", **self._place())
        self.sink.send("response.output_audio_transcript.done", **self._place(), transcript=self.said)
        self.sink.send("response.content_part.done", **self._place(), part=self._part(self.said))

    def _settle(self) -> None:
        truncated = self.item.frozen_length
        self.item.body["content"] = [{"type": "output_audio", **({} if truncated else {"transcript": self.said})}]


@define
class FunctionCall(OutputItem):
    """A call of one of the client's functions; an interrupted one has incomplete arguments, which are never `done`."""

    def _send_piece(self, piece: str) -> None:
        self.sink.send_text_delta("response.function_call_arguments.delta", **self._place(), delta=piece)

    def _close_parts(self) -> None:
        if not self.pieces:
            name = self.item.body["name"]
            self.sink.send("response.function_call_arguments.done", **self._place(), name=name, arguments=self.said)

    def _settle(self) -> None:
        self.item.body["arguments"] = self.said

    def _place(self) -> dict[str, Any]:
        return {
            "response_id": self.response_id,
            "item_id": self.item.id,
            "output_index": self.index,
            "call_id": self.item.body["call_id"],
        }


@define(kw_only=True)
class McpCall(OutputItem):
    """A call of an MCP server's tool: the arguments, then its progress, which names no response."""

    output: str | None
    error: str | None

    def _send_piece(self, piece: str) -> None:
        self.sink.send_text_delta("response.mcp_call_arguments.delta", **self._place(), delta=piece)

    def _close_parts(self) -> None:
        if self.pieces:
            return
        progress = {"item_id": self.item.id, "output_index": self.index}
        self.sink.send("response.mcp_call_arguments.done", **self._place(), arguments=self.said)
        self.sink.send("response.mcp_call.in_progress", **progress)
        self.sink.send("response.mcp_call.completed" if self.error is None else "response.mcp_call.failed", **progress)

    def _settle(self) -> None:
        body = self.item.body
        body["arguments"] = self.said
        body["output"] = self.output
        body["error"] = None if self.error is None else {"type": "protocol_error", "code": -32000, "message": self.error}

    def _place(self) -> dict[str, Any]:
        return {"response_id": self.response_id, "item_id": self.item.id, "output_index": self.index}


@define
class ApprovalRequest(OutputItem):
    """A request to approve of an MCP call: an item that is whole at once."""
