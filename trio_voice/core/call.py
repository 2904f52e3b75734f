"""The lifecycle of one call.

`Call` is told what happened and what time it is, and answers with what to do. Its parts are in `parts`; what happens to them is
written, by whose side it comes from, in `caller`, `model`, `texts`, `renewal`, `switching` and `ending`. Here is the surface, the
dispatch, and what follows from where things stand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from trio_voice.core import caller, ending, model, renewal, switching, texts
from trio_voice.core import events as e
from trio_voice.core.commands import Command, Discard, Note, Purpose, Refusal, Refuse
from trio_voice.core.deadlines import Timer
from trio_voice.core.lifeline import Lifeline, is_quiet, lifeline
from trio_voice.core.model import ALREADY_ACTIVE, CANCEL_NOT_ACTIVE, NEVER_RETRY
from trio_voice.core.parts import Parts
from trio_voice.core.response import Request
from trio_voice.core.settings import CallSettings, Wording
from trio_voice.core.states import CallState
from trio_voice.errors import RemoteProtocolError

__all__ = ["ALREADY_ACTIVE", "CANCEL_NOT_ACTIVE", "NEVER_RETRY", "Call"]

_HANGING_UP, _CLOSED = CallState.HANGING_UP, CallState.CLOSED  # with every frame: Python 3.11 takes 0.15 us to find a member


@define
class Call:
    """One call. `apology` is audio in the call's encoding, played when the model cannot speak any more.

    `comfort`, too, is played while there is no model, `beep` at the call's begin. `marks`: the carrier echoes playback marks.
    `bytes_per_ms` is 8 for G.711.
    """

    settings: CallSettings = field(factory=CallSettings)
    wording: Wording = field(factory=Wording)
    apology: bytes = b""
    marks: bool = True
    bytes_per_ms: int = 8
    comfort: bytes = b""
    beep: bytes = b""
    parts: Parts = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.parts = Parts(self.settings, self.wording, self.apology, self.marks, self.bytes_per_ms, self.comfort, self.beep)

    def receive(self, event: e.Event, now: float) -> list[Command]:
        """Take one event in and return what is to be done about it, in order.

        `now` is in seconds on the call's clock and never decreases. Raises LocalProtocolError for a bug of ours.
        """
        parts, kind = self.parts, type(event)
        state = parts.standing.call
        if state is _CLOSED or (state is _HANGING_UP and kind is not e.CallerHungUp):
            return []
        out: list[Command] = []
        parts.out = out
        if type(event) is e.CallerAudio:
            if caller.on_caller_audio(parts, event, now):
                _settle(parts, now)
            return out
        if isinstance(event, e.ModelEvent) and event.session != parts.standing.session:
            return [Discard(Refusal.STALE_SESSION)]
        try:
            _HANDLERS[kind](parts, event, now)
        except RemoteProtocolError as error:
            parts.do(Note(f"the model broke its protocol: {error}"))
            renewal.replace(parts, now)
        _settle(parts, now)
        return out

    def next_deadline(self) -> float | None:
        """When `handle_timer` wants to be called, in seconds on the call's clock; None: only after the next event."""
        return self.parts.deadlines.next_at

    def next_timer(self) -> Timer | None:
        """Which deadline is the next; None when none is armed."""
        return self.parts.deadlines.next_timer

    def handle_timer(self, now: float) -> list[Command]:
        """Let the earliest deadline act, if it is due at `now`; return what is to be done.

        One at a time, so that each can be seen: call it again while `next_deadline()` is not later than `now`.
        """
        parts = self.parts
        out: list[Command] = []
        parts.out = out
        timer = parts.deadlines.pop_due(now)
        if timer is not None:
            _TIMERS[timer](parts, now)
            _settle(parts, now)
        return out

    @property
    def state(self) -> CallState:
        """Who owns the line."""
        return self.parts.standing.call

    def lifeline(self) -> Lifeline | None:
        """What keeps the call alive; None only when it has ended."""
        return lifeline(self.parts)


# --- what follows from where things stand


def _settle(parts: Parts, now: float) -> None:
    """Ask the questions whose answers do not depend on what has just happened."""
    standing = parts.standing
    if standing.call in (CallState.HANGING_UP, CallState.CLOSED) or ending.hang_up_when_heard(parts, now):
        return
    if standing.call is CallState.LEAVING:
        ending.let_nothing_else_act(parts)
        return
    if standing.call is CallState.GREETING and _greeting_is_over(parts):
        standing.call = CallState.CONVERSING
        parts.do(Note("the greeting is over"))
    if parts.sessions.spare is not None and renewal.may_take_over(parts, now):
        renewal.take_over(parts, now)
    switching.settle(parts, now)
    model.go_on_after_tools(parts, now)
    parts.do(*parts.guard.release(now))
    texts.announce_next(parts, now)
    parts.idle.observe(standing.call is CallState.CONVERSING and is_quiet(parts) and not parts.jobs.running, now)


def _greeting_is_over(parts: Parts) -> bool:
    guard = parts.guard
    return not guard.coming and not parts.playback.speaking and guard.waiting_for is not Purpose.GREETING


def _at_idle(parts: Parts, now: float) -> None:
    parts.idle.reset(prompts=False)
    refusal = parts.guard.refusal(Purpose.IDLE_PROMPT)
    if refusal is not None:
        parts.do(Refuse(Purpose.IDLE_PROMPT, refusal))
    elif parts.idle.prompts >= parts.settings.idle_prompts:
        ending.say_farewell(parts, "the caller is silent", now)
    else:
        parts.idle.prompts += 1
        parts.ask(Request(Purpose.IDLE_PROMPT, parts.wording.idle_prompt), now)


def _at_playback_clock(parts: Parts, now: float) -> None:
    parts.playback.clock_passed(now)


def _at_mark(parts: Parts, now: float) -> None:
    parts.do(Note("a playback mark was not echoed: the clock is believed"))
    parts.playback.clock_passed(now)


_HANDLERS: Mapping[type[e.Event], Callable[[Parts, Any, float], None]] = {
    e.CallStarted: caller.on_call_started,
    e.PlaybackMarked: caller.on_mark,
    e.DigitPressed: caller.on_digit,
    e.DigitsAsked: caller.on_digits_asked,
    e.SpeechStarted: caller.on_speech_started,
    e.SpeechStopped: caller.on_speech_stopped,
    e.TurnCommitted: caller.on_turn_committed,
    e.CallerTranscribed: caller.on_caller_transcribed,
    e.ResponseCreated: model.on_response_created,
    e.ItemAdded: model.on_item_added,
    e.ModelAudio: model.on_model_audio,
    e.ModelAudioEnded: model.on_model_audio_ended,
    e.ModelTranscript: model.on_model_transcript,
    e.ToolCalled: model.on_tool_called,
    e.ResponseDone: model.on_response_done,
    e.ItemTruncated: model.on_item_truncated,
    e.ModelErred: model.on_model_erred,
    e.SendFailed: model.on_send_failed,
    e.ToolStarted: model.on_tool_started,
    e.ToolFinished: model.on_tool_finished,
    e.JobStarted: model.on_job_started,
    e.JobEnded: model.on_job_ended,
    e.FillerAsked: texts.on_filler_asked,
    e.TextInjected: texts.on_text_injected,
    e.ChangeAsked: switching.on_change_asked,
    e.ChangeApplied: switching.on_change_applied,
    e.ChangeRefused: switching.on_change_refused,
    e.SessionReady: renewal.on_session_ready,
    e.SessionLost: renewal.on_session_lost,
    e.OutboxOverran: renewal.on_outbox_overran,
    e.HangUpAsked: ending.on_hang_up_asked,
    e.CallerHungUp: ending.on_caller_hung_up,
    e.FatalErrorRaised: ending.on_fatal_error,
}

_TIMERS: Mapping[Timer, Callable[[Parts, float], None]] = {
    Timer.CALIBRATION: caller.at_calibration,
    Timer.BARGE_IN_CONFIRM: caller.at_barge_in_confirm,
    Timer.TURN_END: caller.at_turn_end,
    Timer.COMMIT: caller.at_commit,
    Timer.SPEECH_LIMIT: caller.at_turn_end,
    Timer.DIGITS: caller.at_digits,
    Timer.WATCHDOG: model.at_watchdog,
    Timer.CREATED: model.at_created,
    Timer.FIRST_AUDIO: model.at_first_audio,
    Timer.AUDIO_GAP: model.at_audio_gap,
    Timer.DONE: model.at_done,
    Timer.BLOCKED: model.at_blocked,
    Timer.RETRY: model.at_retry,
    Timer.TOOL: model.at_tool,
    Timer.JOB: model.at_job,
    Timer.INJECTED_TEXT: texts.at_injected_text,
    Timer.LONGEST_CALL_NOTICE: texts.at_longest_call_notice,
    Timer.SESSION_READY: renewal.at_session_ready,
    Timer.RECONNECT: renewal.at_reconnect,
    Timer.SESSION_AGE: renewal.at_session_age,
    Timer.COMFORT: renewal.at_comfort,
    Timer.CHANGE: switching.at_change,
    Timer.WORDS: switching.at_words,
    Timer.HANG_UP_FALLBACK: ending.at_hang_up_fallback,
    Timer.HANG_UP: ending.at_hang_up,
    Timer.LONGEST_CALL: ending.at_longest_call,
    Timer.MEDIA: ending.at_media,
    Timer.MARK: _at_mark,
    Timer.PLAYBACK_END: _at_playback_clock,
    Timer.IDLE: _at_idle,
}
