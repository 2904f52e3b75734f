"""The lifecycle of one call.

`Call` is told what happened and what time it is, and answers with what to do. Its whole surface is three methods: `receive`,
`next_deadline` and `handle_timer`. It owns the parts (response guard, playback ledger, barge-in gate, turn, sessions, tools, idle
clock, history) and holds what none of them can know alone: what an event of one means for the others.

After every event and every deadline `_settle` asks the questions whose answers do not depend on what has just happened: is the
greeting over, can the call end now, can a waiting session take over, can a waiting request be made, is the line idle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from trio_voice.core import events as e
from trio_voice.core.commands import (
    AddText,
    AppendAudio,
    Close,
    CloseSession,
    Command,
    DeleteItem,
    Discard,
    HangUp,
    Note,
    Purpose,
    Refusal,
    Refuse,
    TruncateItem,
)
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.gate import CAN_PASS, BargeInGate
from trio_voice.core.history import History
from trio_voice.core.idle import IdleClock
from trio_voice.core.playback import Flow, Playback
from trio_voice.core.response import Request, ResponseGuard, merged
from trio_voice.core.sessions import Sessions
from trio_voice.core.settings import CallSettings, Turns, Wording
from trio_voice.core.standing import Standing
from trio_voice.core.states import CallState, ResponseState, TurnState
from trio_voice.core.tools import ToolCalls
from trio_voice.core.turns import CallerTurn
from trio_voice.errors import RemoteProtocolError

NEVER_RETRY = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "invalid_api_key",
        "account_deactivated",
        "billing_hard_limit_reached",
        "invalid_model",
        "missing_model",
        "model_not_found",
        "beta_api_shape_disabled",
    }
)
"""Errors that no retry can mend (OpenAI Realtime API reference, error codes)."""

CANCEL_NOT_ACTIVE = "response_cancel_not_active"
ALREADY_ACTIVE = "conversation_already_has_active_response"
LONGEST_DIGITS = 32
APOLOGY = "apology"


@define
class Call:
    """One call. `apology` is audio in the call's encoding, played when the model cannot speak any more."""

    settings: CallSettings = field(factory=CallSettings)
    wording: Wording = field(factory=Wording)
    apology: bytes = b""
    marks: bool = True
    bytes_per_ms: int = 8
    standing: Standing = field(factory=Standing, init=False)
    deadlines: Deadlines = field(factory=Deadlines, init=False)
    guard: ResponseGuard = field(init=False)
    playback: Playback = field(init=False)
    gate: BargeInGate = field(init=False)
    turn: CallerTurn = field(init=False)
    sessions: Sessions = field(init=False)
    tools: ToolCalls = field(init=False)
    idle: IdleClock = field(init=False)
    history: History = field(factory=History, init=False)
    _out: list[Command] = field(factory=list, init=False)
    _end_reason: str = field(default="", init=False)
    _digits: str = field(default="", init=False)
    _texts: int = field(default=0, init=False)
    _failures: int = field(default=0, init=False)
    _replacements: int = field(default=0, init=False)
    _retry: Request | None = field(default=None, init=False)
    _silent_items: dict[str, str] = field(factory=dict, init=False)
    _truncations: dict[str, int] = field(factory=dict, init=False)
    _media_at: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        settings, standing, deadlines = self.settings, self.standing, self.deadlines
        self.guard = ResponseGuard(settings, standing, deadlines)
        self.playback = Playback(settings, deadlines, self.marks, self.bytes_per_ms)
        self.gate = BargeInGate(settings, standing)
        self.turn = CallerTurn(settings, standing, deadlines)
        self.sessions = Sessions(settings, standing, deadlines, self.bytes_per_ms)
        self.tools = ToolCalls(settings, standing, deadlines)
        self.idle = IdleClock(settings, deadlines)

    # --- the surface

    def receive(self, event: e.Event, now: float) -> list[Command]:
        """Take one event in and return what is to be done about it, in order.

        `now` is in seconds on the call's clock and never decreases. Raises LocalProtocolError for a bug of ours.
        """
        state = self.standing.call
        if state is CallState.CLOSED or (state is CallState.HANGING_UP and type(event) is not e.CallerHungUp):
            return []
        out: list[Command] = []
        self._out = out
        if type(event) is e.CallerAudio:
            self._on_caller_audio(event, now)
            return out
        try:
            _HANDLERS[type(event)](self, event, now)
        except RemoteProtocolError as error:
            self._do(Note(f"the model broke its protocol: {error}"))
            self._replace_session(now)
        self._settle(now)
        return out

    def next_deadline(self) -> float | None:
        """When `handle_timer` wants to be called, in seconds on the call's clock; None: only after the next event."""
        return self.deadlines.next_at

    def next_timer(self) -> Timer | None:
        """Which deadline is the next; None when none is armed."""
        return self.deadlines.next_timer

    def handle_timer(self, now: float) -> list[Command]:
        """Let the earliest deadline act, if it is due at `now`; return what is to be done.

        One at a time, so that each can be seen: call it again while `next_deadline()` is not later than `now`.
        """
        out: list[Command] = []
        self._out = out
        timer = self.deadlines.pop_due(now)
        if timer is not None:
            _TIMERS[timer](self, now)
            self._settle(now)
        return out

    # --- the caller's leg

    def _on_call_started(self, event: e.CallStarted, now: float) -> None:
        if self.standing.call is not CallState.CONNECTING or self.sessions.opening or self.sessions.spare:
            return
        self._media_at = now
        self.deadlines.set(Timer.CALIBRATION, now + self.settings.calibration_limit_s)
        self.deadlines.set(Timer.MEDIA, now + self.settings.media_limit_s)
        self.deadlines.set(Timer.LONGEST_CALL, now + self.settings.longest_call_s)
        if self.settings.longest_call_s > self.settings.longest_call_notice_s > 0:
            self.deadlines.set(
                Timer.LONGEST_CALL_NOTICE, now + self.settings.longest_call_s - self.settings.longest_call_notice_s
            )
        self._do(*self.sessions.open(now))

    def _on_caller_audio(self, event: e.CallerAudio, now: float) -> None:
        self._media_at = now
        if event.level_dbfs is not None:
            self.gate.hear(event.level_dbfs, self.playback.level_dbfs(now) if self.playback.speaking else None)
            if self.gate.denied in CAN_PASS and self.standing.turn is TurnState.SPEAKING:
                self._consider_barge_in(now, again=True)
                self._settle(now)
        if self.standing.session is None:
            self.sessions.keep(event.audio)
        else:
            self._out.append(AppendAudio(self.standing.session, event.audio))

    def _on_mark(self, event: e.PlaybackMarked, now: float) -> None:
        if not self.playback.marked(event.name, now):
            self._do(Discard(Refusal.STALE_MARK))

    def _on_digit(self, event: e.DigitPressed, now: float) -> None:
        self._digits = (self._digits + event.digit)[:LONGEST_DIGITS]
        self.idle.reset(prompts=True)
        if event.digit == "#":
            self._hand_digits_on(now)
        else:
            self.deadlines.set(Timer.DIGITS, now + self.settings.digits_pause_s)

    def _hand_digits_on(self, now: float) -> None:
        self.deadlines.cancel(Timer.DIGITS)
        if self.standing.session is None:
            self.deadlines.set(Timer.DIGITS, now + self.settings.digits_pause_s)
            return
        digits, self._digits = self._digits, ""
        self._add_text("user", self.wording.digits.format(digits=digits))
        self._create(Request(Purpose.DIGITS), now)

    def _on_caller_hung_up(self, event: e.CallerHungUp, now: float) -> None:
        self._close(self._end_reason or event.reason)

    # --- the caller's turn

    def _on_speech_started(self, event: e.SpeechStarted, now: float) -> None:
        self.turn.speech_started(now)
        self.gate.denied = None
        self._consider_barge_in(now, again=False)

    def _consider_barge_in(self, now: float, *, again: bool) -> None:
        if not (self.guard.coming or self.playback.speaking) or self.playback.flow is Flow.HELD:
            self.gate.denied = None
            return
        refusal = self._barge_in_refusal(now)
        if refusal is None:
            self._barge_in(now)
        elif not again:
            self.gate.denied = refusal
            self._do(Discard(refusal))

    def _barge_in_refusal(self, now: float) -> Refusal | None:
        settings, state = self.settings, self.standing.call
        if state is CallState.GREETING and not settings.greeting_interruptible:
            return Refusal.GREETING_LOCK
        if state is CallState.LEAVING:
            return Refusal.CLOSING
        if state is CallState.GOODBYE:
            if not settings.hang_up_keep_on_speech:
                return Refusal.HANG_UP_PENDING
            if self.guard.idle and self.playback.expected_end(now) - now <= settings.hang_up_return_s:
                return Refusal.PAST_RETURN
        return self.gate.refusal(now)

    def _barge_in(self, now: float) -> None:
        self.gate.acted(now)
        if self.standing.call is CallState.GOODBYE:
            self.deadlines.cancel(Timer.HANG_UP_FALLBACK)
            self._do(Note("the caller keeps the call"))
        if self.standing.call in (CallState.GOODBYE, CallState.GREETING):
            self.standing.call = CallState.CONVERSING
        if self.settings.barge_in_confirm_ms and self.playback.speaking:
            self._do(*self.playback.hold(now))
            wait_s = (self.settings.barge_in_confirm_ms + self.settings.vad_silence_ms) / 1000
            self.deadlines.set(Timer.BARGE_IN_CONFIRM, now + wait_s)
        else:
            self._cut_off(now)

    def _cut_off(self, now: float) -> None:
        """Silence the agent: flush, cancel, and make the model remember only what was heard. In this order."""
        self.deadlines.cancel(Timer.BARGE_IN_CONFIRM)
        clear, cuts = self.playback.clear(now)
        self._do(*clear)
        if self.settings.turns is Turns.MODEL:
            self.guard.abandon(now)
        else:
            self._do(*self.guard.stop(now))
        audible = [cut for cut in cuts if cut.session == self.standing.session]
        for place, cut in enumerate(audible):
            self.history.cut(cut.item_id, cut.heard_ms, cut.received_ms)
            if place == 0:
                self._truncations[cut.item_id] = cut.heard_ms
                self._do(TruncateItem(cut.session, cut.item_id, cut.heard_ms))
            else:
                self._do(DeleteItem(cut.session, cut.item_id))

    def _on_speech_stopped(self, event: e.SpeechStopped, now: float) -> None:
        if not self.turn.speech_stopped(now):
            self._do(Discard(Refusal.DUPLICATE))
        self.gate.denied = None
        if self.playback.flow is Flow.HELD:  # too short to be words: go on from where the reply was cut
            self.deadlines.cancel(Timer.BARGE_IN_CONFIRM)
            self.turn.dropped()
            self._do(Discard(Refusal.TOO_SHORT), *self.playback.resume(now))

    def _on_turn_committed(self, event: e.TurnCommitted, now: float) -> None:
        self.history.caller_spoke(event.item_id)
        if self.standing.turn is TurnState.QUIET and self.playback.speaking and self.settings.barge_in_confirm_ms:
            self.history.forget(event.item_id)  # the cough that the reply has been resumed after
            self._do(Discard(Refusal.TOO_SHORT), DeleteItem(event.session, event.item_id))
            return
        self.gate.turns_spoken += 1
        if self.turn.committed(event.item_id):
            self._ask_for_reply(now)

    def _ask_for_reply(self, now: float) -> None:
        if self.settings.turns is Turns.MODEL:
            self.turn.dropped()
            self._do(Refuse(Purpose.TURN, Refusal.MODEL_DECIDES))
            return
        self._create(Request(Purpose.TURN), now)
        self.turn.asked(now)

    def _on_caller_transcribed(self, event: e.CallerTranscribed, now: float) -> None:
        self.history.transcribed(event.item_id, event.text)

    # --- the model's responses

    def _create(self, request: Request, now: float, *, forced: bool = False) -> None:
        self._do(*self.guard.create(request, now, forced=forced))

    def _on_response_created(self, event: e.ResponseCreated, now: float) -> None:
        answer = self.guard.created(event.response_id, event.request, now)
        self._do(*answer)
        if not answer:
            self.turn.answered()
            self._replacements = 0
            if self.guard.asked is not None and self.guard.asked.purpose is Purpose.TURN:
                self.idle.reset(prompts=True)

    def _on_item_added(self, event: e.ItemAdded, now: float) -> None:
        if event.kind is e.ItemKind.MESSAGE and event.response_id == self.guard.response_id:
            self._silent_items[event.item_id] = event.response_id
        self._discard_unless_wanted(event.response_id, now)

    def _on_model_audio(self, event: e.ModelAudio, now: float) -> None:
        if self._discard_unless_wanted(event.response_id, now):
            self._silent_items.pop(event.item_id, None)
            self._do(*self.playback.play(event, now))
            if self.standing.call is CallState.GOODBYE:
                self._extend_fallback(now)

    def _on_model_audio_ended(self, event: e.ModelAudioEnded, now: float) -> None:
        self._do(*self.playback.end_item(event.item_id, now))

    def _on_model_transcript(self, event: e.ModelTranscript, now: float) -> None:
        if self._discard_unless_wanted(event.response_id, now):
            self.history.agent_said(event.item_id, event.text, final=event.final)

    def _on_tool_called(self, event: e.ToolCalled, now: float) -> None:
        if self._discard_unless_wanted(event.response_id, now):
            self._do(*self.tools.called(event, now))

    def _discard_unless_wanted(self, response_id: str, now: float) -> bool:
        verdict = self.guard.verdict(response_id)
        if verdict is None:
            self.guard.progressed(now)
            return True
        self._do(Discard(verdict))
        return False

    def _on_response_done(self, event: e.ResponseDone, now: float) -> None:
        asked, stopped = self.guard.asked, self.guard.state is ResponseState.CANCELLING
        heard_of = self.playback.has_audio_of(event.response_id)
        if not self.guard.done(event.response_id, now):
            self._do(Discard(Refusal.DUPLICATE))
            return
        self._do(*self.playback.end_response(event.response_id, now))
        self._forget_silent_items(event.response_id, delete=stopped)
        if stopped or self.tools.running or self.tools.reply_owed:
            return
        silent = not heard_of and event.status in (e.ResponseStatus.CANCELLED, e.ResponseStatus.INCOMPLETE)
        if event.status is e.ResponseStatus.FAILED or (silent and self.settings.turns is Turns.OURS):
            self._response_failed(asked, event.error_code, now)
        else:
            self._failures = 0

    def _forget_silent_items(self, response_id: str, *, delete: bool) -> None:
        """What a cancelled response began and nobody heard leaves the conversation with it."""
        for item_id in [item_id for item_id, owner in self._silent_items.items() if owner == response_id]:
            del self._silent_items[item_id]
            if delete and self.standing.session is not None:
                self.history.forget(item_id)
                self._do(DeleteItem(self.standing.session, item_id))

    def _response_failed(self, asked: Request | None, code: str | None, now: float) -> None:
        """A reply came to nothing: ask again after a while, or end the call politely; never silence."""
        self._failures += 1
        if code in NEVER_RETRY or self._failures > self.settings.failed_retries:
            self._apologise(f"the model fails: {code or 'no reason given'}", now)
            return
        self._retry = Request(Purpose.RETRY, asked.instructions if asked else None)
        self.deadlines.set(Timer.RETRY, now + self.settings.failed_backoff_s * 2 ** (self._failures - 1))

    def _on_model_erred(self, event: e.ModelErred, now: float) -> None:
        about = event.event_id or ""
        if event.code == CANCEL_NOT_ACTIVE:
            if self.guard.cancel_refused(event.event_id, now):
                self._do(Note("the response had ended before the cancel came"))
        elif event.code == ALREADY_ACTIVE:
            self.guard.create_blocked(event.event_id, _response_named_in(event.message), now)
        elif about.startswith("truncate-"):
            self._truncate_again(event, about.removeprefix("truncate-"))
        elif about.startswith("create-"):
            asked = self.guard.create_refused(event.event_id)
            if asked is not None:
                self._response_failed(asked, event.code, now)
        elif event.code in NEVER_RETRY:
            self._apologise(f"the model refuses: {event.code}", now)

    def _truncate_again(self, event: e.ModelErred, item_id: str) -> None:
        """A refused truncate names what exists ("Audio content of 3700ms is already shorter than 3760ms"): ask for that, once."""
        asked_ms = self._truncations.pop(item_id, None)
        exists_ms = _milliseconds_in(event.message)
        if asked_ms is not None and exists_ms is not None and exists_ms < asked_ms:
            self._do(TruncateItem(event.session, item_id, exists_ms))

    def _on_item_truncated(self, event: e.ItemTruncated, now: float) -> None:
        self._truncations.pop(event.item_id, None)

    def _on_send_failed(self, event: e.SendFailed, now: float) -> None:
        asked = self.guard.unsent(event.event_id, now)
        if asked is not None:
            self._response_failed(asked, None, now)

    # --- the model's sessions

    def _on_session_ready(self, event: e.SessionReady, now: float) -> None:
        if not self.sessions.ready(event.session):
            self._do(Discard(Refusal.STALE_SESSION))

    def _on_session_lost(self, event: e.SessionLost, now: float) -> None:
        if event.session not in (self.standing.session, self.sessions.opening, self.sessions.spare):
            self._do(Discard(Refusal.STALE_SESSION))
            return
        if self.sessions.lost(event.session):
            self._serve_without_session(now)
        if not event.retryable:
            self._apologise(f"the model is not available: {event.reason}", now)
        elif self.sessions.opening is None and self.sessions.spare is None:
            self._do(*self.sessions.open(now))

    def _replace_session(self, now: float) -> None:
        session = self.standing.session
        if session is None:
            return
        self._replacements += 1
        if self._replacements > 1:
            self._apologise("the model does not answer", now)
            return
        self._do(CloseSession(session))
        self._on_session_lost(e.SessionLost(session, "replaced"), now)

    def _serve_without_session(self, now: float) -> None:
        """The serving session is gone: what it owed is asked of the next."""
        response_id = self.guard.response_id
        begun = response_id is not None and self.playback.has_audio_of(response_id)
        wanted = self.guard.session_ended(now)
        self._do(*self.playback.end_response(None, now))
        self._silent_items.clear()
        if self.standing.turn not in (TurnState.QUIET, TurnState.SPEAKING):
            wanted = wanted or Request(Purpose.TURN)
        self.turn.dropped()
        if wanted is not None and not (begun and wanted.instructions is not None):
            self.guard.waiting = merged(self.guard.waiting, Request(Purpose.RETRY, wanted.instructions))

    def _take_over(self, now: float) -> None:
        first = self.standing.call is CallState.CONNECTING
        self._do(*self.sessions.take_over(now))
        for role, text in self.history.seed():
            self._add_text(role, text, remember=False)
        self._do(*self.sessions.hand_on())
        if not first:
            return
        self.standing.call = CallState.GREETING if self.settings.greeting else CallState.CONVERSING
        if self.settings.greeting:
            self._create(Request(Purpose.GREETING, self.wording.greeting), now, forced=True)

    def _add_text(self, role: str, text: str, *, remember: bool = True) -> None:
        assert self.standing.session is not None
        self._texts += 1
        command = AddText(self.standing.session, self._texts, role, text)
        if remember:
            self.history.noted(command.event_id, role, text)
        self._do(command)

    # --- the agent and the shell

    def _on_hang_up_asked(self, event: e.HangUpAsked, now: float) -> None:
        if self.standing.call in (CallState.GOODBYE, CallState.LEAVING):
            self._do(Discard(Refusal.HANG_UP_PENDING))
            return
        self._part(event.reason, now)

    def _part(self, reason: str, now: float) -> None:
        """End the call once what is being said has been heard."""
        self._end_reason = reason
        self.standing.call = CallState.GOODBYE
        self.guard.waiting = None
        self.deadlines.cancel(Timer.RETRY, Timer.INJECTED_TEXT)
        self.deadlines.set(Timer.HANG_UP_FALLBACK, now + self.settings.hang_up_fallback_s)
        self._extend_fallback(now)

    def _extend_fallback(self, now: float) -> None:
        """The goodbye is longer than the fallback: let it be heard."""
        end = self.playback.expected_end(now) + self.settings.mark_grace_s
        if end > (self.deadlines.at(Timer.HANG_UP_FALLBACK) or 0.0):
            self.deadlines.set(Timer.HANG_UP_FALLBACK, end)

    def _on_tool_finished(self, event: e.ToolFinished, now: float) -> None:
        self._texts += 1
        self._do(*self.tools.finished(event.tool_call_id, event.output, self._texts))

    def _on_text_injected(self, event: e.TextInjected, now: float) -> None:
        self._create(Request(Purpose.INJECTED_TEXT, self.wording.injected_text.format(text=event.text)), now)
        if self.guard.waiting is not None:
            self.deadlines.set(Timer.INJECTED_TEXT, now + self.settings.injected_text_wait_s)

    def _on_outbox_overran(self, event: e.OutboxOverran, now: float) -> None:
        if event.leg == "caller":
            self._close("the carrier does not read")
        elif self.standing.session is not None:
            self._replace_session(now)

    def _on_fatal_error(self, event: e.FatalErrorRaised, now: float) -> None:
        self._do(Note(f"REALTIME_FATAL: {event.reason}"))
        self._apologise(event.reason, now)

    # --- the end

    def _apologise(self, reason: str, now: float) -> None:
        """The call cannot go on: tell the caller so where the line works, and end it."""
        if self.standing.call is CallState.LEAVING:
            return
        self._cut_off(now)
        self._part(reason, now)
        self.standing.call = CallState.LEAVING
        if self.apology:
            self._do(*self.playback.play(e.ModelAudio(0, APOLOGY, APOLOGY, self.apology), now))
            self._do(*self.playback.end_item(APOLOGY, now))

    def _hang_up(self, now: float) -> None:
        self.standing.call = CallState.HANGING_UP
        self.deadlines.keep_only()
        self.deadlines.set(Timer.HANG_UP, now + self.settings.hang_up_limit_s)
        self._do(HangUp(self._end_reason))

    def _close(self, reason: str) -> None:
        self.standing.call = CallState.CLOSED
        self.deadlines.keep_only()
        self._do(Close(reason))

    # --- what follows from where things stand

    def _settle(self, now: float) -> None:
        state = self.standing.call
        if state in (CallState.HANGING_UP, CallState.CLOSED):
            return
        silent = self.guard.idle and not self.playback.speaking
        if state is CallState.GREETING and silent and self.guard.waiting_for is not Purpose.GREETING:
            self.standing.call = state = CallState.CONVERSING
            self._do(Note("the greeting is over"))
        if state in (CallState.GOODBYE, CallState.LEAVING) and silent and self.guard.waiting_for is not Purpose.FAREWELL:
            self._hang_up(now)
            return
        if self.sessions.spare is not None and (self.standing.session is None or self._is_quiet()):
            self._take_over(now)
        if self.tools.reply_owed and self.guard.idle and self.standing.session is not None:
            self.tools.replied()
            self._create(Request(Purpose.TOOL_RESULT), now)
        self._do(*self.guard.release(now))
        self.idle.observe(self._is_quiet() and self.standing.call is CallState.CONVERSING, now)

    def _is_quiet(self) -> bool:
        return (
            self.standing.turn is TurnState.QUIET
            and self.standing.session is not None
            and self.guard.idle
            and self.guard.waiting is None
            and self._retry is None
            and not self.playback.speaking
            and not self.tools.running
            and not self._digits
        )

    def _do(self, *commands: Command) -> None:
        self._out.extend(commands)

    # --- the deadlines

    def _at_calibration(self, now: float) -> None:
        self.standing.calibrated = True

    def _at_barge_in_confirm(self, now: float) -> None:
        self._cut_off(now)

    def _at_turn_end(self, now: float) -> None:
        if self.turn.ended(now):
            self._ask_for_reply(now)

    def _at_commit(self, now: float) -> None:
        self.turn.dropped()
        self._do(Discard(Refusal.NOT_COMMITTED))

    def _at_watchdog(self, now: float) -> None:
        if self.guard.state is ResponseState.REQUESTED:
            self.guard.gave_up(now)
        refusal = self.guard.refusal(Purpose.WATCHDOG)
        if refusal is None and self.playback.speaking:
            refusal = Refusal.RESPONSE_ACTIVE
        if refusal is not None:
            self._do(Refuse(Purpose.WATCHDOG, refusal))
        elif self.turn.asked_again >= self.settings.watchdog_retries:
            self._do(Note("the watchdog has asked often enough: the session is replaced"))
            self._replace_session(now)
            return
        else:
            self.turn.asked_again += 1
            self.guard.waiting = None
            self._create(Request(Purpose.WATCHDOG), now)
        self.turn.asked(now)

    def _at_created(self, now: float) -> None:
        asked = self.guard.gave_up(now)
        if asked is not None and self.standing.turn is not TurnState.OWED:
            self._response_failed(asked, None, now)

    def _at_first_audio(self, now: float) -> None:
        asked = self.guard.asked
        self._do(Note("the response produces nothing"), *self.guard.stop(now))
        self._response_failed(asked, None, now)

    def _at_audio_gap(self, now: float) -> None:
        response_id = self.guard.response_id
        self._do(Note("the response has stopped in the middle"), *self.guard.stop(now))
        self._do(*self.playback.end_response(response_id, now))

    def _at_done(self, now: float) -> None:
        self._do(Note("the end of the cancelled response was not reported"))
        self.guard.gave_up(now)

    def _at_blocked(self, now: float) -> None:
        self.guard.gave_up(now)

    def _at_retry(self, now: float) -> None:
        request, self._retry = self._retry, None
        if request is not None:
            self._create(request, now)

    def _at_mark(self, now: float) -> None:
        self._do(Note("a playback mark was not echoed: taken as played"))
        self.playback.mark_overdue(now)

    def _at_playback_end(self, now: float) -> None:
        self.playback.clock_passed(now)

    def _at_tool(self, now: float) -> None:
        for tool_call_id in self.tools.overdue(now):
            self._on_tool_finished(e.ToolFinished(tool_call_id, '{"error": "the tool did not answer in time"}'), now)

    def _at_injected_text(self, now: float) -> None:
        if self.guard.waiting is not None:
            self._cut_off(now)

    def _at_idle(self, now: float) -> None:
        self.idle.reset(prompts=False)
        self.idle.prompts += 1
        if self.idle.prompts > self.settings.idle_prompts:
            self._say_farewell("the caller is silent", now)
        else:
            self._create(Request(Purpose.IDLE_PROMPT, self.wording.idle_prompt), now)

    def _say_farewell(self, reason: str, now: float) -> None:
        self._part(reason, now)
        self._create(Request(Purpose.FAREWELL, self.wording.farewell), now)

    def _at_longest_call_notice(self, now: float) -> None:
        self._create(Request(Purpose.NOTICE, self.wording.notice), now)

    def _at_longest_call(self, now: float) -> None:
        if self.standing.call not in (CallState.GOODBYE, CallState.LEAVING):
            self._say_farewell("the longest call time is over", now)

    def _at_hang_up_fallback(self, now: float) -> None:
        self._hang_up(now)

    def _at_hang_up(self, now: float) -> None:
        self._close(self._end_reason)

    def _at_media(self, now: float) -> None:
        silent_since = self._media_at + self.settings.media_limit_s
        if silent_since > now:
            self.deadlines.set(Timer.MEDIA, silent_since)
        else:
            self._end_reason = "the carrier sends no audio"
            self._hang_up(now)

    def _at_session_ready(self, now: float) -> None:
        self._do(*self.sessions.give_up_opening(), *self.sessions.open(now))

    def _at_reconnect(self, now: float) -> None:
        self._apologise("no model session within the limit", now)

    def _at_session_age(self, now: float) -> None:
        self._do(*self.sessions.open(now))


def _milliseconds_in(message: str) -> int | None:
    """The first number of milliseconds that an error text names."""
    for word in message.split():
        digits = word.removesuffix("ms")
        if digits != word and digits.isdecimal():
            return int(digits)
    return None


def _response_named_in(message: str) -> str | None:
    """The response that "already has an active response in progress: resp_X." names."""
    for word in message.replace(".", " ").split():
        if word.startswith("resp_"):
            return word
    return None


_HANDLERS: Mapping[type[e.Event], Callable[[Call, Any, float], None]] = {
    e.CallStarted: Call._on_call_started,
    e.PlaybackMarked: Call._on_mark,
    e.DigitPressed: Call._on_digit,
    e.CallerHungUp: Call._on_caller_hung_up,
    e.SessionReady: Call._on_session_ready,
    e.SessionLost: Call._on_session_lost,
    e.SpeechStarted: Call._on_speech_started,
    e.SpeechStopped: Call._on_speech_stopped,
    e.TurnCommitted: Call._on_turn_committed,
    e.CallerTranscribed: Call._on_caller_transcribed,
    e.ResponseCreated: Call._on_response_created,
    e.ItemAdded: Call._on_item_added,
    e.ModelAudio: Call._on_model_audio,
    e.ModelAudioEnded: Call._on_model_audio_ended,
    e.ModelTranscript: Call._on_model_transcript,
    e.ToolCalled: Call._on_tool_called,
    e.ResponseDone: Call._on_response_done,
    e.ItemTruncated: Call._on_item_truncated,
    e.ModelErred: Call._on_model_erred,
    e.SendFailed: Call._on_send_failed,
    e.HangUpAsked: Call._on_hang_up_asked,
    e.ToolFinished: Call._on_tool_finished,
    e.TextInjected: Call._on_text_injected,
    e.OutboxOverran: Call._on_outbox_overran,
    e.FatalErrorRaised: Call._on_fatal_error,
}

_TIMERS: Mapping[Timer, Callable[[Call, float], None]] = {
    Timer.CALIBRATION: Call._at_calibration,
    Timer.BARGE_IN_CONFIRM: Call._at_barge_in_confirm,
    Timer.TURN_END: Call._at_turn_end,
    Timer.COMMIT: Call._at_commit,
    Timer.SPEECH_LIMIT: Call._at_turn_end,
    Timer.WATCHDOG: Call._at_watchdog,
    Timer.CREATED: Call._at_created,
    Timer.FIRST_AUDIO: Call._at_first_audio,
    Timer.AUDIO_GAP: Call._at_audio_gap,
    Timer.DONE: Call._at_done,
    Timer.BLOCKED: Call._at_blocked,
    Timer.RETRY: Call._at_retry,
    Timer.MARK: Call._at_mark,
    Timer.PLAYBACK_END: Call._at_playback_end,
    Timer.TOOL: Call._at_tool,
    Timer.DIGITS: Call._hand_digits_on,
    Timer.INJECTED_TEXT: Call._at_injected_text,
    Timer.IDLE: Call._at_idle,
    Timer.HANG_UP_FALLBACK: Call._at_hang_up_fallback,
    Timer.HANG_UP: Call._at_hang_up,
    Timer.LONGEST_CALL_NOTICE: Call._at_longest_call_notice,
    Timer.LONGEST_CALL: Call._at_longest_call,
    Timer.MEDIA: Call._at_media,
    Timer.SESSION_READY: Call._at_session_ready,
    Timer.RECONNECT: Call._at_reconnect,
    Timer.SESSION_AGE: Call._at_session_age,
}
