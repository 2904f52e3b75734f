"""Token counts as the service reports them.

A token is about 4 characters of text, 100 ms of heard audio, 50 ms of spoken audio.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import define

from trio_voice.realtime_server.conversation import Item
from trio_voice.realtime_server.speech_stream import TOKEN_MS

INPUT_TOKEN_MS = 100
CHARACTERS_A_TOKEN = 4


def text_tokens(text: str) -> int:
    """Return the tokens of a text; at least one if there is any."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


@define
class OutputTokens:
    """What a response has put out so far."""

    text: int = 0
    audio: int = 0

    @property
    def total(self) -> int:
        """Text and audio."""
        return self.text + self.audio


def input_tokens(instructions: str, items: Iterable[Item]) -> tuple[int, int]:
    """Return the text and audio tokens of a context."""
    text, audio = text_tokens(instructions), 0
    for item in items:
        if item.role == "user" and item.audio_ms:
            audio += item.audio_ms // INPUT_TOKEN_MS
        elif item.audio_ms:
            audio += item.audio_ms // TOKEN_MS
        else:
            text += text_tokens(item.text or str(item.body.get("arguments") or item.body.get("output") or ""))
    return text, audio


def usage(text_in: int, audio_in: int, out: OutputTokens) -> dict[str, Any]:
    """Return the `usage` of a `response.done`."""
    return {
        "total_tokens": text_in + audio_in + out.total,
        "input_tokens": text_in + audio_in,
        "output_tokens": out.total,
        "input_token_details": {
            "text_tokens": text_in,
            "audio_tokens": audio_in,
            "image_tokens": 0,
            "cached_tokens": 0,
            "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": out.text, "audio_tokens": out.audio},
    }
