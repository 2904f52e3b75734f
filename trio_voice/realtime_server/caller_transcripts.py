"""What the caller said, in words: the transcription events of a turn, by the habits of the transcription models.

`whisper-1` gives the whole text in one delta; the `transcribe` models many deltas after the commit; `gpt-realtime-whisper` begins
while the caller still speaks; a `diarize` model tells the speakers apart. When they come has nothing to do with the response.
Source: OpenAI Realtime API reference, and the service's wire.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from attrs import define

from trio_voice.realtime_server.agenda import Agenda
from trio_voice.realtime_server.answers import Heard
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.conversation import Item
from trio_voice.realtime_server.events import EventSink
from trio_voice.realtime_server.output_items import word_pieces
from trio_voice.realtime_server.usage import INPUT_TOKEN_MS, text_tokens

_KIND = "conversation.item.input_audio_transcription"
_LOGPROBS = "item.input_audio_transcription.logprobs"


@define
class CallerTranscripts:
    """Sends transcription events."""

    sink: EventSink
    agenda: Agenda
    behaviour: Behaviour
    _random: random.Random

    def follow(self, item: Item, heard: Heard, transcription: dict[str, Any], include: Sequence[str], now: float) -> None:
        """Plan the events of one turn's transcript, `completed` or `failed` being the last."""
        switches = self.behaviour.switches
        most_ms = max(switches.transcription_least_ms, switches.transcription_most_ms)
        wait_s = self._random.uniform(switches.transcription_least_ms, most_ms) / 1000
        model = transcription["model"] or ""
        if heard.fails:
            self.agenda.add(now + wait_s, partial(self._fail, item))
            return
        with_logprobs = _LOGPROBS in include
        if model == "gpt-realtime-whisper":
            now_s, pieces = 0.0, list(word_pieces(heard.transcript))
        elif model == "whisper-1":
            now_s, pieces = wait_s, [heard.transcript] if heard.transcript else []
        else:
            now_s, pieces = wait_s / 2, list(word_pieces(heard.transcript))
        for index, piece in enumerate(pieces):
            at = now + now_s + (wait_s - now_s) * index / len(pieces)
            self.agenda.add(at, partial(self._delta, item, piece, with_logprobs))
        if "diarize" in model:
            self.agenda.add(now + wait_s, partial(self._segments, item, heard))
        self.agenda.add(now + wait_s, partial(self._complete, item, heard, model, with_logprobs))

    def _delta(self, item: Item, piece: str, with_logprobs: bool) -> None:
        more = {"logprobs": [_logprob(piece)]} if with_logprobs else {}
        self.sink.send_text_delta(f"{_KIND}.delta", item_id=item.id, content_index=0, delta=piece, **more)

    def _segments(self, item: Item, heard: Heard) -> None:
        spoken = heard.speakers or (("A", heard.transcript),)
        characters = max(1, sum(len(text) for _, text in spoken))
        start = 0.0
        for speaker, text in spoken:
            end = start + item.audio_ms / 1000 * len(text) / characters
            self.sink.send(
                f"{_KIND}.segment",
                item_id=item.id,
                content_index=0,
                id=self.sink.ids.new("seg"),
                text=text,
                speaker=speaker,
                start=round(start, 3),
                end=round(end, 3),
            )
            start = end

    def _complete(self, item: Item, heard: Heard, model: str, with_logprobs: bool) -> None:
        item.body["content"] = [
            {**part, "transcript": heard.transcript} if part["type"] == "input_audio" else part for part in item.body["content"]
        ]
        more: dict[str, Any] = {}
        if with_logprobs:
            more["logprobs"] = [_logprob(piece) for piece in word_pieces(heard.transcript)]
        if model == "gpt-transcribe":
            more["languages"] = []
        self.sink.send(
            f"{_KIND}.completed",
            item_id=item.id,
            content_index=0,
            transcript=heard.transcript,
            usage=_usage(model, item.audio_ms, heard.transcript),
            **more,
        )

    def _fail(self, item: Item) -> None:
        error = {
            "type": "server_error",
            "code": "transcription_failed",
            "message": "The audio could not be transcribed.",
            "param": None,
        }
        self.sink.send(f"{_KIND}.failed", item_id=item.id, content_index=0, error=error)


def _usage(model: str, audio_ms: int, transcript: str) -> dict[str, Any]:
    if "whisper" in model:
        return {"type": "duration", "seconds": math.ceil(audio_ms / 1000)}
    audio, text = audio_ms // INPUT_TOKEN_MS, text_tokens(transcript)
    return {
        "type": "tokens",
        "total_tokens": audio + text,
        "input_tokens": audio,
        "output_tokens": text,
        "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
    }


def _logprob(piece: str) -> dict[str, Any]:
    return {"token": piece, "bytes": list(piece.encode()), "logprob": -0.05}
