"""One response, from `response.created` to `response.done`: a list of steps, and the time at which the next one is due.

Steps are data. Whoever cuts a response short (a cancel, a barge-in, a limit, a failing voice) replaces the steps that are left by
those that close what is open; there is no other way out, and `response.done` is always the last step.

    Pause(s)            let time pass
    Open(item)          announce an item
    Lead(item, n)       send n pieces of the transcript ahead of the audio
    Stream(item)        send audio deltas at the response's pace, the transcript running ahead; waits for the voice
    Write(item)         send text or arguments, piece by piece
    Straggle(item)      send one more delta although the response was cancelled
    Close(item, status) end an item
    Finish(status, …)   response.done
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from attrs import define, field, frozen

from trio_voice.realtime_server.answers import Answer, CallFunction, Ending, Say
from trio_voice.realtime_server.conversation import Conversation, Item
from trio_voice.realtime_server.events import EventSink, StartSpeech, StopSpeech
from trio_voice.realtime_server.output_items import OutputItem
from trio_voice.realtime_server.response_request import ResponseRequest
from trio_voice.realtime_server.speech_stream import TOKEN_MS, SpeechStream
from trio_voice.realtime_server.switches import Switches
from trio_voice.realtime_server.usage import OutputTokens, usage

LEAD_PIECES = 4
_TEXT_PIECE_S = 0.02
_ARGUMENTS_PIECE_S = 0.01
_ESTIMATED_MS_A_CHARACTER = 65


@frozen
class Pause:
    """Let time pass."""

    seconds: float


@frozen
class Open:
    """Announce an item."""

    out: OutputItem


@frozen
class Lead:
    """Send the first pieces of the transcript."""

    out: OutputItem


@frozen
class Stream:
    """Send the item's audio."""

    out: OutputItem


@frozen
class Write:
    """Send text or arguments."""

    out: OutputItem


@frozen
class Straggle:
    """Send a delta that comes too late."""

    out: OutputItem


@frozen
class Close:
    """End an item."""

    out: OutputItem
    status: str = "completed"


@frozen
class Finish:
    """End the response."""

    status: str
    details: dict[str, Any] | None = None


Step = Pause | Open | Lead | Stream | Write | Straggle | Close | Finish


@define
class ResponseRun:
    """A response that is being made. `advance` does what is due; the voice's pieces come in by `voice_*`."""

    id: str
    request: ResponseRequest
    answer: Answer
    sink: EventSink
    switches: Switches
    conversation: Conversation | None
    """None for an out-of-band response."""
    conversation_id: str | None
    input_tokens: tuple[int, int]
    status: str = field(default="in_progress", init=False)
    details: dict[str, Any] | None = field(default=None, init=False)
    ending: bool = field(default=False, init=False)
    """Cancelled or cut short: only closing steps are left."""
    outs: list[OutputItem] = field(factory=list, init=False)
    _steps: deque[Step] = field(factory=deque, init=False)
    _at: float = field(default=0.0, init=False)
    _voice_until: float | None = field(default=None, init=False)  # waiting for the voice, until then
    _speeches: dict[str, OutputItem] = field(factory=dict, init=False)  # those whose voice has not ended

    # --- its life --------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Send `response.created` and plan the rest."""
        self._at = now
        self.sink.send("response.created", response=self._wire())
        self._steps.extend(self._plan())
        spoken = next((out for out in self.outs if out.speech is not None), None)
        if spoken is not None:
            self._start_voice(spoken)
        self.advance(now)

    @property
    def over(self) -> bool:
        """Whether `response.done` has been sent."""
        return self.status != "in_progress"

    @property
    def audio_ms(self) -> int:
        """Audio sent so far, over all items."""
        return sum(out.sent_ms for out in self.outs)

    def next_deadline(self) -> float:
        """Return when `advance` wants to be called (infinity: never, it is over)."""
        if not self._steps:
            return math.inf
        return self._at if self._voice_until is None else self._voice_until

    def advance(self, now: float) -> None:
        """Do every step that is due."""
        if self._voice_until is not None and now >= self._voice_until:
            self.fail(now, "server_error", None, "The voice did not speak in time.")
        while self._steps and self._voice_until is None and self._at <= now:
            self._perform(self._steps[0], now)

    def cancel(self, now: float, reason: str, delay_ms: int, stragglers: int = 0) -> None:
        """Cut it short: `reason` is client_cancelled or turn_detected; what is open closes after `delay_ms`."""
        streaming = self._streaming()
        late: list[Step] = []
        if streaming is not None:
            each_s = delay_ms / 1000 / (stragglers + 1)
            for _ in range(stragglers):
                late += [Pause(each_s), Straggle(streaming)]
            delay_ms -= round(each_s * 1000) * stragglers
        late.append(Pause(delay_ms / 1000))
        self._cut(now, "cancelled", {"type": "cancelled", "reason": reason}, late)

    def fail(self, now: float, error_type: str, code: str | None, message: str) -> None:
        """End it as failed."""
        error = {"type": error_type, "code": code, "message": message}
        self._cut(now, "failed", {"type": "failed", "error": error}, [])

    # --- the voice -------------------------------------------------------------------------------------------------

    def voice_piece(self, speech_id: str, pcm16_24khz: bytes, now: float) -> None:
        """Take audio of the voice in; for a speech that nobody wants any more it is dropped."""
        out = self._speeches.get(speech_id)
        if out is not None and out.speech is not None:
            out.speech.add(pcm16_24khz)
            self._voice_spoke(now)

    def voice_ended(self, speech_id: str, now: float) -> None:
        """The voice has spoken the whole text."""
        out = self._speeches.pop(speech_id, None)
        if out is not None and out.speech is not None:
            out.speech.end()
            self._voice_spoke(now)

    def speaks(self, speech_id: str) -> bool:
        """Whether this speech belongs to it and is still wanted."""
        return speech_id in self._speeches

    def _voice_spoke(self, now: float) -> None:
        if self._voice_until is not None:
            self._voice_until = None
            self._at = max(self._at, now)
            self.advance(now)

    def _start_voice(self, out: OutputItem) -> None:
        if out.item.id not in self._speeches and out.speech is not None and not out.speech.ended:
            self._speeches[out.item.id] = out
            self.sink.do(StartSpeech(out.item.id, out.text, self.request.voice_name, self.request.speed))

    # --- planning --------------------------------------------------------------------------------------------------

    def _plan(self) -> list[Step]:
        switches = self.switches
        steps: list[Step] = [Pause((self.answer.delay_ms + switches.first_transcript_ms) / 1000)]
        ending = self.answer.ending
        if ending is not None and ending.status == "failed" and not ending.after_ms:
            return [Pause(self.answer.delay_ms / 1000), _finish(ending)]
        closing: list[Step] = []
        for part in self.answer.parts:
            out = self._output_item(part)
            self.outs.append(out)
            steps += [Open(out), *closing] if switches.overlapping_items else [*closing, Open(out)]
            steps += self._filling(out)
            closing = [Close(out)]
        return [*steps, *closing, Finish("completed")]

    def _filling(self, out: OutputItem) -> list[Step]:
        if out.speech is None:
            return [Write(out)]
        lead_s = max(0, self.switches.first_audio_ms - self.switches.first_transcript_ms) / 1000
        return [Lead(out), Pause(lead_s), Stream(out)]

    def _output_item(self, part: Say | CallFunction) -> OutputItem:
        ids = self.sink.ids
        body: dict[str, Any]
        speech = None
        if isinstance(part, Say):
            body = {"id": ids.new("item"), "type": "message", "status": "in_progress", "role": "assistant", "content": []}
            if self.request.names_phases:
                body["phase"] = part.phase or "final_answer"
            text = part.text
            if self.request.speaks:
                speech = SpeechStream(self.request.format, self.switches.delta_ms, self.switches.tail_silence_ms)
        else:
            body = {
                "id": ids.new("item"),
                "type": "function_call",
                "status": "in_progress",
                "name": part.name,
                "call_id": ids.new("call"),
                "arguments": "",
            }
            text = part.arguments
        item = Item(body, audio_format=self.request.format.item_name)
        return OutputItem(self.id, len(self.outs), item, self.sink, self.conversation, self.switches, text, speech)

    # --- performing ------------------------------------------------------------------------------------------------

    def _perform(self, step: Step, now: float) -> None:
        """Do one step, and take it off the list unless it goes on later (or has replaced the list)."""
        match step:
            case Pause(seconds):
                self._at += seconds
            case Open(out):
                out.open()
                self._start_voice(out)
            case Lead(out):
                out.write_pieces(LEAD_PIECES)
            case Stream(out):
                if not self._stream(out, now):
                    return
            case Write(out):
                if not self._write(out, now):
                    return
            case Straggle(out):
                out.send_late_audio()
            case Close(out, status):
                out.close(status)
            case Finish(status, details):
                self._finish(status, details)
        self._steps.popleft()

    def _stream(self, out: OutputItem, now: float) -> bool:
        """Send one delta; return whether the audio is complete."""
        assert out.speech is not None
        if not out.speech.finished:
            if self._limit_reached(self.switches.delta_ms // TOKEN_MS):
                self._cut_at_limit(now)
                return False
            audio = out.speech.next_delta()
            if audio is None:
                self._voice_until = now + self.switches.voice_timeout_s
                return False
            out.send_audio(audio)
            estimated_ms = out.speech.total_ms if out.speech.ended else len(out.text) * _ESTIMATED_MS_A_CHARACTER
            out.write_pieces(out.pieces_due(LEAD_PIECES, estimated_ms))
            ending = self.answer.ending
            if ending is not None and ending.after_ms and self.audio_ms >= ending.after_ms:
                self._cut(now, ending.status, _details(ending), [])
                return False
        if out.speech.finished:
            out.write_pieces(len(out.pieces))
            return True
        self._at += self.switches.delta_ms / 1000 / self.switches.pace if self.switches.pace else 0.0
        return False

    def _write(self, out: OutputItem, now: float) -> bool:
        """Send one piece; return whether the text is complete."""
        if self._limit_reached(1):
            self._cut_at_limit(now)
            return False
        if out.write():
            self._at += _ARGUMENTS_PIECE_S if out.is_call else _TEXT_PIECE_S
            return False
        return True

    def _limit_reached(self, more_tokens: int) -> bool:
        limit = self.request.max_output_tokens
        return isinstance(limit, int) and self._output_tokens().total + more_tokens > limit

    def _cut_at_limit(self, now: float) -> None:
        self._cut(now, "incomplete", {"type": "incomplete", "reason": "max_output_tokens"}, [])

    def _cut(self, now: float, status: str, details: dict[str, Any], before: list[Step]) -> None:
        """Replace what is left by `before` and the closing of what is open."""
        if self.over or self.ending:
            return
        self.ending = True
        for speech_id in self._speeches:
            self.sink.do(StopSpeech(speech_id))
        self._speeches.clear()
        self._voice_until = None
        self._at = now
        closing = [Close(out, "incomplete") for out in self.outs if out.is_open]
        self._steps = deque([*before, *closing, Finish(status, details)])
        self.advance(now)

    def _streaming(self) -> OutputItem | None:
        return next((out for out in self.outs if out.is_open and out.speech is not None and out.sent_ms), None)

    def _finish(self, status: str, details: dict[str, Any] | None) -> None:
        self.status, self.details = status, details
        self.sink.send("response.done", response=self._wire())

    # --- on the wire -----------------------------------------------------------------------------------------------

    def _output_tokens(self) -> OutputTokens:
        return OutputTokens(sum(out.tokens.text for out in self.outs), sum(out.tokens.audio for out in self.outs))

    def _wire(self) -> dict[str, Any]:
        failed_at_once = self.status == "failed" and not any(out.tokens.total for out in self.outs)
        tokens = (0, 0) if failed_at_once else self.input_tokens
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status,
            "status_details": self.details,
            "output": [out.item.body.copy() for out in self.outs if out.was_opened] if self.over else [],
            "conversation_id": self.conversation_id,
            "output_modalities": self.request.output_modalities,
            "max_output_tokens": self.request.max_output_tokens,
            "audio": {"output": {"format": self.request.wire_format, "voice": self.request.voice}},
            "usage": usage(*tokens, self._output_tokens()) if self.over else None,
            "metadata": self.request.metadata,
        }


def _details(ending: Ending) -> dict[str, Any]:
    if ending.status == "failed":
        error = {"type": ending.error_type, "code": ending.error_code, "message": ending.error_message}
        return {"type": "failed", "error": error}
    return {"type": ending.status, "reason": ending.reason}


def _finish(ending: Ending) -> Finish:
    return Finish(ending.status, _details(ending))
