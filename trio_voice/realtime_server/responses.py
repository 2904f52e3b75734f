"""The responses of a session: at most one in the conversation, any number (within a limit) out of band.

Source: OpenAI Realtime API reference.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from trio_voice.realtime_server import errors_on_the_wire as errors
from trio_voice.realtime_server.agenda import Agenda
from trio_voice.realtime_server.answers import About, Answer, Ending, Thinking
from trio_voice.realtime_server.behaviour import Behaviour
from trio_voice.realtime_server.conversation import Conversation, Item
from trio_voice.realtime_server.events import EventSink
from trio_voice.realtime_server.output_factory import OutputFactory
from trio_voice.realtime_server.prompts import read_prompt
from trio_voice.realtime_server.response_request import ResponseRequest, resolve
from trio_voice.realtime_server.response_run import ResponseRun
from trio_voice.realtime_server.usage import input_tokens

if TYPE_CHECKING:
    from trio_voice.realtime_server.prepared_speech import PreparedSpeech

MOST_OUT_OF_BAND = 16


@frozen
class _Thoughtful:
    """A response that has begun, and whose thinking waits until a turn's words are known."""

    run: ResponseRun
    context: list[Item]
    about: About | None


_TOKENS_A_MINUTE = 40_000
_FAILURES = {
    "rate_limit_exceeded": "Rate limit reached for the model on tokens per min (TPM). Please try again in 1.5s.",
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing details.",
    "server_error": "The server had an error while processing your request. Sorry about that!",
    "inference_rate_limit_exceeded": "The inference rate limit of the deployment was exceeded. Please retry later.",
    "model_not_found": "The model does not exist or you do not have access to it.",
}


@define
class Responses:
    """Creates, cancels and advances responses."""

    sink: EventSink
    agenda: Agenda
    conversation: Conversation
    thinking: Thinking
    behaviour: Behaviour
    prepared: PreparedSpeech | None
    active: ResponseRun | None = field(default=None, init=False)
    """The response of the default conversation that is in progress (or being cancelled)."""
    others: list[ResponseRun] = field(factory=list, init=False)
    """Those out of band, and those whose `response.done` comes late (a fault)."""
    assistant_audio_seen: bool = field(default=False, init=False)
    last_audio_ms: int = field(default=0, init=False)
    """The audio of the last response in the conversation that is over."""
    unheard: set[str] = field(factory=set, init=False)
    """The items of turns whose words are being recognised."""
    _thoughtful: list[_Thoughtful] = field(factory=list, init=False)
    ended_count: int = field(default=0, init=False)
    """The responses in the conversation that are over."""
    _created: int = field(default=0, init=False)

    # --- creating --------------------------------------------------------------------------------------------------

    def create(self, session: dict[str, Any], response: dict[str, Any] | None, now: float, about: About | None = None) -> None:
        """Begin a response. Raises ClientError when one is active, or its settings cannot be obeyed."""
        request = resolve(session, response, assistant_audio_seen=self.assistant_audio_seen)
        self._check_free(request)
        context = self._context(request)
        instructions = session["instructions"] if request.instructions is None else request.instructions
        self._created += 1
        run = ResponseRun(
            self.sink.ids.new("resp"),
            request,
            self.sink,
            self.conversation.id if request.in_conversation else None,
            input_tokens(instructions, context),
            self.behaviour.switches,
            tells_done=not self.behaviour.spend("missing_done", self.behaviour.switches.missing_done),
        )
        if request.in_conversation:
            self.active = run
        else:
            self.others.append(run)
        run.begin(now)
        for late in [each for each in self.others if each.ending]:
            late.release(now)
        self._thoughtful.append(_Thoughtful(run, context, about))
        self.think(now)

    def think(self, now: float) -> None:
        """Carry out those responses whose context is known by now."""
        waiting, self._thoughtful = self._thoughtful, []
        for each in waiting:
            if any(item.id in self.unheard for item in each.context):
                self._thoughtful.append(each)
            else:
                self._carry_out(each.run, self._answer(each.context, each.run.request, each.about), now)

    def _check_free(self, request: ResponseRequest) -> None:
        if request.in_conversation and self.active is not None:
            raise errors.already_active(self.active.id)
        if len(self.others) >= MOST_OUT_OF_BAND:
            raise errors.already_active(self.others[0].id)
        if self.behaviour.spend("refuse_creates", self.behaviour.switches.refuse_creates):
            raise errors.already_active(self.sink.ids.new("resp"))

    def _answer(self, context: list[Item], request: ResponseRequest, about: About | None) -> Answer:
        switches = self.behaviour.switches
        if self.behaviour.spend("fail_responses", switches.fail_responses):
            code = switches.fail_code
            kind = code if code in ("insufficient_quota", "server_error") else "invalid_request_error"
            return Answer(ending=Ending("failed", None, kind, None if code == "server_error" else code, _FAILURES[code]))
        return self.thinking.answer(read_prompt(context, request, self._created, about))

    def _carry_out(self, run: ResponseRun, answer: Answer, now: float) -> None:
        switches = self.behaviour.switches.changed(answer.switches, "the script") if answer.switches else self.behaviour.switches
        conversation = self.conversation if run.request.in_conversation else None
        factory = OutputFactory(run.id, run.request, self.sink, conversation, switches, self.prepared)
        run.carry_out(answer, factory.make(answer), switches, now)
        self._settle(now)

    def _context(self, request: ResponseRequest) -> list[Item]:
        if request.input is None:
            return list(self.conversation.items)
        context = []
        for index, each in enumerate(request.input):
            if each["type"] == "item_reference":
                item = self.conversation.find(each["id"])
                if item is None:
                    text = f"Item with item_id '{each['id']}' not found."
                    raise errors.ClientError(text, "invalid_value", f"response.input[{index}].id")
                context.append(item)
            else:
                context.append(Item({"id": "", **each}))
        return context

    # --- cancelling ------------------------------------------------------------------------------------------------

    def cancel(self, response_id: str | None, now: float) -> None:
        """Obey a `response.cancel`. Raises ClientError when there is nothing to cancel."""
        run = self._find(response_id)
        if run is None or run.ending:
            raise errors.cancel_not_active()
        self._cancel(run, "client_cancelled", self.behaviour.switches.cancel_ms, now)

    def interrupt(self, now: float) -> None:
        """The caller began to speak and the session lets that interrupt: cancel the conversation's response, if any."""
        if self.active is not None and not self.active.ending:
            self._cancel(self.active, "turn_detected", 0, now)

    def _cancel(self, run: ResponseRun, reason: str, delay_ms: int, now: float) -> None:
        late = self.behaviour.switches.late_done and run is self.active
        run.cancel(now, reason, delay_ms, hold=late)
        if late:
            self._seen(run)
            self.others.append(run)
            self.active = None
        self._settle(now)

    def _find(self, response_id: str | None) -> ResponseRun | None:
        if response_id is None:
            return self.active
        return next((run for run in self._all() if run.id == response_id), None)

    # --- going on --------------------------------------------------------------------------------------------------

    def voice_piece(self, speech_id: str, audio: bytes, now: float) -> None:
        """Take a piece of the voice in."""
        for run in self._all():
            run.voice_piece(speech_id, audio, now)
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
        at = math.inf if self.active is None else self.active.next_deadline()
        return min(at, *(run.next_deadline() for run in self.others)) if self.others else at

    def advance(self, now: float) -> None:
        """Do what is due."""
        for run in self._all():
            run.advance(now)
        self._settle(now)

    def _all(self) -> list[ResponseRun]:
        return [self.active, *self.others] if self.active is not None else list(self.others)

    # --- ending ----------------------------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Take those that are over out, and let their rate limits follow."""
        if self.active is not None:
            self._seen(self.active)
            if self.active.over:
                self.last_audio_ms = self.active.audio_ms
                self.ended_count += 1
                self._rate_limits_follow(self.active, now)
                self.active = None
        for run in [each for each in self.others if each.over]:
            self.others.remove(run)
            self._rate_limits_follow(run, now)

    def _seen(self, run: ResponseRun) -> None:
        self.assistant_audio_seen = self.assistant_audio_seen or run.audio_ms > 0

    def _rate_limits_follow(self, run: ResponseRun, now: float) -> None:
        switches = self.behaviour.switches
        if not switches.rate_limits or not run.tells_done:
            return
        spent = sum(run.input_tokens) + run.audio_ms // 50  # what was spent before has come back: 667 tokens a second do
        limits = {
            "name": "tokens",
            "limit": _TOKENS_A_MINUTE,
            "remaining": max(0, _TOKENS_A_MINUTE - spent),
            "reset_seconds": round(spent * 60 / _TOKENS_A_MINUTE, 3),
        }
        send = partial(self.sink.send, "rate_limits.updated", rate_limits=[limits])
        self.agenda.add(now + switches.rate_limits_ms / 1000, send)
