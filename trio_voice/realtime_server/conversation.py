"""The conversation: its items in order, each with the audio that it holds, and what a client may do to them.

Assistant audio has a length in milliseconds that counts from 0 in every item; truncating cuts it and drops the transcript, so
that no text stays that was not heard. Source: OpenAI Realtime API reference.
"""

from __future__ import annotations

import base64
from typing import Any

from attrs import define, field

from trio_voice.realtime_server import errors_on_the_wire as errors


@define
class Item:
    """One item: `body` is what the wire shows of it (without audio), its fields in the service's order."""

    body: dict[str, Any]
    audio: bytearray = field(factory=bytearray)
    audio_format: str = "pcm16"
    """pcm16, g711_ulaw or g711_alaw."""
    audio_ms: int = 0
    spoken_ms: int = 0
    """For a caller's turn: how long the caller spoke, without padding and the silence at the end."""
    words: str = ""
    """For a caller's turn: what was said, as far as it is known. The model hears it whether or not it is transcribed."""
    frozen_length: bool = False
    """Truncated: audio that is still being sent no longer lengthens it."""

    @property
    def id(self) -> str:
        """The item's identifier."""
        return str(self.body["id"])

    @property
    def role(self) -> str:
        """user, assistant, system, or empty for what is no message."""
        return str(self.body.get("role", ""))

    @property
    def is_assistant_audio(self) -> bool:
        """Whether this is the model's speech, of which there is some, whole or still being spoken."""
        spoken = self.audio_ms > 0 or any(part["type"] == "output_audio" for part in self.body.get("content", ()))
        return self.role == "assistant" and spoken

    @property
    def text(self) -> str:
        """All texts and transcripts of a message, in order."""
        parts = self.body.get("content", ())
        return " ".join(filter(None, (part.get("text") or part.get("transcript") for part in parts)))

    def with_audio(self, *, typed: bool) -> dict[str, Any]:
        """Return the body as `conversation.item.retrieved` shows it: with the audio itself, in the format that it came in.

        The parts keep their types (`typed`), or are of type audio, as in an example of the API reference that its own types
        do not admit.
        """
        if not self.audio:
            return self.body
        held = {"audio": base64.b64encode(self.audio).decode(), "format": self.audio_format}
        content = [
            {"type": part["type"] if typed else "audio", "transcript": part.get("transcript"), **held}
            if part["type"] in ("output_audio", "input_audio")
            else part
            for part in self.body["content"]
        ]
        return {**self.body, "content": content}


MOST_ITEMS = 4096
MOST_AUDIO_BYTES = 32 * 1024 * 1024


@define
class Conversation:
    """The default conversation of a session.

    It is bounded: the oldest of 4096 items go, as they would from a model's context, and of 32 MiB of audio the oldest is let
    go of (its item stays).
    """

    id: str
    items: list[Item] = field(factory=list)

    def find(self, item_id: str) -> Item | None:
        """Return the newest item of that identifier (a client may have used one twice)."""
        for item in reversed(self.items):
            if item.id == item_id:
                return item
        return None

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Insert after the item `after` (None or empty: at the end; "root": first) and return the predecessor's id, if any.

        Raises ClientError when there is no such item.
        """
        if not after:
            index = len(self.items)
        elif after == "root":
            index = 0
        else:
            previous = self.find(after)
            if previous is None:
                raise errors.unknown_previous_item(after)
            index = next(i for i, each in enumerate(self.items) if each is previous) + 1
        self.items.insert(index, item)
        previous_id = self.items[index - 1].id if index else None
        self._trim()
        return previous_id

    def _trim(self) -> None:
        del self.items[: max(0, len(self.items) - MOST_ITEMS)]
        total = 0
        for item in reversed(self.items):
            total += len(item.audio)
            if total > MOST_AUDIO_BYTES and item.audio:
                total -= len(item.audio)
                item.audio.clear()

    @property
    def last_id(self) -> str | None:
        """The identifier of the last item."""
        return self.items[-1].id if self.items else None

    def is_first(self, item_id: str | None) -> bool:
        """Whether this is the identifier of the conversation's first item."""
        return bool(self.items) and self.items[0].id == item_id

    def has_call(self, call_id: str) -> bool:
        """Whether the conversation holds a function call of that `call_id`."""
        return any(each.body["type"] == "function_call" and each.body.get("call_id") == call_id for each in self.items)

    def delete(self, item_id: str) -> None:
        """Take an item out. Raises ClientError when there is none."""
        item = self.find(item_id)
        if item is None:
            raise errors.delete_unknown_item(item_id)
        self.items = [each for each in self.items if each is not item]

    def retrieve(self, item_id: str) -> Item:
        """Return an item. Raises ClientError when there is none."""
        item = self.find(item_id)
        if item is None:
            raise errors.retrieve_unknown_item(item_id)
        return item

    def truncate(self, item_id: str, audio_end_ms: int, too_long_code: str | None) -> None:
        """Cut the model's speech and drop its transcript. Raises ClientError, in this order: item, kind, length."""
        item = self.find(item_id)
        if item is None:
            raise errors.truncate_unknown_item(item_id)
        if not item.is_assistant_audio or not (item.audio_ms or item.frozen_length):
            raise errors.truncate_not_audio()
        if audio_end_ms > item.audio_ms:
            raise errors.truncate_too_long(item.audio_ms, audio_end_ms, too_long_code)
        if item.audio_ms:
            del item.audio[len(item.audio) * audio_end_ms // item.audio_ms :]
        item.audio_ms = audio_end_ms
        item.frozen_length = True
        item.body["content"] = [
            {"type": "output_audio"} if part["type"] == "output_audio" else part for part in item.body["content"]
        ]
