"""The responses of a session: at most one in the conversation, any number (within a limit) out of band.

Source: OpenAI Realtime API reference.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import define, field

from trio_voice.realtime_server import errors_on_the_wire as errors
from trio_voice.realtime_server.agenda import Agenda
from trio_voice.realtime_server.answers import About, Thinking
from trio_voice.realtime_server.conversation import Conversation, Item
from trio_voice.realtime_server.events import EventSink
from trio_voice.realtime_server.prompts import read_prompt
from trio_voice.realtime_server.response_request import ResponseRequest, resolve
from trio_voice.realtime_server.response_run import ResponseRun
from trio_voice.realtime_server.switches import Switches
from trio_voice.realtime_server.usage import input_tokens

MOST_OUT_OF_BAND = 16
_TOKENS_A_MINUTE = 40_000


@define
class Responses:
    """Creates, cancels and advances responses."""

    sink: EventSink
    agenda: Agenda
    conversation: Conversation
    thinking: Thinking
    switches: Switches
    active: ResponseRun | None = field(default=None, init=False)
    """The response of the default conversation that is in progress (or being cancelled)."""
    out_of_band: list[ResponseRun] = field(factory=list, init=False)
    assistant_audio_seen: bool = field(default=False, init=False)
    last_audio_ms: int = field(default=0, init=False)
    """The audio of the last response in the conversation that is over."""
    ended_count: int = field(default=0, init=False)
    _created: int = field(default=0, init=False)

    def create(self, session: dict[str, Any], response: dict[str, Any] | None, now: float, about: About | None = None) -> None:
        """Begin a response. Raises ClientError when one is active, or its settings cannot be obeyed."""
        request = resolve(session, response, assistant_audio_seen=self.assistant_audio_seen)
        if request.in_conversation and self.active is not None:
            raise errors.already_active(self.active.id)
        if not request.in_conversation and len(self.out_of_band) >= MOST_OUT_OF_BAND:
            raise errors.already_active(self.out_of_band[0].id)
        context = self._context(request)
        instructions = session["instructions"] if request.instructions is None else request.instructions
        self._created += 1
        run = ResponseRun(
            self.sink.ids.new("resp"),
            request,
            self.thinking.answer(read_prompt(context, request, self._created, about)),
            self.sink,
            self.switches,
            self.conversation if request.in_conversation else None,
            self.conversation.id if request.in_conversation else None,
            input_tokens(instructions, context),
        )
        if request.in_conversation:
            self.active = run
        else:
            self.out_of_band.append(run)
        run.start(now)
        self._settle(now)

    def cancel(self, response_id: str | None, now: float) -> None:
        """Obey a `response.cancel`. Raises ClientError when there is nothing to cancel."""
        run = self._find(response_id)
        if run is None or run.ending:
            raise errors.cancel_not_active()
        run.cancel(now, "client_cancelled", self.switches.cancel_ms)
        self._settle(now)

    def interrupt(self, now: float) -> None:
        """The caller began to speak and the session lets that interrupt: cancel the conversation's response, if any."""
        if self.active is not None and not self.active.ending:
            self.active.cancel(now, "turn_detected", 0)
            self._settle(now)

    def voice_piece(self, speech_id: str, pcm16_24khz: bytes, now: float) -> None:
        """Take a piece of the voice in."""
        for run in self._all():
            run.voice_piece(speech_id, pcm16_24khz, now)
        self._settle(now)

    def voice_ended(self, speech_id: str, now: float) -> None:
        """A speech is complete."""
        for run in self._all():
            run.voice_ended(speech_id, now)
        self._settle(now)

    def voice_failed(self, speech_id: str, reason: str, now: float) -> None:
        """A speech cannot be had."""
        for run in self._all():
            if run.speaks(speech_id):
                run.fail(now, "server_error", None, f"The server had an error while speaking: {reason}")
        self._settle(now)

    def next_deadline(self) -> float:
        """Return when `advance` wants to be called."""
        return min((run.next_deadline() for run in self._all()), default=float("inf"))

    def advance(self, now: float) -> None:
        """Do what is due."""
        for run in self._all():
            run.advance(now)
        self._settle(now)

    def _all(self) -> list[ResponseRun]:
        return [self.active, *self.out_of_band] if self.active is not None else list(self.out_of_band)

    def _find(self, response_id: str | None) -> ResponseRun | None:
        if response_id is None:
            return self.active
        return next((run for run in self._all() if run.id == response_id), None)

    def _settle(self, now: float) -> None:
        """Take those that are over out, and let their rate limits follow."""
        if self.active is not None:
            self.assistant_audio_seen = self.assistant_audio_seen or self.active.audio_ms > 0
            if self.active.over:
                self.last_audio_ms = self.active.audio_ms
                self.ended_count += 1
                self._rate_limits_follow(now)
                self.active = None
        for run in [each for each in self.out_of_band if each.over]:
            self.out_of_band.remove(run)
            self._rate_limits_follow(now)

    def _rate_limits_follow(self, now: float) -> None:
        if self.switches.rate_limits:
            limits = [
                {
                    "name": "tokens",
                    "limit": _TOKENS_A_MINUTE,
                    "remaining": _TOKENS_A_MINUTE - 1000,
                    "reset_seconds": 1.5,
                }
            ]
            send = partial(self.sink.send, "rate_limits.updated", rate_limits=limits)
            self.agenda.add(now + self.switches.rate_limits_ms / 1000, send)

    def _context(self, request: ResponseRequest) -> list[Item]:
        if request.input is None:
            return list(self.conversation.items)
        context = []
        for each in request.input:
            if each["type"] == "item_reference":
                item = self.conversation.find(each["id"])
                if item is None:
                    text = f"Item with item_id '{each['id']}' not found."
                    raise errors.ClientError(text, "invalid_value", "response.input")
                context.append(item)
            else:
                context.append(Item({"id": "", **each}))
        return context
