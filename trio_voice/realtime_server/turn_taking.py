"""From appended audio to turns: hearing, speech events, commits, and the idle timeout.

Source: OpenAI Realtime API reference; the order of events as seen on the service's wire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field

from trio_voice.realtime_server.audio_formats import Converter, format_of, to_hearing
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.conversation import Conversation, Item
from trio_voice.realtime_server.events import EventSink
from trio_voice.realtime_server.hearing import BYTES_PER_MS, Hearing, HearingSettings, SpeechBegan
from trio_voice.realtime_server.input_audio import InputAudio

_SEMANTIC_SILENCE_MS = {"low": 2000, "medium": 1000, "auto": 1000, "high": 500}
"""semantic_vad waits for the sentence's end by meaning; here by a silence that is longer the less eager it is."""
_HEARING_FRAME_MS = 32
_IDLE_PROMPT = (
    "No speech was detected for a while. The caller may be silent, or the audio may not reach you: check the last audio, and "
    "follow up with the caller."
)


def hearing_settings(turn_detection: dict[str, Any]) -> HearingSettings:
    """Translate a session's `turn_detection`."""
    if turn_detection["type"] == "semantic_vad":
        return HearingSettings(silence_duration_ms=_SEMANTIC_SILENCE_MS[turn_detection["eagerness"]])
    return HearingSettings(
        threshold=float(turn_detection["threshold"]),
        prefix_padding_ms=turn_detection["prefix_padding_ms"],
        silence_duration_ms=turn_detection["silence_duration_ms"],
    )


@define
class TurnTaking:
    """The input side of a session."""

    sink: EventSink
    conversation: Conversation
    behaviour: Behaviour
    audio: InputAudio
    new_hearing: Callable[[HearingSettings], Hearing]
    on_commit: Callable[[Item, float], None]
    """Called with every turn that was committed, and the time."""
    on_speech: Callable[[float], None]
    """Called with the time when speech begins."""
    on_turn: Callable[[float], None]
    """Called with the time when a turn has been committed by the detector."""
    keeps_audio: bool = True
    """Items keep the caller's audio, for `conversation.item.retrieve`."""
    turn_detection: dict[str, Any] | None = field(default=None, init=False)
    spoken_item_id: str | None = field(default=None, init=False)
    """The item of a turn that has begun and is not committed."""
    _hearing: Hearing | None = field(default=None, init=False)
    _hearing_began_ms: int = field(default=0, init=False)
    _converter: Converter = field(init=False)
    _start_ms: int = field(default=0, init=False)
    _idle_from_ms: float | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._converter = to_hearing(self.audio.format)

    # --- settings --------------------------------------------------------------------------------------------------

    def configure(self, audio_input: dict[str, Any]) -> None:
        """Take the session's `audio.input` over."""
        new_format = format_of(audio_input["format"])
        if new_format is not self.audio.format:
            self.audio.change_format(new_format)
            self._converter = to_hearing(new_format)
        if audio_input["turn_detection"] == self.turn_detection:
            return
        self.turn_detection = audio_input["turn_detection"]
        if self.turn_detection is None:
            self._hearing = None
            self.spoken_item_id = None
        elif self._hearing is None:
            self._begin_to_hear(hearing_settings(self.turn_detection))
        else:
            self._hearing.settings = hearing_settings(self.turn_detection)

    def _begin_to_hear(self, settings: HearingSettings) -> None:
        """Start a detector whose frames are those of the session's clock: it begins at the last multiple of 32 ms."""
        clock_ms = int(self.audio.clock_ms)
        self._hearing_began_ms = clock_ms // _HEARING_FRAME_MS * _HEARING_FRAME_MS
        self._hearing = self.new_hearing(settings)
        self._hearing.hear(bytes((clock_ms - self._hearing_began_ms) * BYTES_PER_MS))

    @property
    def _flags(self) -> dict[str, Any]:
        return self.turn_detection or {}

    @property
    def interrupts(self) -> bool:
        """Whether speech cancels the active response."""
        return bool(self._flags.get("interrupt_response"))

    @property
    def answers(self) -> bool:
        """Whether a turn's end asks for a response."""
        return bool(self._flags.get("create_response"))

    @property
    def _padding_ms(self) -> int | None:
        """What a commit may take when detection is on and nobody speaks; None: everything."""
        if self._hearing is None or self.spoken_item_id is not None:
            return None
        return self._hearing.settings.prefix_padding_ms

    # --- audio -----------------------------------------------------------------------------------------------------

    def append(self, audio: bytes, now: float) -> None:
        """Take audio in."""
        self.audio.append(audio)
        if self._hearing is None:
            return
        for heard in self._hearing.hear(self._converter.convert(audio)):
            if isinstance(heard, SpeechBegan):
                self._speech_began(self._on_clock(heard.audio_start_ms))
                self.on_speech(now)
            else:
                self._speech_ended(self._on_clock(heard.audio_end_ms), now)
                self.on_turn(now)
        if self.spoken_item_id is None:
            self.audio.keep_last(self._hearing.settings.prefix_padding_ms)

    def _on_clock(self, hearing_ms: int) -> int:
        return self._hearing_began_ms + hearing_ms

    def _speech_began(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._idle_from_ms = None
        self.spoken_item_id = self.sink.ids.new("item")
        self.sink.send("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=self.spoken_item_id)

    def _speech_ended(self, end_ms: int, now: float) -> None:
        assert self.spoken_item_id is not None
        assert self._hearing is not None
        item_id, self.spoken_item_id = self.spoken_item_id, None
        settings = self._hearing.settings
        self.sink.send("input_audio_buffer.speech_stopped", audio_end_ms=end_ms, item_id=item_id)
        spoken_from_ms = self._start_ms + min(settings.prefix_padding_ms, self._start_ms)
        spoken_ms = max(0, end_ms - settings.silence_duration_ms - spoken_from_ms)
        self._commit(item_id, self.audio.take(self._start_ms, end_ms), spoken_ms, now)

    def commit(self, now: float) -> None:
        """Obey an `input_audio_buffer.commit`. Raises ClientError with less than 100 ms in the buffer."""
        self.audio.check_commit(self._padding_ms)
        padding_ms = self._padding_ms
        item_id, self.spoken_item_id = self.spoken_item_id or self.sink.ids.new("item"), None
        audio = self.audio.take(None if padding_ms is None else self.audio.clock_ms - padding_ms)
        if self._hearing is not None:
            self._hearing.reset()
        self._commit(item_id, audio, len(audio) // self.audio.format.bytes_per_ms, now)

    def clear(self) -> None:
        """Obey an `input_audio_buffer.clear`: a turn that had begun is dropped without a word."""
        self.audio.clear()
        self.spoken_item_id = None
        if self._hearing is not None:
            self._hearing.reset()
        self.sink.send("input_audio_buffer.cleared")

    def _commit(self, item_id: str, audio: bytes, spoken_ms: int, now: float) -> None:
        self._idle_from_ms = None
        duration_ms = len(audio) // self.audio.format.bytes_per_ms
        body = {
            "id": item_id,
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        kept = bytearray(audio) if self.keeps_audio else bytearray()
        item = Item(body, kept, self.audio.format.item_name, duration_ms, spoken_ms)
        self.sink.send("input_audio_buffer.committed", previous_item_id=self.conversation.last_id, item_id=item_id)
        self.add_item(item)
        self.on_commit(item, now)

    def add_item(self, item: Item) -> None:
        """Add an item at the end, and say so."""
        self.announce(item, self.conversation.add(item))

    def announce(self, item: Item, previous_id: str | None) -> None:
        """Say that an item was added and is done."""
        self.sink.send("conversation.item.added", previous_item_id=previous_id, item=item.body.copy())
        quirk = self.behaviour.switches.first_predecessor_is_null and self.conversation.is_first(previous_id)
        self.sink.send("conversation.item.done", previous_item_id=None if quirk else previous_id, item=item.body.copy())

    # --- nobody speaks ---------------------------------------------------------------------------------------------

    def response_ended(self, audio_ms: int) -> None:
        """Start the idle clock: it counts appended audio, from now on and after the response has been heard."""
        self._idle_from_ms = self.audio.clock_ms + audio_ms

    def idle_due(self) -> bool:
        """Whether the idle timeout has passed."""
        if self._idle_from_ms is None or self.spoken_item_id is not None:
            return False
        timeout_ms = self._flags.get("idle_timeout_ms")
        return timeout_ms is not None and self.audio.clock_ms >= self._idle_from_ms + float(timeout_ms)

    def trigger_idle(self, now: float) -> None:
        """Tell the timeout, and commit the silence as an (empty) turn."""
        assert self._idle_from_ms is not None
        start_ms = int(self._idle_from_ms) // _HEARING_FRAME_MS * _HEARING_FRAME_MS
        end_ms = int(self.audio.clock_ms) // _HEARING_FRAME_MS * _HEARING_FRAME_MS
        self._idle_from_ms = None
        item_id = self.sink.ids.new("item")
        self.sink.send("input_audio_buffer.timeout_triggered", audio_start_ms=start_ms, audio_end_ms=end_ms, item_id=item_id)
        body = {
            "id": self.sink.ids.new("item"),
            "type": "message",
            "status": "completed",
            "role": "system",
            "content": [{"type": "input_text", "text": _IDLE_PROMPT}],
        }
        self.add_item(Item(body))
        self._commit(item_id, self.audio.take(start_ms), 0, now)
