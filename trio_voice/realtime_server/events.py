"""What a session asks its shell to do, and the one place through which server events leave.

Every server event begins with `type` and `event_id`, in this order, as on the service's wire. A session returns its outputs in a
list; the shell performs them in order.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field, frozen

from trio_voice.realtime_server.audio_formats import AudioFormat
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.errors_on_the_wire import ClientError
from trio_voice.realtime_server.identifiers import Identifiers

OBFUSCATED_LENGTH = 16


@frozen
class SendEvent:
    """Write a server event; values of type bytes are audio and become base64."""

    event: dict[str, Any]


@frozen
class StartSpeech:
    """Have `text` spoken: the voice's pieces come back under `speech_id`, in that format."""

    speech_id: str
    text: str
    voice: str
    speed: float
    audio_format: AudioFormat


@frozen
class StopSpeech:
    """Nobody wants the rest of this speech."""

    speech_id: str


@frozen
class Recognise:
    """Have somebody tell which words a caller's turn (8 kHz PCM16) said; they come back for `item_id`."""

    item_id: str
    pcm16_8khz: bytes


@frozen
class CloseConnection:
    """Close the WebSocket after what was sent before."""

    code: int
    reason: str


@frozen
class DropConnection:
    """End the TCP connection without a WebSocket CLOSE; with `reset`, by RST."""

    reset: bool


@frozen
class FallSilent:
    """Keep the TCP connection, and neither read nor write nor close any more (half-open)."""


Output = SendEvent | StartSpeech | StopSpeech | Recognise | CloseConnection | DropConnection | FallSilent


@define
class EventSink:
    """Collects the outputs of one session."""

    ids: Identifiers
    behaviour: Behaviour
    outputs: list[Output] = field(factory=list, init=False)

    def send(self, kind: str, /, **fields: Any) -> None:
        """Send a server event of that type; the fields keep their order."""
        self.outputs.append(SendEvent({"type": kind, "event_id": self.ids.new("event"), **fields}))

    def send_text_delta(self, kind: str, /, *, delta: str, **fields: Any) -> None:
        """Send a text-like delta, padded by `obfuscation` to 16 characters."""
        if self.behaviour.switches.obfuscation:
            padding = self.ids.padding(max(0, OBFUSCATED_LENGTH - len(delta)))
            self.send(kind, **fields, delta=delta, obfuscation=padding)
        else:
            self.send(kind, **fields, delta=delta)

    def error(self, mistake: ClientError, client_event_id: str | None = None) -> None:
        """Send an `error` event."""
        self.send("error", error=mistake.wire(client_event_id))

    def do(self, output: Output) -> None:
        """Ask the shell for something other than an event."""
        self.outputs.append(output)

    def drain(self) -> list[Output]:
        """Return what has been collected, and start anew."""
        outputs, self.outputs = self.outputs, []
        return outputs
