"""All events in any order, duplicated, lost, late, on a random clock: the invariants of `checked` hold."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.core.checked import Checked
from tests.core.playbook import call_with
from trio_voice.core import commands as c
from trio_voice.core import events as e
from trio_voice.core.lifeline import Lifeline
from trio_voice.core.model import ALREADY_ACTIVE, CANCEL_NOT_ACTIVE
from trio_voice.core.settings import Turns
from trio_voice.core.states import CallState

ITEMS = st.sampled_from(["i1", "i2", "i3", "i4"])
CODES = st.sampled_from(["server_error", "rate_limit_exceeded", "insufficient_quota", "brand_new", None])
PAUSES = st.one_of(st.sampled_from([0.0, 0.02, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0]), st.floats(0.0, 5.0))
SETTINGS = st.fixed_dictionaries(
    {
        "turns": st.sampled_from([Turns.OURS, Turns.OURS, Turns.MODEL]),
        "greeting": st.booleans(),
        "greeting_interruptible": st.booleans(),
        "barge_in_confirm_ms": st.sampled_from([0, 0, 200]),
        "require_user_has_spoken": st.booleans(),
        "barge_in_min_level_db": st.sampled_from([None, 10.0]),
        "cancel_cooldown_s": st.sampled_from([0.0, 0.2]),
        "calibration_limit_s": st.sampled_from([0.0, 3.0]),
        "idle_s": st.sampled_from([0.0, 2.0, 10.0]),
        "media_limit_s": st.sampled_from([30.0, 1e6]),
        "longest_call_s": st.sampled_from([20.0, 3600.0]),
        "session_age_limit_s": st.sampled_from([5.0, 3300.0]),
        "turn_end_s": st.sampled_from([0.0, 0.15]),
        "hang_up_keep_on_speech": st.booleans(),
        "failed_retries": st.sampled_from([0, 3]),
        "unheard_limit_s": st.sampled_from([1.0, 300.0]),
        "gap_audio_ms": st.sampled_from([0, 100]),
        "change_limit_s": st.sampled_from([0.5, 3.0]),
    }
)


class AnyOrder(RuleBasedStateMachine):
    """Peers that say anything at any time. Most of what they say is about the present, or hardly anything would be reached."""

    def __init__(self) -> None:
        super().__init__()
        self.checked = Checked(call_with())
        self.responses = 0
        self.turns = 0
        self.tools = 0
        self.changes = 0
        self.said: list[e.Event] = []

    def tell(self, event: e.Event) -> None:
        self.said.append(event)
        self.checked.receive(event)

    @property
    def session(self) -> int:
        return self.checked.call.parts.standing.session or self.checked.opened

    @property
    def current(self) -> str:
        return self.checked.active or f"r{self.responses}"

    @initialize(settings=SETTINGS, marks=st.booleans(), apology=st.sampled_from([b"", b"s" * 4000]), ready=st.booleans())
    def start(self, settings: dict[str, Any], marks: bool, apology: bytes, ready: bool) -> None:
        self.checked = Checked(call_with(apology, marks=marks, **settings))
        self.tell(e.CallStarted("CA1"))
        if ready:
            self.tell(e.SessionReady(1))

    @rule(seconds=PAUSES)
    def time_passes(self, seconds: float) -> None:
        self.checked.wait(seconds)

    @rule(just_before=st.booleans())
    def until_the_next_deadline(self, just_before: bool) -> None:
        deadline = self.checked.call.next_deadline()
        if deadline is not None and just_before:
            self.checked.now = max(self.checked.now, deadline - 1e-6)
        elif deadline is not None:
            self.checked.ring()

    @rule(level=st.sampled_from([None, -60.0, -30.0, -20.0, -95.0]), frames=st.integers(1, 12))
    def the_caller_sounds(self, level: float | None, frames: int) -> None:
        for _ in range(frames):
            self.checked.wait(0.02)
            self.tell(e.CallerAudio(b"\xff" * 160, level))

    @rule(new=st.booleans())
    def the_caller_speaks(self, new: bool) -> None:
        self.turns += new
        self.tell(e.SpeechStarted(self.session, f"u{self.turns}"))

    @rule()
    def the_caller_falls_silent(self) -> None:
        self.tell(e.SpeechStopped(self.session, f"u{self.turns}"))

    @rule(words=st.booleans())
    def the_turn_is_committed(self, words: bool) -> None:
        self.tell(e.TurnCommitted(self.session, f"u{self.turns}"))
        if words:
            self.tell(e.CallerTranscribed(self.session, f"u{self.turns}", "some words of the caller"))
            self.turns += 1

    @rule(echo=st.booleans())
    def a_response_begins(self, echo: bool) -> None:
        self.responses += 1
        self.tell(e.ResponseCreated(self.session, f"r{self.responses}", self.checked.requested if echo else None))

    @rule(item=ITEMS, kind=st.sampled_from(e.ItemKind))
    def an_item_is_opened(self, item: str, kind: e.ItemKind) -> None:
        self.tell(e.ItemAdded(self.session, self.current, self.current + item, kind))

    @rule(item=ITEMS, size=st.sampled_from([1, 160, 1600, 2001, 16000]), level=st.sampled_from([None, -20.0]))
    def it_speaks(self, item: str, size: int, level: float | None) -> None:
        self.tell(e.ModelAudio(self.session, self.current, self.current + item, b"a" * size, level))

    @rule(item=ITEMS)
    def an_item_ends(self, item: str) -> None:
        self.tell(e.ModelAudioEnded(self.session, self.current, self.current + item))
        self.tell(e.ModelTranscript(self.session, self.current, self.current + item, "what was said", final=True))

    @rule(status=st.sampled_from(e.ResponseStatus), code=CODES)
    def it_is_done(self, status: e.ResponseStatus, code: str | None) -> None:
        self.tell(e.ResponseDone(self.session, self.current, status, error_code=code))

    @rule()
    def a_tool_is_called(self) -> None:
        self.tools += 1
        self.tell(e.ToolCalled(self.session, self.current, f"f{self.tools}", f"t{self.tools}", "look", "{}"))

    @rule(back=st.integers(0, 2))
    def a_tool_answers(self, back: int) -> None:
        self.tell(e.ToolFinished(f"t{self.tools - back}", "an answer"))

    @rule(first=st.booleans())
    def a_mark_is_echoed(self, first: bool) -> None:
        pending = [mark.name for mark in self.checked.call.parts.playback._pending]
        names = pending or self.checked.marks
        if names:
            self.tell(e.PlaybackMarked(names[0] if first else names[-1]))

    @rule(code=CODES, about=st.sampled_from(["create", "cancel", "truncate", "text", None]))
    def an_error_comes(self, code: str | None, about: str | None) -> None:
        self.tell(e.ModelErred(self.session, code, "Audio content of 10ms is already shorter than 20ms", self.id_of(about)))

    @rule(named=st.sampled_from([None, "resp_strange", "current"]), about=st.sampled_from(["create", None]))
    def a_create_is_refused_for_an_active_response(self, named: str | None, about: str | None) -> None:
        name = f"resp_{self.responses}" if named == "current" else named
        message = f"Conversation already has an active response in progress: {name}. Wait." if name else "one is active"
        self.tell(e.ModelErred(self.session, ALREADY_ACTIVE, message, self.id_of(about)))

    @rule(about=st.sampled_from(["cancel", None]))
    def a_cancel_comes_too_late(self, about: str | None) -> None:
        self.tell(e.ModelErred(self.session, CANCEL_NOT_ACTIVE, "no active response found", self.id_of(about)))

    @rule(about=st.sampled_from(["create", "cancel", "truncate"]))
    def a_send_fails(self, about: str) -> None:
        self.tell(e.SendFailed(self.session, str(self.id_of(about))))

    def id_of(self, about: str | None) -> str | None:
        current = {"create": f"create-{self.checked.requested}", "cancel": f"cancel-{self.current}", "text": "text-1"}
        cut = next(iter(self.checked.truncated), "none")
        return None if about is None else current.get(about, f"truncate-{cut}")

    @rule(session=st.sampled_from(["opening", "serving", "old"]))
    def a_session_is_ready(self, session: str) -> None:
        self.tell(e.SessionReady(self.number(session)))

    @rule(session=st.sampled_from(["opening", "serving", "old"]), retryable=st.sampled_from([True, True, True, False]))
    def a_session_is_lost(self, session: str, retryable: bool) -> None:
        self.tell(e.SessionLost(self.number(session), "gone", retryable))

    def number(self, session: str) -> int:
        return {"opening": self.checked.opened, "serving": self.session, "old": max(1, self.session - 1)}[session]

    @rule(voice=st.booleans(), reply=st.booleans())
    def a_change_is_asked_for(self, voice: bool, reply: bool) -> None:
        self.changes += 1
        self.tell(e.ChangeAsked(self.changes, voice, "a note" if reply else "", reply))

    @rule(applied=st.booleans())
    def a_change_is_answered(self, applied: bool) -> None:
        if self.changes and applied:
            self.tell(e.ChangeApplied(self.session, self.changes))
        elif self.changes:
            self.tell(e.ChangeRefused(self.session, self.changes, "no"))

    @rule(ended=st.booleans())
    def a_job_runs(self, ended: bool) -> None:
        self.tell(e.JobEnded(1) if ended else e.JobStarted(1, 5.0))

    @rule()
    def a_filler_is_asked_for(self) -> None:
        self.tell(e.FillerAsked("one moment"))

    @rule(back=st.integers(0, 1), limit=st.sampled_from([1.0, 30.0]))
    def a_tool_has_a_limit(self, back: int, limit: float) -> None:
        self.tell(e.ToolStarted(f"t{self.tools - back}", limit))

    @rule()
    def a_text_is_injected(self) -> None:
        self.tell(e.TextInjected("an announcement"))

    @rule(key=st.sampled_from("12*#"))
    def a_key_is_pressed(self, key: str) -> None:
        self.tell(e.DigitPressed(key))

    @rule(back=st.integers(1, 20))
    def something_is_said_again(self, back: int) -> None:
        if len(self.said) >= back:
            self.tell(self.said[-back])

    @rule(session=st.sampled_from(["opening", "serving", "old"]))
    def a_session_does_not_read(self, session: str) -> None:
        self.tell(e.OutboxOverran("model", self.number(session)))

    @rule(event=st.sampled_from([e.OutboxOverran("model"), e.CallStarted("CA1"), e.CallStarted("CA2")]))
    def the_shell_says_something(self, event: e.Event) -> None:
        self.tell(event)

    @precondition(lambda self: len(self.said) > 15)
    @rule(
        event=st.sampled_from(
            [
                e.HangUpAsked("done"),
                e.HangUpAsked("done"),
                e.FatalErrorRaised("bug"),
                e.OutboxOverran("caller"),
                e.CallerHungUp("stop"),
            ]
        )
    )
    def it_ends(self, event: e.Event) -> None:
        self.tell(event)

    def teardown(self) -> None:
        """Whatever happened: with both peers silent from now on the call comes to its end, unless nobody asks a silent caller."""
        call = self.checked.call
        for _ in range(2000):
            if call.next_deadline() is None:
                break
            self.checked.ring()
        assert call.state is CallState.CLOSED or call.lifeline() is Lifeline.THE_CALLERS_TURN


def explore(examples: int, steps: int, *, derandomize: bool, phases: Sequence[Phase] = tuple(Phase)) -> None:
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=derandomize,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_order_of_all_events() -> None:
    explore(60, 40, derandomize=True)


@pytest.mark.prove
def test_any_order_of_all_events_for_long() -> None:
    explore(1200, 80, derandomize=False)


def test_the_watcher_sees_what_is_wrong() -> None:
    """The checks themselves are no decoration: each kind of wrong command is noticed."""
    for wrong in (
        c.CancelResponse(1, "r9"),
        c.CreateResponse(1, 9, c.Purpose.TURN),
        c.ClearPlayback(),
        c.TruncateItem(1, "i9", 5),
        c.AppendAudio(7, b"x"),
        c.OpenSession(5),
        c.CloseSession(3),
    ):
        checked = Checked(call_with(greeting=False))
        checked.receive(e.CallStarted("CA1"))
        with pytest.raises((AssertionError, KeyError)):
            checked._check([wrong])
