from typing import Any

import pytest

from trio_voice.core.commands import CancelResponse, CreateResponse, Discard, Purpose, Refusal, Refuse
from trio_voice.core.deadlines import Deadlines, Timer
from trio_voice.core.response import OVER_AGE_S, OVER_LIMIT, Request, ResponseGuard, merged
from trio_voice.core.settings import CallSettings, Turns
from trio_voice.core.standing import Standing
from trio_voice.core.states import CallState, ChangeState, ResponseState, TurnState
from trio_voice.errors import LocalProtocolError, RemoteProtocolError

TURN = Request(Purpose.TURN)
IDLE, REQUESTED, DOOMED, ACTIVE, CANCELLING, BLOCKED = ResponseState


def a_guard(**settings: Any) -> ResponseGuard:
    return ResponseGuard(CallSettings(**settings), Standing(CallState.CONVERSING, session=1, calibrated=True), Deadlines())


@pytest.fixture
def guard() -> ResponseGuard:
    return a_guard()


@pytest.fixture
def requested(guard: ResponseGuard) -> ResponseGuard:
    assert guard.create(TURN, 0.0) == [CreateResponse(1, 1, Purpose.TURN)]
    return guard


@pytest.fixture
def active(requested: ResponseGuard) -> ResponseGuard:
    assert requested.created("r1", 1, 1.0) == []
    return requested


@pytest.fixture
def cancelling(active: ResponseGuard) -> ResponseGuard:
    assert active.stop(2.0) == [CancelResponse(1, "r1")]
    return active


def armed(guard: ResponseGuard) -> dict[Timer, float | None]:
    return {timer: guard.deadlines.at(timer) for timer in guard.deadlines.armed()}


def test_each_state_has_its_deadline(guard: ResponseGuard) -> None:
    settings = guard.settings
    assert (guard.state, armed(guard)) == (IDLE, {})
    guard.create(TURN, 0.0)
    assert (guard.state, armed(guard)) == (REQUESTED, {Timer.CREATED: settings.created_limit_s})
    guard.created("r1", 1, 1.0)
    assert (guard.state, armed(guard)) == (ACTIVE, {Timer.FIRST_AUDIO: 1.0 + settings.first_audio_limit_s})
    guard.progressed(2.0)
    assert armed(guard) == {Timer.AUDIO_GAP: 2.0 + settings.audio_gap_limit_s}
    guard.stop(3.0)
    assert (guard.state, armed(guard)) == (CANCELLING, {Timer.DONE: 3.0 + settings.done_limit_s})
    assert guard.done("r1", 4.0)
    assert (guard.state, armed(guard), guard.response_id, guard.asked) == (IDLE, {}, None, None)


def test_a_doomed_request_is_cancelled_when_its_id_is_known(requested: ResponseGuard) -> None:
    assert requested.stop(0.5) == []
    assert requested.stop(0.5) == []
    assert requested.state is DOOMED
    assert requested.created("r1", 1, 1.0) == [CancelResponse(1, "r1")]
    assert requested.verdict("r1") is Refusal.CANCELLED_RESPONSE


def test_stop_is_said_once(cancelling: ResponseGuard) -> None:
    assert cancelling.stop(2.0) == []
    cancelling.done("r1", 3.0)
    assert cancelling.stop(3.0) == []


@pytest.mark.parametrize(
    ("call", "refusal"),
    [
        (CallState.CONNECTING, Refusal.NO_SESSION),
        (CallState.GREETING, Refusal.GREETING_LOCK),
        (CallState.CONVERSING, None),
        (CallState.GOODBYE, Refusal.HANG_UP_PENDING),
        (CallState.LEAVING, Refusal.CLOSING),
        (CallState.HANGING_UP, Refusal.CLOSING),
        (CallState.CLOSED, Refusal.CLOSING),
    ],
)
def test_what_the_call_s_state_refuses(guard: ResponseGuard, call: CallState, refusal: Refusal | None) -> None:
    guard.standing.call = call
    assert guard.refusal(Purpose.TURN) is refusal
    exempt = {CallState.GREETING: Purpose.GREETING, CallState.GOODBYE: Purpose.FAREWELL}
    for purpose in (Purpose.GREETING, Purpose.FAREWELL):
        assert guard.refusal(purpose) is (None if exempt.get(call) is purpose else refusal)


def test_other_refusals(guard: ResponseGuard) -> None:
    guard.standing.session = None
    assert guard.refusal(Purpose.TURN) is Refusal.NO_SESSION
    guard.standing.session = 1
    guard.standing.calibrated = False
    assert [guard.refusal(purpose) for purpose in (Purpose.WATCHDOG, Purpose.TURN)] == [Refusal.NOT_CALIBRATED, None]
    for turn in (TurnState.SPEAKING, TurnState.ENDING, TurnState.COMMITTING):
        guard.standing.turn = turn
        assert guard.refusal(Purpose.TOOL_RESULT) is Refusal.CALLER_SPEAKING
    guard.standing.turn = TurnState.OWED
    assert guard.refusal(Purpose.TURN) is None
    guard.create(TURN, 0.0)
    assert guard.refusal(Purpose.TURN) is Refusal.RESPONSE_ACTIVE


def test_what_will_pass_waits_in_one_place(active: ResponseGuard) -> None:
    assert active.create(TURN, 1.0) == [Refuse(Purpose.TURN, Refusal.RESPONSE_ACTIVE, waits=True)]
    text = Request(Purpose.INJECTED_TEXT, "say it")
    active.create(text, 1.0)
    active.create(Request(Purpose.TOOL_RESULT), 1.0)
    assert active.waiting == Request(Purpose.INJECTED_TEXT, "say it", then=Purpose.TURN)
    assert active.create(Request(Purpose.WATCHDOG), 1.0) == [Refuse(Purpose.WATCHDOG, Refusal.RESPONSE_ACTIVE)]
    assert active.release(1.0) == []
    active.done("r1", 2.0)
    assert active.release(2.0) == [CreateResponse(1, 2, Purpose.INJECTED_TEXT, "say it")]
    assert (active.asked, active.waiting) == (text, TURN)  # what the text took the place of comes after it
    active.created("r2", 2, 3.0)
    active.done("r2", 4.0)
    assert active.release(4.0) == [CreateResponse(1, 3, Purpose.TURN)]
    assert active.waiting is None


def test_two_texts_cannot_stand_for_each_other(active: ResponseGuard) -> None:
    active.create(Request(Purpose.RETRY, "a"), 1.0)
    assert active.create(Request(Purpose.FAREWELL, "b"), 1.0) == [Refuse(Purpose.FAREWELL, Refusal.RESPONSE_ACTIVE)]
    assert active.waiting == Request(Purpose.RETRY, "a")


def test_a_plain_request_that_is_sent_makes_good_whatever_of_the_kind_waits(guard: ResponseGuard) -> None:
    guard.keep(TURN)
    assert guard.create(Request(Purpose.TOOL_RESULT), 0.0) == [CreateResponse(1, 1, Purpose.TOOL_RESULT)]
    assert guard.waiting is None


def test_but_not_a_text(guard: ResponseGuard) -> None:
    guard.keep(Request(Purpose.RETRY, "a", then=Purpose.TURN))
    guard.create(TURN, 0.0)
    assert guard.waiting == Request(Purpose.RETRY, "a")


def test_a_text_leaves_what_waits(guard: ResponseGuard) -> None:
    guard.keep(TURN)
    guard.create(Request(Purpose.FAREWELL, "bye"), 0.0)
    assert guard.waiting == TURN


def test_what_will_not_pass_does_not_wait(guard: ResponseGuard) -> None:
    guard.standing.call = CallState.GOODBYE
    assert guard.create(TURN, 0.0) == [Refuse(Purpose.TURN, Refusal.HANG_UP_PENDING)]
    assert guard.waiting is None


def test_merged_keeps_instructions() -> None:
    plain, text, other = TURN, Request(Purpose.RETRY, "a"), Request(Purpose.GREETING, "b")
    both = Request(Purpose.RETRY, "a", then=Purpose.TURN)
    assert merged(plain, Request(Purpose.DIGITS)) == plain
    assert merged(plain, text) == both
    assert merged(text, plain) == both
    assert merged(both, Request(Purpose.DIGITS)) == both
    assert merged(text, other) is None


def test_only_a_greeting_may_be_forced(active: ResponseGuard) -> None:
    with pytest.raises(LocalProtocolError, match="only a greeting"):
        active.create(TURN, 1.0, forced=True)
    assert active.state is ACTIVE
    forced = active.create(Request(Purpose.GREETING, "hi"), 1.0, forced=True)
    assert forced == [Refuse(Purpose.GREETING, Refusal.RESPONSE_ACTIVE, waits=True), CancelResponse(1, "r1")]
    active.done("r1", 1.0)
    assert active.release(1.0) == [CreateResponse(1, 2, Purpose.GREETING, "hi")]


def test_a_forced_greeting_that_nothing_stands_against_is_asked_for(guard: ResponseGuard) -> None:
    assert guard.create(Request(Purpose.GREETING), 0.0, forced=True) == [CreateResponse(1, 1, Purpose.GREETING)]


def test_force_does_not_help_against_anything_else(active: ResponseGuard) -> None:
    active.standing.call = CallState.GOODBYE
    assert active.create(Request(Purpose.GREETING), 1.0, forced=True) == [Refuse(Purpose.GREETING, Refusal.HANG_UP_PENDING)]
    assert active.state is ACTIVE


def test_the_model_may_begin_one_of_its_own_but_not_two(guard: ResponseGuard) -> None:
    guard.created("r1", None, 0.0)
    assert guard.created("r1", None, 0.0) == [Discard(Refusal.DUPLICATE)]
    with pytest.raises(RemoteProtocolError, match="r1"):
        guard.created("r2", None, 0.0)


def test_where_turns_are_the_model_s_a_second_one_is_mirrored() -> None:
    guard = a_guard(turns=Turns.MODEL)
    guard.created("r1", None, 0.0)
    assert guard.created("r2", None, 0.0) == []
    assert (guard.response_id, guard.verdict("r1")) == ("r2", Refusal.CANCELLED_RESPONSE)


def test_verdicts(cancelling: ResponseGuard) -> None:
    assert cancelling.verdict("r1") is Refusal.CANCELLED_RESPONSE
    assert cancelling.verdict("other") is Refusal.UNKNOWN_RESPONSE
    cancelling.done("r1", 3.0)
    assert cancelling.verdict("r1") is Refusal.CANCELLED_RESPONSE
    cancelling.created("r2", None, 3.0)
    assert cancelling.verdict("r2") is None
    cancelling.done("r2", 4.0)
    assert cancelling.verdict("r2") is Refusal.TOO_LATE
    assert cancelling.created("r2", None, 5.0) == [Discard(Refusal.DUPLICATE)]


def test_the_memory_is_bounded_in_number_and_age(guard: ResponseGuard) -> None:
    for number in range(OVER_LIMIT + 1):
        guard.created(f"r{number}", None, 0.0)
        guard.done(f"r{number}", 0.0)
    assert guard.verdict("r0") is Refusal.UNKNOWN_RESPONSE
    assert guard.verdict("r1") is Refusal.TOO_LATE
    guard.created("new", None, OVER_AGE_S)
    guard.done("new", OVER_AGE_S)
    assert guard.verdict("r2") is Refusal.TOO_LATE
    guard.created("newer", None, OVER_AGE_S + 0.001)
    guard.done("newer", OVER_AGE_S + 0.001)
    assert guard.verdict("r2") is Refusal.UNKNOWN_RESPONSE


def test_a_cancel_that_was_not_sent_may_be_sent_again_and_silence_stays(cancelling: ResponseGuard) -> None:
    assert cancelling.unsent("cancel-r0", 2.5) is None
    assert cancelling.state is CANCELLING
    assert cancelling.unsent("cancel-r1", 2.5) is None
    assert cancelling.state is ACTIVE
    assert cancelling.verdict("r1") is Refusal.CANCELLED_RESPONSE
    assert cancelling.stop(3.0) == [CancelResponse(1, "r1")]


def test_a_create_that_was_not_sent_is_given_back(requested: ResponseGuard) -> None:
    assert requested.unsent("create-9", 0.5) is None
    assert requested.unsent("create-1", 0.5) == TURN
    assert requested.state is IDLE


def test_nothing_active_means_over(cancelling: ResponseGuard) -> None:
    assert not cancelling.cancel_refused("cancel-r0", 3.0)
    assert cancelling.cancel_refused("cancel-r1", 3.0)
    assert (cancelling.state, cancelling.verdict("r1")) == (IDLE, Refusal.CANCELLED_RESPONSE)
    assert not cancelling.cancel_refused("cancel-r1", 3.0)


def test_a_refused_create_is_given_back_once(requested: ResponseGuard) -> None:
    assert requested.create_refused("create-9", 1.0) is None
    assert requested.create_refused("create-1", 1.0) == TURN
    assert (requested.state, armed(requested)) == (IDLE, {})
    assert requested.create_refused("create-1", 1.0) is None


def test_a_refused_create_that_nobody_wants_any_more_is_over(requested: ResponseGuard) -> None:
    requested.stop(0.5)
    assert requested.create_refused("create-1", 1.0) is None
    assert requested.state is IDLE


def test_a_blocked_create_waits_for_the_stranger(requested: ResponseGuard) -> None:
    assert not requested.create_blocked("create-9", "strange", 1.0)
    assert requested.create_blocked("create-1", "strange", 1.0)
    assert (requested.state, requested.waiting, requested.asked) == (BLOCKED, TURN, None)
    assert requested.verdict("strange") is Refusal.CANCELLED_RESPONSE
    assert armed(requested) == {Timer.BLOCKED: 1.0 + requested.settings.blocked_limit_s}
    assert requested.done("strange", 2.0)
    assert requested.release(2.0) == [CreateResponse(1, 2, Purpose.TURN)]


def test_another_s_end_unblocks_only_if_the_stranger_has_no_name(requested: ResponseGuard) -> None:
    requested.create_blocked(None, "strange", 1.0)
    assert not requested.done("other", 2.0)
    assert requested.state is BLOCKED


def test_the_end_of_any_unknown_response_unblocks_where_the_stranger_has_no_name(active: ResponseGuard) -> None:
    active.done("r1", 1.0)
    active.create(TURN, 1.0)
    active.create_blocked(None, None, 2.0)
    assert not active.done("r1", 3.0)
    assert active.state is BLOCKED
    assert active.stop(3.0) == []
    assert active.done("other", 3.0)
    assert [active.state] == [IDLE]


def test_a_response_that_we_gave_up_can_block_and_is_not_cancelled_twice(cancelling: ResponseGuard) -> None:
    cancelling.gave_up(5.0)
    cancelling.create(TURN, 5.0)
    cancelling.create_blocked("create-2", "r1", 6.0)
    assert cancelling.stop(6.0) == []
    assert cancelling.done("r1", 7.0)
    assert cancelling.release(7.0) == [CreateResponse(1, 3, Purpose.TURN)]


def test_the_stranger_may_be_announced_late(requested: ResponseGuard) -> None:
    requested.create_blocked(None, "strange", 1.0)
    assert requested.created("strange", None, 2.0) == []
    assert (requested.state, requested.verdict("strange"), requested.waiting) == (ACTIVE, None, TURN)


def test_nobody_asks_again_for_a_doomed_request_that_was_blocked(requested: ResponseGuard) -> None:
    requested.stop(0.5)
    requested.create_blocked(None, "strange", 1.0)
    assert (requested.state, requested.waiting) == (BLOCKED, None)


def test_a_blocking_response_can_be_cancelled_when_its_name_is_known(requested: ResponseGuard) -> None:
    requested.create_blocked(None, "strange", 1.0)
    assert requested.stop(1.5) == [CancelResponse(1, "strange")]


def test_given_up_requests_stay_doomed(requested: ResponseGuard) -> None:
    requested.stop(1.0)
    assert requested.gave_up(5.0) is None
    assert requested.state is IDLE
    assert requested.created("late", 1, 9.0) == [CancelResponse(1, "late")]


def test_given_up_while_wanted_gives_the_request_back(requested: ResponseGuard) -> None:
    assert requested.gave_up(5.0) == TURN
    assert requested.created("late", 1, 9.0) == []
    assert requested.state is ACTIVE


def test_a_session_that_ends_gives_back_what_was_wanted(active: ResponseGuard) -> None:
    assert active.session_ended(2.0) == TURN
    assert (active.state, active.verdict("r1")) == (IDLE, Refusal.CANCELLED_RESPONSE)
    assert active.session_ended(2.0) is None


def test_a_session_that_ends_with_a_response_of_the_model_s_own(guard: ResponseGuard) -> None:
    guard.created("r1", None, 0.0)
    assert guard.session_ended(1.0) == Request(Purpose.RETRY)


def test_what_was_stopped_is_not_wanted_of_the_next_session(cancelling: ResponseGuard) -> None:
    cancelling.unsent("cancel-r1", 2.5)
    assert cancelling.session_ended(3.0) is None


def test_without_a_session_there_is_nobody_to_tell(active: ResponseGuard) -> None:
    active.standing.session = None
    assert active.stop(2.0) == []
    assert active.state is ACTIVE


def test_abandoned_where_the_model_cancels() -> None:
    guard = a_guard(turns=Turns.MODEL)
    guard.created("r1", None, 0.0)
    guard.abandon(1.0)
    assert (guard.state, guard.verdict("r1")) == (IDLE, Refusal.CANCELLED_RESPONSE)
    guard.create(Request(Purpose.GREETING), 2.0)
    guard.abandon(2.0)
    assert guard.state is REQUESTED  # a request of ours is ours to stop


def test_what_the_last_response_was_for(active: ResponseGuard) -> None:
    assert active.latest is Purpose.TURN
    active.done("r1", 2.0)
    assert active.latest is Purpose.TURN
    active.created("r2", None, 3.0)
    assert [active.latest] == [None]


def test_stopped_is_about_the_current_response(active: ResponseGuard) -> None:
    assert not active.stopped
    active.stop(2.0)
    assert [active.stopped] == [True]
    active.done("r1", 3.0)
    assert not active.stopped


def test_a_filler_that_is_blocked_is_not_made_later() -> None:
    guard = ResponseGuard(CallSettings(), Standing(CallState.CONVERSING, session=1, calibrated=True), Deadlines())
    guard.create(Request(Purpose.FILLER, "wait"), 0.0)
    assert guard.create_blocked("create-1", "resp_9", 0.1)
    assert guard.waiting is None


@pytest.mark.parametrize("purpose", [Purpose.TURN, Purpose.WATCHDOG, Purpose.RETRY, Purpose.TOOL_RESULT])
def test_a_turn_that_only_the_old_session_has_heard_comes_before_a_change(guard: ResponseGuard, purpose: Purpose) -> None:
    guard.standing.change, guard.standing.turn = ChangeState.OPENING, TurnState.OWED
    assert guard.refusal(purpose) is None
    assert guard.refusal(Purpose.INJECTED_TEXT) is Refusal.CHANGING
    guard.standing.words_come = True
    assert guard.refusal(purpose) is Refusal.CHANGING


@pytest.mark.parametrize(("call", "purpose"), [(CallState.GREETING, Purpose.GREETING), (CallState.GOODBYE, Purpose.FAREWELL)])
def test_a_greeting_and_a_farewell_do_not_wait_for_the_caller(guard: ResponseGuard, call: CallState, purpose: Purpose) -> None:
    guard.standing.call, guard.standing.turn = call, TurnState.SPEAKING
    assert guard.refusal(purpose) is None


def test_the_end_of_a_response_that_nobody_announced_is_remembered_and_no_verdict_changed(cancelling: ResponseGuard) -> None:
    assert not cancelling.done("r9", 2.0)
    assert cancelling.verdict("r9") is Refusal.TOO_LATE
    assert cancelling.done("r1", 3.0)
    assert not cancelling.done("r1", 4.0)
    assert cancelling.verdict("r1") is Refusal.CANCELLED_RESPONSE
