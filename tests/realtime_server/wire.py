"""A client and a clock for sans-I/O dialogues with a `Session`: every event that comes out is checked by the openai package."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
from attrs import define, field
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import TypeAdapter

from trio_voice.audio import g711
from trio_voice.audio.resample import Downsampler24To8
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.events import Output, SendEvent, StartSpeech, StopSpeech
from trio_voice.realtime_server.script import Script, parse_script
from trio_voice.realtime_server.scripted_thinking import ScriptedThinking
from trio_voice.realtime_server.session import Session
from trio_voice.realtime_server.switches import Switches
from trio_voice.realtime_server.voice_tones import spoken_in_tones, tones_in_format

server_events: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
client_events: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)

ONE_SENTENCE = parse_script('[[rule]]\nsay = "Good morning, how can I help you?"', "test")


@cache
def caller_ulaw(sentence: str = "I would like to make an appointment please.") -> bytes:
    """A caller's sentence in mu-law."""
    return g711.pcm16_to_ulaw(Downsampler24To8().convert(b"".join(spoken_in_tones(sentence, 120, 1.0))))


@define
class Wire:
    """A session, its client and the time. `seen` are the events not yet looked at: (time, event)."""

    session: Session
    now: float = 0.0
    validate: bool = True
    voice: Callable[[StartSpeech], None] | None = None
    """Takes speeches that the test speaks itself; None: tones speak at once."""
    seen: list[tuple[float, dict[str, Any]]] = field(factory=list)
    others: list[Output] = field(factory=list)
    _speeches: list[StartSpeech] = field(factory=list)
    _last_item_id: str = ""
    _last_response_id: str = ""

    def perform(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, SendEvent):
                raw = msgspec.json.encode(output.event)
                if self.validate:
                    server_events.validate_json(raw)
                self._see(json.loads(raw))
            elif isinstance(output, StartSpeech):
                self._speeches.append(output)
            else:
                self.others.append(output)
                if isinstance(output, StopSpeech):
                    self._speeches = [each for each in self._speeches if each.speech_id != output.speech_id]
        while self._speeches:
            speech = self._speeches.pop(0)
            if self.voice is not None:
                self.voice(speech)
                continue
            for piece in tones_in_format(speech.text, 120, 1.0, speech.audio_format):
                self.perform(self.session.voice_piece(speech.speech_id, piece, self.now))
            self.perform(self.session.voice_ended(speech.speech_id, self.now))

    def _see(self, event: dict[str, Any]) -> None:
        self.seen.append((self.now, event))
        if event["type"] == "conversation.item.added":
            self._last_item_id = event["item"]["id"]
        elif event["type"] == "response.created":
            self._last_response_id = event["response"]["id"]

    def send(self, type_: str, **fields: Any) -> Wire:
        """Send a client event; it is checked by the openai package too."""
        message = json.dumps({"type": type_, **fields})
        if self.validate:
            client_events.validate_json(message)
        return self.send_raw(message)

    def send_raw(self, message: str | bytes) -> Wire:
        """Send anything."""
        self.perform(self.session.receive(message, self.now))
        return self

    def wait(self, seconds: float) -> Wire:
        """Let time pass; every deadline on the way fires at its own moment."""
        until = self.now + seconds
        while self.session.next_deadline() <= until:
            self.now = max(self.now, self.session.next_deadline())
            self.perform(self.session.handle_timer(self.now))
        self.now = until
        return self

    def hear(self, audio: bytes, frame_bytes: int = 160, frame_s: float = 0.02) -> Wire:
        """Append audio in real time."""
        for start in range(0, len(audio), frame_bytes):
            self.append(audio[start : start + frame_bytes])
            self.wait(frame_s)
        return self

    def append(self, audio: bytes) -> Wire:
        """Append audio at once."""
        return self.send_raw(json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()}))

    def silence(self, seconds: float) -> Wire:
        """Append silence in real time."""
        return self.hear(g711.ulaw_silence(round(seconds * 1000)))

    def take(self) -> list[dict[str, Any]]:
        """Return the events since the last look."""
        events = [event for _, event in self.seen]
        self.seen.clear()
        return events

    def types(self, *, folded: bool = True) -> list[str]:
        """Return the types of the events since the last look; deltas of a kind once, `rate_limits.updated` left out."""
        names: list[str] = []
        for event in self.take():
            name = event["type"]
            if folded and (name == "rate_limits.updated" or (name.endswith(".delta") and name in names)):
                continue
            names.append(name)
        return names

    def one(self, type_: str) -> dict[str, Any]:
        """Return the one event of that type since the last look, and forget all."""
        (event,) = [event for event in self.take() if event["type"] == type_]
        return event

    @property
    def last_item_id(self) -> str:
        """The id of the newest item that was announced."""
        return self._last_item_id

    @property
    def last_response_id(self) -> str:
        """The id of the newest response."""
        return self._last_response_id

    def error(self) -> dict[str, Any]:
        """Return the error object of the one event since the last look: nothing but an error came."""
        (event,) = self.take()
        assert event["type"] == "error", event
        error: dict[str, Any] = event["error"]
        return error


def opened(script: Script = ONE_SENTENCE, switches: Switches | None = None, model: str = "gpt-realtime-2.1") -> Wire:
    """Open a session; its first events are there to be looked at."""
    behaviour = Behaviour(switches or script.switches)
    wire = Wire(Session(model, ScriptedThinking(script), behaviour, random.Random(1)))
    wire.perform(wire.session.open(0.0, 1_700_000_000.0))
    return wire


def connect(
    script: Script = ONE_SENTENCE,
    switches: Switches | None = None,
    model: str = "gpt-realtime-2.1",
    *,
    pcmu: bool = True,
    **audio_input: Any,
) -> Wire:
    """Open a session and forget its first events; `audio_input` is more of `session.audio.input`."""
    wire = opened(script, switches, model)
    if pcmu or audio_input:
        wire.send(
            "session.update",
            session={
                "type": "realtime",
                "audio": {
                    "input": {**({"format": {"type": "audio/pcmu"}} if pcmu else {}), **audio_input},
                    **({"output": {"format": {"type": "audio/pcmu"}}} if pcmu else {}),
                },
            },
        )
    wire.take()
    return wire
