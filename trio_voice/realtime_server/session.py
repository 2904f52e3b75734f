"""One session of the Realtime protocol, without I/O: messages and the time in, outputs and the next deadline out.

The shell calls `open` once, then `receive`, `voice_piece`, `voice_ended`, `voice_failed` and `handle_timer` as things happen,
performs the outputs of each in order, and calls `handle_timer` when `next_deadline` comes. Nothing that a client sends raises.
Source: OpenAI Realtime API reference.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from trio_voice.realtime_server import errors_on_the_wire as errors
from trio_voice.realtime_server.agenda import Agenda
from trio_voice.realtime_server.answers import About, Heard, Thinking
from trio_voice.realtime_server.audio_formats import PCM, to_pcm16_8khz
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.caller_transcripts import CallerTranscripts
from trio_voice.realtime_server.client_events import ClientEvent, Unusable, decode
from trio_voice.realtime_server.client_items import audio_bytes, new_item
from trio_voice.realtime_server.conversation import Conversation, Item
from trio_voice.realtime_server.events import CloseConnection, EventSink, Output, Recognise
from trio_voice.realtime_server.hearing import Hearing, HearingSettings
from trio_voice.realtime_server.identifiers import Identifiers
from trio_voice.realtime_server.input_audio import InputAudio
from trio_voice.realtime_server.mcp_listing import McpListing
from trio_voice.realtime_server.responses import Responses
from trio_voice.realtime_server.session_object import new_realtime_session, new_transcription_session, updated
from trio_voice.realtime_server.turn_taking import TurnTaking

if TYPE_CHECKING:
    from trio_voice.realtime_server.prepared_speech import PreparedSpeech

BUFFER_LIMIT_BYTES = 64 * 1024 * 1024
RECOGNITION_TIMEOUT_S = 3.0


@frozen
class _Listening:
    """Somebody is recognising the caller's turn of this number, and may take until then."""

    turn: int
    until: float


@define
class Session:
    """The whole state of one connection. `model` is empty for a transcription session: it hears and never answers."""

    model: str
    thinking: Thinking
    behaviour: Behaviour = field(factory=Behaviour)
    random: random.Random = field(factory=random.Random)
    new_hearing: Callable[[HearingSettings], Hearing] = Hearing
    recognises: bool = False
    """Somebody tells the words of the caller's turns (`Recognise`, answered by `recognised`)."""
    prepared: PreparedSpeech | None = None
    """Load tests: audio that is there already; items keep none."""
    id: str = field(init=False)
    object: dict[str, Any] = field(factory=dict, init=False)
    """The effective session object, as `session.updated` shows it."""
    _sink: EventSink = field(init=False)
    _agenda: Agenda = field(factory=Agenda, init=False)
    _conversation: Conversation = field(init=False)
    _responses: Responses = field(init=False)
    _turns: TurnTaking = field(init=False)
    _transcripts: CallerTranscripts = field(init=False)
    _mcp: McpListing = field(init=False)
    _expires_at: float = field(default=math.inf, init=False)
    _owed: bool = field(default=False, init=False)  # a turn's answer waits for the active response (a switch)
    _late_acks: list[Callable[[], None]] = field(factory=list, init=False)
    _responses_ended: int = field(default=0, init=False)
    _listening: dict[str, _Listening] = field(factory=dict, init=False)  # to turns that are being recognised, by item
    _turn_count: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        ids = Identifiers(self.random)
        self.id = ids.new("sess")
        sink = self._sink = EventSink(ids, self.behaviour)
        self._conversation = Conversation(ids.new("conv"))
        self._responses = Responses(sink, self._agenda, self._conversation, self.thinking, self.behaviour, self.prepared)
        buffer = InputAudio(PCM, BUFFER_LIMIT_BYTES)
        keeps = self.prepared is None
        happens = (self._turn_committed, self._speech_began, self._turn_ended)
        self._turns = TurnTaking(sink, self._conversation, self.behaviour, buffer, self.new_hearing, *happens, keeps)
        self._transcripts = CallerTranscripts(sink, self._agenda, self.behaviour, self.random)
        self._mcp = McpListing(sink, self._agenda, self._conversation, self.thinking)

    # --- the surface -----------------------------------------------------------------------------------------------

    def open(self, now: float, unix_time_s: float) -> list[Output]:
        """Begin: `session.created`."""
        longest_s = self.behaviour.switches.longest_session_s
        self._expires_at = now + longest_s
        expires = int(unix_time_s + longest_s)
        if self.model:
            self.object = new_realtime_session(self.model, self.id, expires)
        else:
            self.object = new_transcription_session(self.id, expires)
        self._turns.configure(self.object["audio"]["input"])
        self._sink.send("session.created", session=self.object)
        if self.behaviour.switches.conversation_created:
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

    def voice_piece(self, speech_id: str, audio: bytes, now: float) -> list[Output]:
        """Take a piece of a speech in that a `StartSpeech` asked for."""
        self._responses.voice_piece(speech_id, audio, now)
        return self._outputs(now)

    def voice_ended(self, speech_id: str, now: float) -> list[Output]:
        """A speech is complete."""
        self._responses.voice_ended(speech_id, now)
        return self._outputs(now)

    def voice_failed(self, speech_id: str, reason: str, now: float) -> list[Output]:
        """A speech cannot be had: its response fails."""
        self._responses.voice_failed(speech_id, reason, now)
        return self._outputs(now)

    def recognised(self, item_id: str, text: str, now: float) -> list[Output]:
        """Somebody tells what a turn said; nothing: it could not be told."""
        self._end_listening(item_id, text, now)
        return self._outputs(now)

    def next_deadline(self) -> float:
        """Return when `handle_timer` wants to be called."""
        at = min(self._responses.next_deadline(), self._agenda.next_deadline(), self._expires_at)
        return min(at, *(each.until for each in self._listening.values())) if self._listening else at

    def handle_timer(self, now: float) -> list[Output]:
        """Do what is due."""
        for item_id in [item_id for item_id, each in self._listening.items() if now >= each.until]:
            self._end_listening(item_id, "", now)
        self._agenda.run_due(now)
        self._responses.advance(now)
        if now >= self._expires_at:
            self._expires_at = math.inf
            refusal = errors.session_expired(self.behaviour.switches.longest_session_s / 60)
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
                self._update(fields["session"], now)
            case "input_audio_buffer.commit":
                self._turns.commit(now)
            case "input_audio_buffer.clear":
                self._turns.clear()
            case "response.create":
                self._check_answers()
                self._responses.create(self.object, fields.get("response"), now)
            case "response.cancel":
                self._responses.cancel(fields.get("response_id"), now)
            case _:
                self._obey_about_items(event.type, fields)

    def _obey_about_items(self, kind: str, fields: dict[str, Any]) -> None:
        match kind:
            case "conversation.item.create":
                self._create_item(fields["item"], fields.get("previous_item_id"))
            case "conversation.item.truncate":
                self._truncate(fields)
            case "conversation.item.delete":
                self._conversation.delete(fields["item_id"])
                self._sink.send("conversation.item.deleted", item_id=fields["item_id"])
            case "conversation.item.retrieve":
                item = self._conversation.retrieve(fields["item_id"])
                typed = self.behaviour.switches.retrieved_parts == "typed"
                self._sink.send("conversation.item.retrieved", item=item.with_audio(typed=typed))

    def _check_answers(self) -> None:
        if not self.model:
            text = "Responses cannot be created in a transcription session."
            raise errors.ClientError(text, "invalid_parameter", "type")

    def _update(self, update: dict[str, Any], now: float) -> None:
        if self.behaviour.spend("reject_updates", self.behaviour.switches.reject_updates):
            raise errors.ClientError("The session could not be updated.", "session_update_error", "session", "server_error")
        self.object = updated(
            self.object,
            update,
            assistant_audio_seen=self._responses.assistant_audio_seen,
            responding=self._responses.active is not None,
        )
        self._turns.configure(self.object["audio"]["input"])
        self._sink.send("session.updated", session=self.object)
        self._mcp.declare(self.object.get("tools", []), now)

    def _append(self, text: str, now: float) -> None:
        audio = audio_bytes(text, "audio")
        self._turns.append(audio, now)
        if self._turns.idle_due() and self._responses.active is None:
            self._turns.trigger_idle(now)
            self._responses.create(self.object, None, now, About.IDLE)

    def _speech_began(self, now: float) -> None:
        if self._turns.interrupts:
            self._responses.interrupt(now)

    def _turn_committed(self, item: Item, now: float) -> None:
        self._turn_count += 1
        if self.recognises and item.audio:
            self._listening[item.id] = _Listening(self._turn_count, now + RECOGNITION_TIMEOUT_S)
            self._responses.unheard.add(item.id)
            self._sink.do(Recognise(item.id, to_pcm16_8khz(bytes(item.audio), self._turns.audio.format)))
        else:
            self._transcribe(item, self._turn_count, "", now)

    def _end_listening(self, item_id: str, text: str, now: float) -> None:
        listening = self._listening.pop(item_id, None)
        if listening is None:
            return
        self._responses.unheard.discard(item_id)
        item = self._conversation.find(item_id)
        if item is not None:
            self._transcribe(item, listening.turn, text, now)
        self._responses.think(now)

    def _transcribe(self, item: Item, turn: int, recognised: str, now: float) -> None:
        """Let the transcript follow, if the session wants one: of what was recognised, else of what the script says."""
        heard = self.thinking.heard(turn, item.spoken_ms)
        if recognised:
            heard = Heard(recognised, heard.fails)
        if heard.words_known:
            item.words = heard.transcript
        transcription = self.object["audio"]["input"]["transcription"]
        if transcription is not None:
            self._transcripts.follow(item, heard, transcription, self.object.get("include") or (), now)

    def _turn_ended(self, now: float) -> None:
        if not self._turns.answers or not self.model:
            return
        if self._responses.active is not None and self.behaviour.switches.reply_while_active == "defer":
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
        switches = self.behaviour.switches
        if switches.duplicate_item_ids == "refuse" and self._conversation.find(item_id) is not None:
            text = f"Error adding item: an item with id '{item_id}' exists already."
            raise errors.ClientError(text, "invalid_value", "item.id")
        item = new_item(item_id, given, self._turns.audio.format, self._sink.ids)
        twice = self._conversation.find(item_id) is not None
        previous_id = self._conversation.add(item, after)
        if twice:
            previous_id = item_id  # as the service does: it looks the predecessor up by the item's own id
        if switches.late_item_acks and self._responses.active is not None:
            self._late_acks.append(partial(self._turns.announce, item, previous_id))
        else:
            self._turns.announce(item, previous_id)

    def _truncate(self, fields: dict[str, Any]) -> None:
        if fields["content_index"]:
            raise errors.invalid_value("content_index", str(fields["content_index"]), ("0",))
        code = self.behaviour.switches.truncate_error_code
        self._conversation.truncate(fields["item_id"], fields["audio_end_ms"], None if code == "none" else code)
        self._sink.send(
            "conversation.item.truncated",
            item_id=fields["item_id"],
            content_index=fields["content_index"],
            audio_end_ms=fields["audio_end_ms"],
        )

    def _refuse(self, mistake: errors.ClientError, event_id: str | None) -> None:
        self._sink.error(mistake, event_id if self.behaviour.switches.error_event_ids else None)

    # --- after every input -----------------------------------------------------------------------------------------

    def _outputs(self, now: float) -> list[Output]:
        if self._responses.ended_count > self._responses_ended:
            self._responses_ended = self._responses.ended_count
            self._response_ended(now)
        return self._sink.drain()

    def _response_ended(self, now: float) -> None:
        self._turns.response_ended(self._responses.last_audio_ms)
        acks, self._late_acks = self._late_acks, []
        for announce in acks:
            announce()
        if self._owed and self._responses.active is None:
            self._owed = False
            self._turn_ended(now)
