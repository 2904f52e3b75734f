"""One response, from `response.created` to `response.done`: a list of steps, and the time at which the next one is due.

Steps are data. Whoever cuts a response short (a cancel, a barge-in, a limit, a failing voice) replaces the steps that are left by
those that close what is open; there is no other way out, and `Finish` is always the last step.

    Pause(s)              let time pass
    Open(item)            announce an item
    Lead(item)            send the first pieces of the transcript, ahead of the audio
    Stream(item)          send audio deltas at the response's pace, the transcript running ahead; waits for the voice
    Write(item)           send text or arguments, piece by piece
    Straggle(item)        send one more delta although the response was cancelled
    Close(item, status)   end an item
    Hold(s)               wait for the next response.created, at most so long
    Finish(status, …)     response.done
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from attrs import define, field, frozen

from trio_voice.realtime_server.answers import Answer
from trio_voice.realtime_server.events import EventSink, StartSpeech, StopSpeech
from trio_voice.realtime_server.output_items import OutputItem, SpokenMessage
from trio_voice.realtime_server.response_request import ResponseRequest
from trio_voice.realtime_server.speech_stream import TOKEN_MS
from trio_voice.realtime_server.switches import Switches
from trio_voice.realtime_server.usage import OutputTokens, usage

LEAD_PIECES = 4
HOLD_S = 2.0
_TEXT_PIECE_S = 0.02
_ARGUMENTS_PIECE_S = 0.01
_ESTIMATED_MS_A_CHARACTER = 65
_UNLIMITED = 1 << 30


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

    out: SpokenMessage


@frozen
class Write:
    """Send text or arguments."""

    out: OutputItem
    piece_s: float


@frozen
class Straggle:
    """Send a delta that comes too late."""

    out: SpokenMessage


@frozen
class Close:
    """End an item."""

    out: OutputItem
    status: str = "completed"


@frozen
class Hold:
    """Wait to be released."""

    seconds: float


@frozen
class Finish:
    """End the response."""

    status: str
    details: dict[str, Any] | None = None


Step = Pause | Open | Lead | Stream | Write | Straggle | Close | Hold | Finish


@define
class ResponseRun:
    """A response that is being made. `advance` does what is due; the voice's pieces come in by `voice_*`."""

    id: str
    request: ResponseRequest
    sink: EventSink
    conversation_id: str | None
    input_tokens: tuple[int, int]
    switches: Switches
    tells_done: bool = True
    """A fault: its `response.done` is never sent."""
    answer: Answer = field(factory=Answer, init=False)
    status: str = field(default="in_progress", init=False)
    details: dict[str, Any] | None = field(default=None, init=False)
    ending: bool = field(default=False, init=False)
    """Cancelled or cut short: only closing steps are left."""
    outs: list[OutputItem] = field(factory=list, init=False)
    _steps: deque[Step] = field(factory=deque, init=False)
    _at: float = field(default=math.inf, init=False)
    _began_at: float = field(default=0.0, init=False)
    _voice_until: float | None = field(default=None, init=False)  # waiting for the voice, until then
    _speeches: dict[str, SpokenMessage] = field(factory=dict, init=False)  # those whose voice has not ended
    _released: bool = field(default=False, init=False)
    _stall_s: float = field(default=0.0, init=False)

    # --- its life --------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Send `response.created`."""
        self._began_at = now
        self.sink.send("response.created", response=self._wire())

    def carry_out(self, answer: Answer, outs: list[OutputItem], switches: Switches, now: float) -> None:
        """Take the answer, as the items it is made of, and plan the rest. An answer that comes too late is dropped."""
        if self.ending or self.over:
            return
        self.answer, self.outs, self.switches = answer, outs, switches
        self._at = self._began_at
        self._stall_s = switches.stall_ms / 1000
        self._steps.extend(self._plan())
        spoken = next((out for out in outs if isinstance(out, SpokenMessage)), None)
        if spoken is not None:
            self._start_voice(spoken)
        self.advance(now)

    @property
    def over(self) -> bool:
        """Whether `response.done` has been sent (or would have been)."""
        return self.status != "in_progress"

    @property
    def audio_ms(self) -> int:
        """Audio sent so far, over all items."""
        return sum(out.sent_ms for out in self.outs if isinstance(out, SpokenMessage))

    def next_deadline(self) -> float:
        """Return when `advance` wants to be called (infinity: never)."""
        if not self._steps:
            return math.inf
        return self._at if self._voice_until is None else self._voice_until

    def advance(self, now: float) -> None:
        """Do every step that is due."""
        if self._voice_until is not None and now >= self._voice_until:
            self.fail(now, "server_error", None, "The voice did not speak in time.")
        while self._steps and self._voice_until is None and self._at <= now:
            self._perform(self._steps[0], now)

    def cancel(self, now: float, reason: str, delay_ms: int, *, hold: bool) -> None:
        """Cut it short: `reason` is client_cancelled or turn_detected; what is open closes after `delay_ms`.

        With `hold`, `response.done` waits for `release`.
        """
        before: list[Step] = []
        streaming = self._streaming()
        if streaming is not None:
            for _ in range(self.switches.stragglers):
                before += [Pause(delay_ms / 1000 / (self.switches.stragglers + 1)), Straggle(streaming)]
        before.append(Pause(delay_ms / 1000 - sum(step.seconds for step in before if isinstance(step, Pause))))
        after = [Hold(HOLD_S)] if hold else []
        self._cut(now, Finish("cancelled", {"type": "cancelled", "reason": reason}), before, after)

    def release(self, now: float) -> None:
        """Let a held `response.done` go: the next `response.created` has been sent."""
        self._released = True
        if self._steps and isinstance(self._steps[0], Hold):
            self._at = now
            self.advance(now)

    def fail(self, now: float, error_type: str, code: str | None, message: str) -> None:
        """End it as failed."""
        error = {"type": error_type, "code": code, "message": message}
        self._cut(now, Finish("failed", {"type": "failed", "error": error}))

    # --- the voice -------------------------------------------------------------------------------------------------

    def speaks(self, speech_id: str) -> bool:
        """Whether this speech belongs to it and is still wanted."""
        return speech_id in self._speeches

    def voice_piece(self, speech_id: str, audio: bytes, now: float) -> None:
        """Take audio of the voice in, in the response's format; for a speech that nobody wants any more it is dropped."""
        out = self._speeches.get(speech_id)
        if out is not None:
            out.speech.add(audio)
            self._voice_spoke(now)

    def voice_ended(self, speech_id: str, now: float) -> None:
        """The voice has spoken the whole text."""
        out = self._speeches.pop(speech_id, None)
        if out is not None:
            out.speech.end()
            self._voice_spoke(now)

    def _voice_spoke(self, now: float) -> None:
        if self._voice_until is not None:
            self._voice_until = None
            self._at = max(self._at, now)
            self.advance(now)

    def _start_voice(self, out: SpokenMessage) -> None:
        if out.item.id not in self._speeches and not out.speech.ended:
            self._speeches[out.item.id] = out
            request = self.request
            self.sink.do(StartSpeech(out.item.id, out.text, request.voice_name, request.speed, request.format))

    # --- planning --------------------------------------------------------------------------------------------------

    def _plan(self) -> list[Step]:
        ending = self.answer.ending
        if ending is not None and not ending.after_ms and not self.outs:
            return [Pause(self.answer.delay_ms / 1000), Finish(ending.status, ending.details())]
        steps: list[Step] = [Pause((self.answer.delay_ms + self.switches.first_transcript_ms) / 1000)]
        closing: list[Step] = []
        for out in self.outs:
            steps += [Open(out), *closing] if self.switches.overlapping_items else [*closing, Open(out)]
            if isinstance(out, SpokenMessage):
                lead_ms = max(0, self.switches.first_audio_ms - self.switches.first_transcript_ms)
                steps += [Lead(out), Pause(lead_ms / 1000), Stream(out)]
            else:
                steps.append(Write(out, _TEXT_PIECE_S if out.item.role else _ARGUMENTS_PIECE_S))
            closing = [Close(out)]
        finish = Finish("completed") if ending is None else Finish(ending.status, ending.details())
        return [*steps, *closing, finish]

    # --- performing ------------------------------------------------------------------------------------------------

    def _perform(self, step: Step, now: float) -> None:
        """Do one step, and take it off the list unless it goes on later (or has replaced the list)."""
        match step:
            case Pause(seconds):
                self._at += seconds
            case Open(out):
                out.open()
                if isinstance(out, SpokenMessage):
                    self._start_voice(out)
            case Lead(out):
                out.write_pieces(min(LEAD_PIECES, self._tokens_left()))
            case Stream() | Write():
                complete = self._stream(step.out, now) if isinstance(step, Stream) else self._write(step, now)
                if not complete:
                    return
            case Straggle(out):
                out.send_late_audio()
            case Close(out, status):
                out.close(status)
            case Hold(seconds):
                if seconds and not self._released:
                    self._steps[0] = Hold(0.0)
                    self._at += seconds
                    return
            case Finish(status, details):
                self._finish(status, details)
        self._steps.popleft()

    def _stream(self, out: SpokenMessage, now: float) -> bool:
        """Send one delta; return whether the audio is complete."""
        if not out.speech.finished and not self._send_delta(out, now):
            return False
        if out.speech.finished:
            out.write_pieces(self._tokens_left())
            if out.pieces:
                self._cut_at_limit(now)
                return False
            if self.switches.surplus_pcm_ms and out.speech.format.item_name == "pcm16":
                out.send_surplus_audio(self.switches.surplus_pcm_ms)
            return True
        self._at += self.switches.delta_ms / 1000 / self.switches.pace if self.switches.pace else 0.0
        if self._stall_s and self.audio_ms >= self.switches.stall_after_ms:
            self._at += self._stall_s
            self._stall_s = 0.0
        return False

    def _send_delta(self, out: SpokenMessage, now: float) -> bool:
        """Send the next delta and the transcript that goes with it; False: it has to wait, or the response was cut."""
        if self._tokens_left() < self.switches.delta_ms // TOKEN_MS:
            self._cut_at_limit(now)
            return False
        audio = out.speech.next_delta()
        if audio is None:
            self._voice_until = now + self.switches.voice_timeout_s
            return False
        out.send_audio(audio)
        estimated_ms = out.speech.total_ms if out.speech.ended else len(out.text) * _ESTIMATED_MS_A_CHARACTER
        out.write_pieces(min(out.pieces_due(LEAD_PIECES, estimated_ms), self._tokens_left()))
        ending = self.answer.ending
        if ending is not None and ending.after_ms and self.audio_ms >= ending.after_ms:
            self._cut(now, Finish(ending.status, ending.details()))
            return False
        return True

    def _write(self, step: Write, now: float) -> bool:
        """Send one piece; return whether the text is complete."""
        if step.out.pieces and not self._tokens_left():
            self._cut_at_limit(now)
            return False
        if step.out.write():
            self._at += step.piece_s
            return False
        return True

    def _tokens_left(self) -> int:
        limit = self.request.max_output_tokens
        return limit - self._output_tokens().total if isinstance(limit, int) else _UNLIMITED

    def _cut_at_limit(self, now: float) -> None:
        self._cut(now, Finish("incomplete", {"type": "incomplete", "reason": "max_output_tokens"}))

    def _cut(self, now: float, finish: Finish, before: list[Step] | None = None, after: list[Hold] | None = None) -> None:
        """Replace what is left by `before`, the closing of what is open, `after`, and `finish`."""
        if self.over or self.ending:
            return
        self.ending = True
        for speech_id in self._speeches:
            self.sink.do(StopSpeech(speech_id))
        self._speeches.clear()
        self._voice_until = None
        self._at = now
        closing = [Close(out, "incomplete") for out in self.outs if out.is_open]
        self._steps = deque([*(before or []), *closing, *(after or []), finish])
        self.advance(now)

    def _streaming(self) -> SpokenMessage | None:
        open_ones = (out for out in self.outs if isinstance(out, SpokenMessage) and out.is_open and out.sent_ms)
        return next(open_ones, None)

    def _finish(self, status: str, details: dict[str, Any] | None) -> None:
        self.status, self.details = status, details
        if self.tells_done:
            self.sink.send("response.done", response=self._wire())

    # --- on the wire -----------------------------------------------------------------------------------------------

    def _output_tokens(self) -> OutputTokens:
        return OutputTokens(sum(out.tokens.text for out in self.outs), sum(out.tokens.audio for out in self.outs))

    def _wire(self) -> dict[str, Any]:
        failed_at_once = self.status == "failed" and not self._output_tokens().total
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
