"""One session of the Realtime protocol, without I/O: messages and the time in, outputs and the next deadline out.

The shell calls `open` once, then `receive`, `voice_piece`, `voice_ended` and `handle_timer` as things happen, performs the
outputs of each in order, and calls `handle_timer` when `next_deadline` comes. Nothing that a client sends raises.
Source: OpenAI Realtime API reference.
"""

from __future__ import annotations

import base64
import binascii
import math
import random
from collections.abc import Callable
from typing import Any

from attrs import define, field

from trio_voice.realtime_server import errors_on_the_wire as errors
from trio_voice.realtime_server.agenda import Agenda
from trio_voice.realtime_server.answers import About, Thinking
from trio_voice.realtime_server.audio_formats import PCM
from trio_voice.realtime_server.client_events import ClientEvent, Unusable, decode
from trio_voice.realtime_server.conversation import Conversation, Item
from trio_voice.realtime_server.events import CloseConnection, EventSink, Output
from trio_voice.realtime_server.hearing import Hearing, HearingSettings
from trio_voice.realtime_server.identifiers import Identifiers
from trio_voice.realtime_server.input_audio import InputAudio
from trio_voice.realtime_server.responses import Responses
from trio_voice.realtime_server.session_object import new_realtime_session, updated
from trio_voice.realtime_server.switches import DEFAULT_SWITCHES, Switches
from trio_voice.realtime_server.turn_taking import TurnTaking

BUFFER_LIMIT_BYTES = 64 * 1024 * 1024


@define
class Session:
    """The whole state of one connection."""

    model: str
    thinking: Thinking
    switches: Switches = DEFAULT_SWITCHES
    random: random.Random = field(factory=random.Random)
    new_hearing: Callable[[HearingSettings], Hearing] = Hearing
    id: str = field(init=False)
    object: dict[str, Any] = field(init=False)
    """The effective session object, as `session.updated` shows it."""
    _sink: EventSink = field(init=False)
    _agenda: Agenda = field(factory=Agenda, init=False)
    _conversation: Conversation = field(init=False)
    _responses: Responses = field(init=False)
    _turns: TurnTaking = field(init=False)
    _expires_at: float = field(default=math.inf, init=False)
    _owed: bool = field(default=False, init=False)  # a turn's answer waits for the active response (switch)
    _responses_ended: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        ids = Identifiers(self.random)
        self.id = ids.new("sess")
        self._sink = EventSink(ids, self.random, self.switches.obfuscation)
        self._conversation = Conversation(ids.new("conv"))
        self._responses = Responses(self._sink, self._agenda, self._conversation, self.thinking, self.switches)
        self._turns = TurnTaking(
            self._sink,
            self._agenda,
            self._conversation,
            self.thinking,
            self.switches,
            InputAudio(PCM, BUFFER_LIMIT_BYTES),
            self.new_hearing,
            self.random,
        )

    # --- the surface -----------------------------------------------------------------------------------------------

    def open(self, now: float, unix_time_s: float) -> list[Output]:
        """Begin: `session.created`."""
        self._expires_at = now + self.switches.longest_session_s
        expires = int(unix_time_s + self.switches.longest_session_s)
        self.object = new_realtime_session(self.model, self.id, expires)
        self._turns.configure(self.object["audio"]["input"])
        self._sink.send("session.created", session=self.object)
        if self.switches.conversation_created:
            conversation = {"id": self._conversation.id, "object": "realtime.conversation"}
            self._sink.send("conversation.created", conversation=conversation)
        return self._sink.drain()

    def receive(self, message: str | bytes, now: float) -> list[Output]:
        """Take one WebSocket message in."""
        event = decode(message)
        if isinstance(event, Unusable):
            self._refuse(event.mistake, event.event_id)
        else:
            try:
                self._obey(event, now)
            except errors.ClientError as mistake:
                self._refuse(mistake, event.event_id)
        return self._outputs(now)

    def voice_piece(self, speech_id: str, pcm16_24khz: bytes, now: float) -> list[Output]:
        """Take a piece of a speech in that a `StartSpeech` asked for."""
        self._responses.voice_piece(speech_id, pcm16_24khz, now)
        return self._outputs(now)

    def voice_ended(self, speech_id: str, now: float) -> list[Output]:
        """A speech is complete."""
        self._responses.voice_ended(speech_id, now)
        return self._outputs(now)

    def voice_failed(self, speech_id: str, reason: str, now: float) -> list[Output]:
        """A speech cannot be had: its response fails."""
        self._responses.voice_failed(speech_id, reason, now)
        return self._outputs(now)

    def next_deadline(self) -> float:
        """Return when `handle_timer` wants to be called."""
        return min(self._responses.next_deadline(), self._agenda.next_deadline(), self._expires_at)

    def handle_timer(self, now: float) -> list[Output]:
        """Do what is due."""
        self._agenda.run_due(now)
        self._responses.advance(now)
        if now >= self._expires_at:
            self._expires_at = math.inf
            refusal = errors.session_expired(self.switches.longest_session_s / 60)
            self._sink.error(refusal.error)
            self._sink.do(CloseConnection(refusal.close_code, refusal.close_reason))
        return self._outputs(now)

    # --- client events ---------------------------------------------------------------------------------------------

    def _obey(self, event: ClientEvent, now: float) -> None:
        fields = event.fields
        match event.type:
            case "input_audio_buffer.append":
                self._append(fields["audio"], now)
            case "session.update":
                self._update(fields["session"])
            case "input_audio_buffer.commit":
                self._turns.commit(now)
            case "input_audio_buffer.clear":
                self._turns.clear()
            case "conversation.item.create":
                self._create_item(fields["item"], fields.get("previous_item_id"))
            case "conversation.item.truncate":
                self._truncate(fields)
            case "conversation.item.delete":
                self._conversation.delete(fields["item_id"])
                self._sink.send("conversation.item.deleted", item_id=fields["item_id"])
            case "conversation.item.retrieve":
                item = self._conversation.retrieve(fields["item_id"])
                self._sink.send("conversation.item.retrieved", item=item.with_audio())
            case "response.create":
                self._responses.create(self.object, fields.get("response"), now)
            case "response.cancel":
                self._responses.cancel(fields.get("response_id"), now)

    def _update(self, update: dict[str, Any]) -> None:
        seen = self._responses.assistant_audio_seen
        self.object = updated(self.object, update, assistant_audio_seen=seen)
        self._turns.configure(self.object["audio"]["input"])
        self._sink.send("session.updated", session=self.object)

    def _append(self, text: str, now: float) -> None:
        self._turns.append(_audio(text, "audio"), now, lambda: self._speech_began(now), lambda: self._turn_ended(now))
        if self._turns.idle_due() and self._responses.active is None:
            self._turns.trigger_idle(now)
            self._responses.create(self.object, None, now, About.IDLE)

    def _speech_began(self, now: float) -> None:
        if self._turns.interrupts:
            self._responses.interrupt(now)

    def _turn_ended(self, now: float) -> None:
        if not self._turns.answers:
            return
        if self._responses.active is not None and self.switches.reply_while_active == "defer":
            self._owed = True
            return
        try:
            self._responses.create(self.object, None, now)
        except errors.ClientError as mistake:
            self._refuse(mistake, None)

    def _create_item(self, given: dict[str, Any], after: str | None) -> None:
        if given["type"] == "function_call_output" and not self._conversation.has_call(given["call_id"]):
            raise errors.unknown_call_id(given["call_id"])
        item_id = given.get("id") or self._sink.ids.new("item")
        if self.switches.duplicate_item_ids == "refuse" and self._conversation.find(item_id) is not None:
            text = f"Error adding item: an item with id '{item_id}' exists already."
            raise errors.ClientError(text, "invalid_value", "item.id")
        self._turns.add_item(_new_item(item_id, given, self._turns.audio.format.bytes_per_ms), after)

    def _truncate(self, fields: dict[str, Any]) -> None:
        code = None if self.switches.truncate_error_code == "none" else self.switches.truncate_error_code
        self._conversation.truncate(fields["item_id"], fields["audio_end_ms"], code)
        self._sink.send(
            "conversation.item.truncated",
            item_id=fields["item_id"],
            content_index=fields["content_index"],
            audio_end_ms=fields["audio_end_ms"],
        )

    def _refuse(self, mistake: errors.ClientError, event_id: str | None) -> None:
        self._sink.error(mistake, event_id if self.switches.error_event_ids else None)

    # --- after every input -----------------------------------------------------------------------------------------

    def _outputs(self, now: float) -> list[Output]:
        if self._responses.ended_count > self._responses_ended:
            self._responses_ended = self._responses.ended_count
            self._turns.response_ended(self._responses.last_audio_ms)
            if self._owed and self._responses.active is None:
                self._owed = False
                self._turn_ended(now)
        return self._sink.drain()


def _audio(text: str, param: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        message = f"Invalid '{param}'. Expected base64-encoded audio bytes, but got an invalid value."
        raise errors.ClientError(message, "invalid_value", param) from None


def _new_item(item_id: str, given: dict[str, Any], bytes_per_ms: int) -> Item:
    """Build an item from what a client created; its audio leaves the body, which the wire shows without it."""
    audio = bytearray()
    body: dict[str, Any] = {"id": item_id, "type": given["type"]}
    if given["type"] not in ("function_call_output", "mcp_approval_response"):
        body["status"] = given.get("status") or "completed"
    handled = ("id", "type", "object", "status", "content")
    body |= {key: value for key, value in given.items() if key not in handled and value is not None}
    if "content" in given:
        body["content"] = []
        for index, part in enumerate(given["content"]):
            if part["type"] == "input_audio":
                audio += _audio(part["audio"], f"item.content[{index}].audio")
                part = {"type": "input_audio", "transcript": part.get("transcript")}
            elif part["type"] == "output_audio":
                part = {"type": "output_text", "text": part["text"]}
            body["content"].append(part)
    return Item(body, audio, audio_ms=len(audio) // bytes_per_ms, spoken_ms=len(audio) // bytes_per_ms)
