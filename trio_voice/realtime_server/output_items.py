"""The items that a response puts out: each with the events that open it, fill it and close it, in the service's order.

A message: output_item.added, conversation.item.added, content_part.added, deltas, output_audio.done,
output_audio_transcript.done (or output_text.done), content_part.done, conversation.item.done, output_item.done. A function call
has argument deltas instead of a part. An out-of-band response has no `conversation.*` events. Source: OpenAI Realtime API
reference, and the order seen on the service's wire.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from attrs import define, field

from trio_voice.realtime_server.conversation import Conversation, Item
from trio_voice.realtime_server.events import EventSink
from trio_voice.realtime_server.speech_stream import SpeechStream
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
    """One output item on its way."""

    response_id: str
    index: int
    item: Item
    sink: EventSink
    conversation: Conversation | None
    switches: Switches
    text: str
    """A message's words, or a function call's arguments."""
    speech: SpeechStream | None = None
    """The audio of a spoken message."""
    tokens: OutputTokens = field(factory=OutputTokens)
    pieces: deque[str] = field(init=False)
    said: str = field(default="", init=False)
    sent_ms: int = field(default=0, init=False)
    is_open: bool = field(default=False, init=False)
    was_opened: bool = field(default=False, init=False)
    _previous_id: str | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.pieces = word_pieces(self.text)

    @property
    def is_call(self) -> bool:
        """Whether this is a function call."""
        return bool(self.item.body["type"] == "function_call")

    def open(self) -> None:
        """Send the events that announce the item, and add it to the conversation."""
        self.is_open = self.was_opened = True
        self.sink.send(
            "response.output_item.added", response_id=self.response_id, output_index=self.index, item=self.item.body.copy()
        )
        if self.conversation is not None:
            self._previous_id = self.conversation.add(self.item)
            self.sink.send("conversation.item.added", previous_item_id=self._previous_id, item=self.item.body.copy())
        if not self.is_call:
            self.sink.send("response.content_part.added", **self._place(), part=self._part(""))

    def write(self) -> bool:
        """Send the next piece of text, transcript or arguments; return whether more is to come."""
        if not self.pieces:
            return False
        piece = self.pieces.popleft()
        self.said += piece
        self.tokens.text += 1
        if self.is_call:
            self.sink.send_text_delta(
                "response.function_call_arguments.delta",
                response_id=self.response_id,
                item_id=self.item.id,
                output_index=self.index,
                call_id=self.item.body["call_id"],
                delta=piece,
            )
        else:
            kind = "response.output_audio_transcript.delta" if self.speech else "response.output_text.delta"
            self.sink.send_text_delta(kind, **self._place(), delta=piece)
        return bool(self.pieces)

    def write_pieces(self, count: int) -> None:
        """Send up to so many pieces."""
        while count > 0 and self.pieces:
            self.write()
            count -= 1

    def send_late_audio(self) -> None:
        """Send a delta that is ready although nobody wants it any more."""
        audio = self.speech.next_delta() if self.speech is not None else None
        if audio:
            self.send_audio(audio)

    def send_audio(self, audio: bytes) -> None:
        """Send one audio delta; the item gets longer by it."""
        assert self.speech is not None
        duration_ms = len(audio) // self.speech.format.bytes_per_ms
        self.sent_ms += duration_ms
        self.tokens.audio += duration_ms // 50
        if not self.item.frozen_length:
            self.item.audio += audio
            self.item.audio_ms += duration_ms
        self.sink.send("response.output_audio.delta", **self._place(), delta=audio)

    def send_surplus_audio(self, audio: bytes) -> None:
        """Send audio that the item does not count."""
        self.sink.send("response.output_audio.delta", **self._place(), delta=audio)

    def pieces_due(self, lead_pieces: int, estimated_ms: int) -> int:
        """Return how many pieces of the transcript have to follow to stay `lead_pieces` ahead of the audio."""
        total = len(self.pieces) + self.tokens.text
        return lead_pieces + total * self.sent_ms // max(estimated_ms, 1) - self.tokens.text

    def close(self, status: str) -> None:
        """Send the events that end the item: `status` is completed or incomplete."""
        self.is_open = False
        complete = status == "completed"
        if complete or self.switches.parts_done_when_cancelled:
            self._close_parts()
        self._settle(status)
        item = self.item.body.copy()
        previous_id = self._previous_id
        first = self.conversation is not None and self.conversation.is_first(previous_id)
        if self.switches.first_predecessor_is_null and first:
            previous_id = None

        def conversation_done() -> None:
            if self.conversation is not None:
                self.sink.send("conversation.item.done", previous_item_id=previous_id, item=item)

        if self.switches.done_order == "conversation_first":
            conversation_done()
        self.sink.send("response.output_item.done", response_id=self.response_id, output_index=self.index, item=item)
        if self.switches.done_order == "output_first":
            conversation_done()

    def _close_parts(self) -> None:
        if self.is_call:
            if not self.pieces:  # an interrupted call's arguments are never done
                self.sink.send(
                    "response.function_call_arguments.done",
                    response_id=self.response_id,
                    item_id=self.item.id,
                    output_index=self.index,
                    call_id=self.item.body["call_id"],
                    name=self.item.body["name"],
                    arguments=self.said,
                )
            return
        if self.speech is not None:
            self.sink.send("response.output_audio.done", **self._place())
            self.sink.send("response.output_audio_transcript.done", **self._place(), transcript=self.said)
        else:
            self.sink.send("response.output_text.done", **self._place(), text=self.said)
        self.sink.send("response.content_part.done", **self._place(), part=self._part(self.said))

    def _settle(self, status: str) -> None:
        body = self.item.body
        body["status"] = status
        if self.is_call:
            body["arguments"] = self.said
        elif self.speech is None:
            body["content"] = [{"type": "output_text", "text": self.said}]
        elif self.item.frozen_length:
            body["content"] = [{"type": "output_audio"}]
        else:
            body["content"] = [{"type": "output_audio", "transcript": self.said}]

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "text", "text": text} if self.speech is None else {"type": "audio", "transcript": text}

    def _place(self) -> dict[str, Any]:
        return {
            "response_id": self.response_id,
            "item_id": self.item.id,
            "output_index": self.index,
            "content_index": 0,
        }
